/* The SMTP server: mail transfer (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033) in the same code, told apart by profile.
 *
 *   LOOKUP (the client's name is asked for, nothing is said yet) -> NEW
 *
 *            HELO/EHLO           MAIL             BDAT              BDAT LAST, RSET
 *   NEW ----------------> READY ------> MAIL ----------------> BDAT ------------------> READY
 *                          | ^           | RCPT: stays MAIL
 *                     AUTH | |           | DATA          CRLF.CRLF
 *                          v |           +-------> DATA -----------> READY (LMTP: by way of ANSWERS)
 *                         SASL
 *
 *   BDAT n in any of NEW, READY, MAIL, BDAT passes through CHUNK, which takes exactly n bytes, wanted or not (RFC 3030 2).
 *   STARTTLS: NEW, READY -> TLS -> NEW. EHLO and RSET: MAIL, BDAT -> READY. Anything -> CLOSED.
 *
 * A transaction exists in MAIL, BDAT, DATA, in CHUNK if one began, and in ANSWERS; never in NEW and READY (smtp_session_check).
 *
 * Ownership: a session is stepped by one thread at a time (net/session.h) and owns its transaction. Nothing points into the input
 * after a step. Memory: about 1 KB when idle, the transaction's arena (SMTP_ARENA_MAX) and spool while mail comes in. */
#ifndef SERVE_SMTP_SMTP_H
#define SERVE_SMTP_SMTP_H

#include "auth/login.h"
#include "format/smtp_grammar.h"
#include "rt/settings.h"
#include "serve/services.h"
#include "serve/smtp/pace.h"

struct smtp_transaction;
struct client_name;

enum smtp_state {
    SMTP_NEW,     /* greeted, no HELO yet */
    SMTP_READY,   /* HELO given, no transaction */
    SMTP_MAIL,    /* MAIL given */
    SMTP_BDAT,    /* a BDAT without LAST was answered */
    SMTP_SASL,    /* the next line is the client's answer to a challenge */
    SMTP_LOOKUP,  /* not greeted: the client's name is on its way */
    SMTP_DATA,    /* takes lines up to CRLF.CRLF */
    SMTP_CHUNK,   /* takes chunk.left bytes */
    SMTP_ANSWERS, /* LMTP: the replies for each recipient do not fit into the output buffer */
    SMTP_TLS,     /* STARTTLS answered, waits for the handshake */
    SMTP_CLOSED,
};
enum { SMTP_STATES = SMTP_CLOSED + 1 };

enum {
    SMTP_ARENA_MAX = 4 << 20, /* of a transaction: parsed commands, recipients, routes */
    SMTP_HELO_MAX = 255,
    SMTP_SASL_OUT_MAX = 8192,
};

struct smtp_chunk { /* of BDAT */
    uint64_t left;
    bool last;
    enum smtp_state back; /* the state that BDAT was given in */
    int verdict;          /* enum smtp_say; SMTP_SAY_NONE: the bytes are wanted */
};

struct smtp_session {
    struct session base;
    const struct services *services;
    enum serve_profile profile;
    bool tls_available;
    bool eof;       /* the peer sends nothing more */
    bool stopping;  /* close when the answers are written */
    bool skip_line; /* a line was too long: thrown away up to its end */
    bool extended;  /* EHLO or LHLO, not HELO */
    bool authenticated;
    enum smtp_state state;
    const struct settings *settings; /* a reference: what held when the session began */
    struct buf *out;                 /* of this step; NULL between steps */

    unsigned commands, idle_commands, errors, transactions, auth_failures;

    struct smtp_pace pace;
    struct client_name *naming; /* owns; in LOOKUP */
    char *client_name;          /* owns; NULL: not known */

    struct identity who;
    struct sasl *sasl;
    struct smtp_chunk chunk;
    struct smtp_transaction *transaction; /* owns; NULL: none */
    uint16_t helo_size;
    char helo[SMTP_HELO_MAX];
};

static inline struct str smtp_helo_name(const struct smtp_session *s) { return (struct str){s->helo, s->helo_size}; }
static inline uint64_t smtp_size_max(const struct smtp_session *s) { return (uint64_t)s->settings->message_size_max; }
static inline struct str smtp_hostname(const struct smtp_session *s) { return str_of(s->services->hostname); }

/* Back to the state after the greeting: no HELO, no identity, no transaction (RFC 3207 4.2). */
void smtp_session_forget(struct smtp_session *s);
/* Ends the transaction, if there is one, without effect and goes back to READY (NEW without HELO). */
void smtp_session_reset(struct smtp_session *s);
/* After a BDAT command: takes s->chunk.left bytes from here on. */
void smtp_session_chunk(struct smtp_session *s);
/* What the diagram above says, as a predicate; true in every state that step() leaves. */
bool smtp_session_check(const struct smtp_session *s);

#endif
