/* What every protocol server is given: the rest of the system, by reference. Made once at start by app/, lives longer than all
 * sessions. */
#ifndef SERVE_SERVICES_H
#define SERVE_SERVICES_H

#include <stdbool.h>

#include "net/session.h"

struct store;
struct directory;
struct auth;
struct queue;
struct resolver;
struct relay_clients;
struct smtp_rates;

struct services {
    struct store *store;
    struct directory *directory;
    struct auth *auth;
    struct queue *queue;
    struct resolver *resolver;                 /* dns/; NULL where there is none (demo): then no reverse lookups */
    const struct relay_clients *relay_clients; /* serve/smtp/relay_client.h: who may submit without a login; NULL: nobody */
    struct smtp_rates *smtp_rates;             /* serve/smtp/rates.h: how much a login sends; NULL: not counted */
    const char *hostname;                      /* our name in greetings and trace fields */
    const char *spool_dir;                     /* for rt/spool */
    bool demo; /* loopback policy of `postrider demo`: port 25 takes mail that names a local sender */
};

/* The factories. `context` of a session_factory is a struct serve_context that lives as long as its listener. */
enum serve_profile {
    SERVE_SMTP,       /* port 25: mail from other servers */
    SERVE_SUBMISSION, /* 587 and 465: AUTH required (RFC 6409) */
    SERVE_LMTP,       /* RFC 2033 */
    SERVE_POP3,
    SERVE_IMAP,
    SERVE_SIEVE,
    SERVE_HTTP,
};
struct serve_context {
    const struct services *services;
    enum serve_profile profile;
    bool tls_available; /* STARTTLS can be offered */
};
struct session *smtp_session_make(void *context, const struct session_peer *peer); /* SMTP, SUBMISSION, LMTP */
struct session *pop3_session_make(void *context, const struct session_peer *peer);
struct session *imap_session_make(void *context, const struct session_peer *peer);
struct session *http_session_make(void *context, const struct session_peer *peer);

#endif
