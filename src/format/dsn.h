/* Delivery status notifications (RFC 3461, 3464, 6522; 6533 for UTF-8 addresses): the whole multipart/report as bytes. The
 * envelope's reverse-path of a report is <> (RFC 3461 6.1), which the caller sees to. xtext and ORCPT: xtext.h, brought along.
 * Pure, any thread. */
#ifndef FORMAT_DSN_H
#define FORMAT_DSN_H

#include "base/arena.h"
#include "base/err.h"
#include "format/date.h"
#include "format/xtext.h"

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED }; /* RFC 3464 2.3.3 */

struct dsn_recipient {
    struct str address; /* final recipient, printed, UTF-8 */
    struct str orcpt;   /* as received, xtext; empty: none */
    enum dsn_action action;
    struct str status;          /* "5.1.1"; empty: 5.0.0, 4.0.0 or 2.0.0 by the action */
    struct str remote_mta;      /* host that answered, or empty */
    struct str diagnostic;      /* its reply, "550 5.1.1 no such user", may have several lines; or a sentence of ours */
    bool diagnostic_smtp;       /* it is an SMTP reply of remote_mta */
    int64_t last_attempt_s;     /* epoch; 0: unknown */
    int64_t will_retry_until_s; /* for delays; 0: unknown */
};

struct dsn {
    struct str to;            /* the message's reverse-path: where the report goes */
    struct str from_host;     /* reporting MTA: From is "Mail Delivery System <postmaster@...>" */
    struct str from_domain;   /* domain of the postmaster address; empty: from_host */
    struct str received_from; /* name of the client that gave us the message, or empty */
    struct str envid;         /* xtext as received, or empty */
    struct str id;            /* our queue id */
    struct str unique;        /* for Message-ID and boundary; letters, digits, '.', '-' */
    struct date now;
    int64_t arrived_s;
    struct str message; /* the original, as we have it: header at least */
    bool full;          /* RET=FULL: append all of it, if it is within message_max; else its header */
    size_t message_max;
    bool utf8; /* the report may be UTF-8 (SMTPUTF8 path back); else 6533 forms in ASCII */
    const struct dsn_recipient *recipients;
    size_t count;
};

enum { DSN_RECIPIENTS_MAX = 1000, DSN_DIAGNOSTIC_MAX = 4000 };

/* Appends the report (Return-Path not included). Lines are at most 998 bytes, CRLF everywhere in what is written here. ST_LIMIT:
 * *out is full. */
enum st dsn_build(const struct dsn *d, struct buf *out, struct err *e) MUST_USE;

#endif
