/* Replies: the only place that writes digits. A handler says what happened, this file how SMTP calls it (RFC 5321 4.2, 3463). */
#ifndef SERVE_SMTP_REPLY_H
#define SERVE_SMTP_REPLY_H

#include "serve/smtp/smtp.h"

enum smtp_say {
    SMTP_SAY_NONE, /* nothing is said */
    SMTP_SAY_OK,
    SMTP_SAY_RESET,
    SMTP_SAY_GREETING,
    SMTP_SAY_BYE,
    SMTP_SAY_HELLO,
    SMTP_SAY_HELP,
    SMTP_SAY_SENDER_OK,
    SMTP_SAY_RECIPIENT_OK,
    SMTP_SAY_CANNOT_VERIFY,
    SMTP_SAY_START_DATA,
    SMTP_SAY_CHUNK_OK,
    SMTP_SAY_ACCEPTED,
    SMTP_SAY_START_TLS,
    SMTP_SAY_CHALLENGE,
    SMTP_SAY_AUTHENTICATED,
    /* the session */
    SMTP_SAY_TIMEOUT,
    SMTP_SAY_TOO_LONG,
    SMTP_SAY_STOPPING,
    SMTP_SAY_TOO_MANY_ERRORS,
    SMTP_SAY_TOO_MANY_COMMANDS,
    SMTP_SAY_TOO_MANY_TRANSACTIONS,
    SMTP_SAY_FOREIGN_PROTOCOL,
    /* commands */
    SMTP_SAY_UNKNOWN_COMMAND,
    SMTP_SAY_LINE_TOO_LONG,
    SMTP_SAY_BAD_LINE_END,
    SMTP_SAY_NOT_IMPLEMENTED,
    SMTP_SAY_BAD_SEQUENCE,
    SMTP_SAY_HELLO_FIRST,
    SMTP_SAY_SYNTAX,
    SMTP_SAY_NO_PARAMETERS,
    SMTP_SAY_BAD_PARAMETER,
    SMTP_SAY_UNKNOWN_PARAMETER,
    SMTP_SAY_BAD_SENDER_SYNTAX,
    SMTP_SAY_BAD_RECIPIENT_SYNTAX,
    SMTP_SAY_SENDER_NOT_ASCII,
    SMTP_SAY_RECIPIENT_NOT_ASCII,
    SMTP_SAY_NOT_QUALIFIED,
    /* the transaction */
    SMTP_SAY_NO_RECIPIENTS,
    SMTP_SAY_TOO_MANY_RECIPIENTS,
    SMTP_SAY_NO_SUCH_MAILBOX,
    SMTP_SAY_MAILBOX_CLOSED,
    SMTP_SAY_MAILBOX_SUSPENDED,
    SMTP_SAY_MAILBOX_FULL,
    SMTP_SAY_MAILBOX_FULL_FOR_GOOD,
    SMTP_SAY_RELAY_DENIED,
    SMTP_SAY_SENDER_DENIED,
    SMTP_SAY_FROM_DENIED,
    SMTP_SAY_CLIENT_RATE,
    SMTP_SAY_BINARY_NOT_HERE,
    SMTP_SAY_TOO_BIG,
    SMTP_SAY_BARE_NEWLINE,
    SMTP_SAY_DATA_LINE_TOO_LONG,
    SMTP_SAY_BAD_HEADER,
    SMTP_SAY_LOOP,
    SMTP_SAY_NO_STORAGE,
    SMTP_SAY_TEMPORARY,
    SMTP_SAY_REFUSED,
    SMTP_SAY_REFUSED_POLICY,
    SMTP_SAY_BDAT_NEEDED,
    /* TLS, AUTH */
    SMTP_SAY_TLS_UNAVAILABLE,
    SMTP_SAY_AUTH_REQUIRED,
    SMTP_SAY_AUTH_FAILED,
    SMTP_SAY_AUTH_TEMPORARY,
    SMTP_SAY_AUTH_MECHANISM,
    SMTP_SAY_AUTH_NEEDS_TLS,
    SMTP_SAY_AUTH_CANCELLED,
    SMTP_SAY_AUTH_BAD_BASE64,
    SMTP_SAY_AUTH_TOO_LONG,
    SMTP_SAY_AUTH_BAD_EXCHANGE,
    SMTP_SAYS
};

/* Writes the reply with its usual text. Replies of 5xx count as errors of the session; those of 4xx do not: that a mailbox is full
 * or the recipients are too many is no mistake of a client that then sends the message to the others (RFC 5321 4.5.3.1.10). */
void smtp_say(struct smtp_session *s, enum smtp_say what);
/* With another text; one line, cut so that the reply keeps to 512 bytes (RFC 5321 4.5.3.1.5). */
void smtp_sayf(struct smtp_session *s, enum smtp_say what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void smtp_say_text(struct smtp_session *s, enum smtp_say what, struct str text);
/* One line of a reply of several; `more` follow. */
void smtp_say_line(struct smtp_session *s, enum smtp_say what, bool more, struct str text);

/* The reply for an error, and the saying of it with its public text. In doubt temporary. */
enum smtp_say smtp_say_of(const struct err *e);
void smtp_say_err(struct smtp_session *s, const struct err *e);
/* The same for one mailbox (LMTP): what is full or closed is the mailbox, not the host. */
void smtp_say_mailbox_err(struct smtp_session *s, const struct err *e);

unsigned smtp_say_code(enum smtp_say what);
const char *smtp_say_enhanced(enum smtp_say what);

#endif
