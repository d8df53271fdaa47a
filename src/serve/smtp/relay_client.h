/* Clients that cannot authenticate (printers, sensors, old programs): which networks may submit mail without a login, as which
 * senders, to which destinations, how often. Everything that no rule allows is refused (RFC 6409 4.3, 3.3).
 *
 * The text: one rule a line (or behind a ';'), '#' begins a comment:
 *
 *   192.0.2.0/24, 2001:db8::/64  from=printer@abcd.com,@scan.abcd.com  to=@abcd.com,boss@xyz.com  rate=60/3600
 *
 * `from` and `to` list addresses and @domains; to=* is everywhere. rate: messages / seconds, for all clients of the rule together.
 *
 * Threads: any; the object is made once at start. Nothing in it grows. */
#ifndef SERVE_SMTP_RELAY_CLIENT_H
#define SERVE_SMTP_RELAY_CLIENT_H

#include "base/arena.h"
#include "base/err.h"

struct relay_clients;
struct relay_client; /* one rule */

enum { RELAY_CLIENT_RULES_MAX = 256, RELAY_CLIENT_TEXT_MAX = 256 << 10 };

/* ST_PERM: what is wrong, with the number of the rule. */
enum st relay_clients_parse(struct str text, struct relay_clients **out, struct err *e) MUST_USE;
/* From a file (the setting submission.relay_clients). At start, before the sandbox. */
enum st relay_clients_load(const char *path, struct relay_clients **out, struct err *e) MUST_USE;
void relay_clients_free(struct relay_clients *r);

/* Does any rule list this client address? r may be NULL. */
bool relay_clients_list(const struct relay_clients *r, const char *client);
/* The first rule that lets this client send as `from`; NULL: none. */
const struct relay_client *relay_clients_find(const struct relay_clients *r, const char *client, struct str from);
bool relay_client_allows(const struct relay_client *rule, struct str to);
/* Counts one message against the rate; false: too many now. */
bool relay_client_take(const struct relay_client *rule, int64_t now_ms);

#endif
