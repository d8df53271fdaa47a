/* The PROXY protocol, versions 1 (text) and 2 (binary): a load balancer says whose connection it passes on. Read only from networks
 * that the settings list; everybody else who sends it is a client that talks nonsense. Pure functions; the network list is
 * immutable. */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { PROXY_HEADER_MAX = 536 + 16 };

struct proxy_networks;
/* "10.0.0.0/8, 2001:db8::/32, 192.0.2.1"; empty gives an empty list. ST_PERM names the part that is wrong. */
enum st proxy_networks_parse(struct str text, struct proxy_networks **out, struct err *e) MUST_USE;
void proxy_networks_free(struct proxy_networks *n);
bool proxy_networks_have(const struct proxy_networks *n, const char *address);

struct proxy_source {
    bool local; /* a health check of the balancer itself, or an unknown family: keep the socket's address */
    char address[64];
    uint16_t port;
};
enum proxy_result { PROXY_DONE, PROXY_MORE, PROXY_BAD };
/* Looks for a whole header at the start of `in`; DONE sets *used and *source. */
enum proxy_result proxy_parse(struct str in, size_t *used, struct proxy_source *source);

#endif
