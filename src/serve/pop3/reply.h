/* Replies of POP3: +OK, -ERR and the response codes (RFC 2449 8, 3206, 6856 5). The only place that knows the codes. */
#ifndef SERVE_POP3_REPLY_H
#define SERVE_POP3_REPLY_H

#include "serve/pop3/pop3.h"

enum pop3_code {
    POP3_CODE_NONE,
    POP3_CODE_AUTH,     /* RFC 3206: the credentials are wrong */
    POP3_CODE_SYS_TEMP, /* RFC 3206: our trouble, likely to pass */
    POP3_CODE_SYS_PERM,
    POP3_CODE_IN_USE, /* RFC 2449 8.1.2 */
    POP3_CODE_UTF8,   /* RFC 6856 5 */
};

void pop3_ok(struct pop3_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Counts as an error of the session. */
void pop3_err(struct pop3_session *s, enum pop3_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* With the code and public text of the error. */
void pop3_err_of(struct pop3_session *s, const struct err *e);
/* A line of an answer of several; it does not begin with a dot. */
void pop3_line(struct pop3_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void pop3_end(struct pop3_session *s); /* the dot */

#endif
