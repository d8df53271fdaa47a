/* Session tickets (RFC 5077, RFC 8446 4.6.1): the keys that seal them live in memory only and are replaced twice a day, so that
 * whoever steals one reads little. The key before is still good for opening. Threads: any. */
#ifndef NET_TLS_TICKET_H
#define NET_TLS_TICKET_H

#include <openssl/ssl.h>

struct tickets;

struct tickets *tickets_new(void); /* NULL without memory */
void tickets_free(struct tickets *t);
void tickets_use(struct tickets *t, SSL_CTX *c); /* from now on; t must live as long as c */

#endif
