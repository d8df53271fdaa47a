/* Who is it: passwords and SASL for every protocol, with throttling and one audit event for each try.
 *
 * Threads: any; one sasl belongs to its session. Password hashing takes a permit (rt/permit.h), so it cannot occupy the pool. A
 * verified password is remembered for a short time (keyed MAC in memory, never the password), so that clients that log in often do
 * not pay the hash each time; a change of the password ends that at once. Errors: ST_DENIED (wrong name, password or mechanism
 * data: always the same public text, and the same time), ST_LIMIT (too many tries from this address or for this account; text says
 * to wait), ST_TEMP (directory not available: RFC 3206 SYS/TEMP, 454), ST_PERM (malformed exchange). */
#ifndef AUTH_LOGIN_H
#define AUTH_LOGIN_H

#include "auth/directory.h"
#include "net/session.h"

struct auth; /* directory + throttle + cache; one for the process */

enum auth_service { AUTH_SMTP, AUTH_IMAP, AUTH_POP3, AUTH_SIEVE, AUTH_HTTP };

struct identity {
    account_id account;
    char address[328]; /* canonical, for logs and greetings; NUL-terminated */
};

enum st auth_open(struct directory *d, struct auth **out, struct err *e) MUST_USE;
void auth_close(struct auth *a);
struct directory *auth_directory(struct auth *a);

/* USER/PASS, LOGIN, AUTH PLAIN: name may be bare. */
enum st auth_password(struct auth *a, enum auth_service service, const struct session_peer *peer, struct str name,
                      struct str password, struct identity *out, struct err *e) MUST_USE;

/* Whether clear-text passwords are acceptable on this connection: TLS, loopback, trusted local, or the setting that allows it. */
bool auth_clear_text_allowed(const struct session_peer *peer);
/* Appends the names, separated by `between`, of the mechanisms on offer to this peer now ("PLAIN LOGIN SCRAM-SHA-256 ..."), each
 * with `prefix` before it ("AUTH=" for IMAP). SCRAM-SHA-256-PLUS only with TLS; EXTERNAL only with a verified client certificate.
 */
void auth_mechanisms(struct auth *a, const struct session_peer *peer, const char *prefix, const char *between, struct buf *out);

struct sasl; /* one exchange, server side */
/* ST_PERM with a text for an unknown mechanism or one not on offer here. */
enum st sasl_begin(struct auth *a, enum auth_service service, const struct session_peer *peer, struct str mechanism,
                   struct sasl **out, struct err *e) MUST_USE;
void sasl_free(struct sasl *s); /* wipes */
enum sasl_status { SASL_MORE, SASL_DONE };
/* `in` is the decoded client data (the protocol did base64); have_in false at a start without initial response. The challenge, or
 * the additional data with success, is appended to *out (not yet base64). After SASL_DONE *identity is filled. Any error ends the
 * exchange. */
enum st sasl_step(struct sasl *s, bool have_in, struct str in, struct buf *out, enum sasl_status *status, struct identity *identity,
                  struct err *e) MUST_USE;

#endif
