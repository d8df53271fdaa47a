/* How many connections each client address has: IPv4 addresses, IPv6 /64 networks. Loopback is not counted. Bounded by the
 * connections that exist. Threads: any. */
#ifndef NET_CLIENTS_H
#define NET_CLIENTS_H

#include <stdbool.h>

struct clients;

struct clients *clients_new(unsigned max_each);           /* NULL without memory */
void clients_limit(struct clients *c, unsigned max_each); /* from now on */
void clients_free(struct clients *c);
/* One more for this textual address: false if it has its fill (then nothing is counted). */
bool clients_enter(struct clients *c, const char *address);
void clients_leave(struct clients *c, const char *address);

#endif
