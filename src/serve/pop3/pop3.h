/* The POP3 server (RFC 1939, 2449, 2595, 3206, 5034, 6856).
 *
 *   AUTHORIZATION --USER PASS, AUTH--> TRANSACTION --QUIT--> (update) CLOSED
 *     |  ^   ^ AUTH: SASL               |      ^
 *     |  |   +------> SASL              v      |
 *     |  +-- TLS                      ANSWERING: an answer longer than the output buffer
 *     +--STLS--> TLS
 *
 * A maildrop is there in TRANSACTION and ANSWERING, and only there. APOP is not offered: it needs passwords stored in the clear
 * (RFC 1939 7), so the greeting has no timestamp.
 *
 * Ownership: one thread at a time steps a session. Memory: 1 KB, 16 bytes for each message of the maildrop, and 2 KB once messages
 * are read. */
#ifndef SERVE_POP3_POP3_H
#define SERVE_POP3_POP3_H

#include "auth/login.h"
#include "format/dot.h"
#include "rt/settings.h"
#include "serve/pop3/maildrop.h"
#include "serve/services.h"

enum pop3_state {
    POP3_AUTHORIZATION,
    POP3_SASL,
    POP3_TRANSACTION,
    POP3_ANSWERING,
    POP3_TLS,
    POP3_CLOSED,
};
enum { POP3_STATES = POP3_CLOSED + 1 };

enum {
    POP3_LINE_MAX = 12288 + 2,     /* an answer to a SASL challenge; commands have 255 (RFC 2449 4) */
    POP3_COMMAND_LINE_MAX = 255,   /* RFC 2449 4, with CRLF */
    POP3_PASSWORD_LINE_MAX = 1024, /* USER and PASS: names of 320 bytes and long passwords exist */
    POP3_NAME_MAX = 400,
    POP3_SASL_OUT_MAX = 8192,
};

struct pop3_session;

enum pop3_more { POP3_MORE, POP3_DONE, POP3_BROKEN };

/* An answer of several lines as a cursor. */
struct pop3_answer {
    enum pop3_more (*more)(struct pop3_session *s); /* writes more, while there is room */
    uint32_t at;                                    /* LIST, UIDL: next message; RETR, TOP: the message */
    uint64_t offset;                                /* RETR, TOP: next byte */
    struct dot_encoder dot;
    bool begun; /* RETR, TOP: the status line was said */
    bool top, in_header, line_has_text;
    uint32_t lines_left; /* TOP: of the body */
};

struct pop3_session {
    struct session base;
    const struct services *services;
    bool tls_available, eof, skip_line, utf8, user_given;
    enum pop3_state state;
    const struct settings *settings; /* a reference: what held when the session began */
    struct buf *out;                 /* of this step; NULL between steps */
    int64_t began_ms;                /* monotonic */
    unsigned commands, errors, auth_failures;
    uint64_t retrieved, retrieved_bytes, removed; /* for the log */
    struct identity who;
    struct sasl *sasl;
    struct pop3_maildrop *drop; /* owns; NULL: not logged in */
    struct pop3_answer answer;
    uint16_t name_size;
    char name[POP3_NAME_MAX]; /* of USER */
};

/* As after the greeting; nothing is deleted. */
void pop3_session_forget(struct pop3_session *s);
/* The login succeeded: opens the maildrop, replies, enters TRANSACTION (or stays, and says why). */
void pop3_session_login(struct pop3_session *s);
/* Begins an answer of several lines; the first was written. */
void pop3_session_answer(struct pop3_session *s, struct pop3_answer answer);
bool pop3_session_check(const struct pop3_session *s);

#endif
