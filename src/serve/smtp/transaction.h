/* One mail transaction: made by MAIL, destroyed whole (STYLE: no partial resets). Owns everything of it: the parsed commands and
 * recipients in its arena, the message in its spool. */
#ifndef SERVE_SMTP_TRANSACTION_H
#define SERVE_SMTP_TRANSACTION_H

#include "base/arena.h"
#include "format/dot.h"
#include "queue/accept.h"
#include "rt/spool.h"
#include "serve/smtp/crlf.h"
#include "serve/smtp/relay_client.h"
#include "serve/smtp/reply.h"

enum smtp_transfer { SMTP_TRANSFER_NONE, SMTP_TRANSFER_DATA, SMTP_TRANSFER_BDAT };

struct smtp_transaction {
    struct arena arena;
    char id[24]; /* in Received, in the reply, in the log and in the queue */
    int64_t started_ms;

    struct smtp_mail mail;                   /* views in the arena */
    struct str reverse_path;                 /* printed; empty for <> */
    bool local_sender;                       /* demo: the sender is one of ours, so it may send anywhere */
    const struct relay_client *relay_client; /* submission without login: the rule that lets it in; NULL: none */

    struct accept_recipient *recipients; /* in the arena */
    size_t count, capacity;
    uint32_t *answers; /* LMTP: for each RCPT that was answered with 250 the recipient it stands for; in the arena */
    size_t answer_count, answers_said;
    size_t commands; /* RCPT commands, good and bad */

    enum smtp_transfer transfer;
    bool spooling;
    struct spool spool;
    struct dot_decoder dot;
    struct crlf_scan scan; /* of BDAT */
    uint64_t size;         /* bytes that the client sent for the message, decoded */
    enum smtp_say verdict; /* SMTP_SAY_NONE: good so far; otherwise what the end of the data will be answered with */

    enum smtp_say result; /* for the log: how it ended; SMTP_SAY_NONE: dropped */
    struct err result_err;
};

/* Makes s->transaction. False: no memory. */
bool smtp_transaction_begin(struct smtp_session *s);
/* Writes the closing log event and frees s->transaction, if there is one. */
void smtp_transaction_end(struct smtp_session *s);

/* Adds a recipient, or finds the one that is there with the same address. False: the arena is used up. */
bool smtp_transaction_add(struct smtp_transaction *t, const struct accept_recipient *r);

/* Data will come. */
void smtp_transaction_receive(struct smtp_session *s, enum smtp_transfer how);
/* More of the message. */
void smtp_transaction_write(struct smtp_session *s, struct str piece);
/* The message is complete: judges it, hands it over, replies, ends the transaction (LMTP with many recipients: goes to ANSWERS). */
void smtp_transaction_finish(struct smtp_session *s);
/* ANSWERS: writes more of the replies; true when all are written and the transaction has ended. */
bool smtp_transaction_answer(struct smtp_session *s);

#endif
