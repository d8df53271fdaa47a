/* The name of a client, as DNS has it: a PTR record of its address whose name leads back to that address, so that nobody can claim
 * another's ("iprev", RFC 8601 2.7.3; it is what the Received field tells of a client, RFC 5321 4.4). Nobody waits for it: the
 * look-up goes on by itself and says when it is over.
 *
 * Ownership: the caller owns what client_name_begin gave until client_name_free, which may come before the end. Threads: one owner;
 * `done` is called in a thread of the resolver. Limits: CLIENT_NAMES_TRIED names of an address, CLIENT_NAME_PENDING_MAX look-ups at
 * a time: names are wanted less than the hosts that mail goes to. */
#ifndef DNS_CLIENT_NAME_H
#define DNS_CLIENT_NAME_H

#include "dns/resolver.h"

enum { CLIENT_NAMES_TRIED = 5, CLIENT_NAME_PENDING_MAX = 1000 };

struct client_name;

/* Begins to look for the name of a numeric address. `done` is called once, later, unless the answer is there already or
 * client_name_free comes before; it must be quick and not free the look-up. NULL: not an address, too many look-ups, no memory. */
struct client_name *client_name_begin(struct resolver *r, const char *address, void (*done)(void *context), void *context);
bool client_name_ready(struct client_name *n);
/* The verified name, lower case, without a dot at the end; empty: none, or not known yet. NUL behind it. A view while `n` lives. */
struct str client_name_text(struct client_name *n);
/* When it returns `done` is not running and will not be called. NULL is fine. */
void client_name_free(struct client_name *n);

#endif
