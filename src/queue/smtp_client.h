/* The client's side of SMTP and LMTP (RFC 5321, 2033, 2920, 1870, 6152, 3030, 6531, 3461, 4954) on any wire: blocking, one thread,
 * as the RFC reads. The other side is not trusted: replies have limits, deadlines and a grammar, and nothing that it says reaches
 * further than the fate of the recipients it was asked about.
 *
 *   init -> greet (greeting, EHLO or HELO) [-> starttls -> hello] [-> auth] -> send ... send -> quit
 *
 * Once `broken` the wire is of no use but to be closed. */
#ifndef QUEUE_SMTP_CLIENT_H
#define QUEUE_SMTP_CLIENT_H

#include "base/arena.h"
#include "base/err.h"
#include "format/smtp_grammar.h"

enum {
    SMTP_CLIENT_CHUNK = 128 << 10,   /* bytes of the message in memory at once */
    SMTP_CLIENT_BDAT_MAX = 64 << 10, /* larger messages go by DATA, since a refusal would come too late */
    SMTP_CLIENT_RECIPIENTS_MAX = 1000,
};

/* Errors are ST_TEMP or ST_LIMIT; after one the wire is broken. */
struct smtp_wire {
    void *context;
    enum st (*write)(void *context, struct str bytes, unsigned timeout_ms, struct err *e);                 /* may buffer */
    enum st (*read_line)(void *context, size_t max, unsigned timeout_ms, struct str *line, struct err *e); /* sends first */
    enum st (*start_tls)(void *context, struct err *e); /* after the 220; throws away what was received before */
};

struct smtp_client_times { /* milliseconds; RFC 5321 4.5.3.2 */
    unsigned greeting, command, data_start, data_block, data_end, quit;
};

enum smtp_hello { SMTP_HELLO_OK, SMTP_HELLO_TEMP, SMTP_HELLO_PERM /* a 5xx: no mail here */ };

struct smtp_client {
    struct smtp_wire wire;
    struct smtp_client_times times;
    struct str helo; /* borrowed: our name */
    bool lmtp, chunking;
    unsigned recipients_max; /* for one transaction */
    /* state */
    bool extended; /* EHLO or LHLO was understood */
    bool dirty;    /* a transaction is open there: RSET first */
    bool broken;
    struct smtp_ehlo ehlo;
    struct smtp_reply reply; /* the last one */
    char why[512];           /* of broken, or of a refusal: status text */
    bool why_smtp;           /* it is a reply */
};

/* Keeps helo until release. */
void smtp_client_init(struct smtp_client *c, const struct smtp_wire *wire, const struct smtp_client_times *times, struct str helo);
void smtp_client_release(struct smtp_client *c);

enum smtp_hello smtp_client_greet(struct smtp_client *c); /* 220, then hello */
enum smtp_hello smtp_client_hello(struct smtp_client *c); /* EHLO, or HELO if that is not known there */
/* STARTTLS and hello again. SMTP_HELLO_PERM: refused, the plain connection goes on; broken: the handshake failed. */
enum smtp_hello smtp_client_starttls(struct smtp_client *c);
/* One command without transaction state; the reply is in c->reply. False: broken. */
bool smtp_client_command(struct smtp_client *c, struct str line, unsigned timeout_ms);
void smtp_client_quit(struct smtp_client *c);

enum smtp_fate {
    SMTP_FATE_OPEN, /* not decided: another transaction, or another host */
    SMTP_FATE_SENT, /* the other side took responsibility */
    SMTP_FATE_TEMP,
    SMTP_FATE_PERM,
};
struct smtp_send_recipient {
    struct str address, orcpt;
    unsigned notify; /* enum smtp_notify bits */
    enum smtp_fate fate;
    struct str status; /* in the arena; set with the fate */
    bool status_smtp;
    bool named, accepted; /* in this transaction */
};
struct smtp_send {
    struct arena *arena;
    struct str reverse_path, envid;
    enum smtp_ret ret;
    enum smtp_body body;
    bool smtputf8;
    uint64_t size;
    /* Appends up to length bytes from offset. */
    enum st (*read)(void *context, uint64_t offset, size_t length, struct buf *out, struct err *e);
    void *context;
    struct smtp_send_recipient *recipients;
    size_t count;
    enum st read_failed; /* out: the message could not be read */
};
/* One transaction for as many open recipients as fit. Recipients stay SMTP_FATE_OPEN only if the message certainly was not taken
 * for them. */
void smtp_client_send(struct smtp_client *c, struct smtp_send *s);

#endif
