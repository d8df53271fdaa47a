/* The client's side of SMTP AUTH (RFC 4954) by GNU SASL: SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN, the best that both sides have.
 */
#ifndef QUEUE_SMTP_AUTH_H
#define QUEUE_SMTP_AUTH_H

#include "queue/smtp_client.h"

/* clear_text: PLAIN and LOGIN may be used (TLS, or loopback). ST_DENIED: refused; ST_PERM: no common mechanism; ST_TEMP: the
 * connection broke or 4xx. */
enum st smtp_auth(struct smtp_client *c, const char *user, const char *password, bool clear_text, struct err *e) MUST_USE;

#endif
