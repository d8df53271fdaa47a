/* TLS 1.2 and 1.3 by OpenSSL 3: server contexts with SNI and certificates that are read again when their files change, and
 * client contexts for outgoing connections. No renegotiation, no compression; idle connections give their buffers back.
 *
 * Threads: contexts may be used from any thread; an SSL object belongs to its connection. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <openssl/ssl.h>

#include "base/err.h"
#include "base/str.h"
#include "net/session.h"

struct tls_server;

struct tls_certificate {
    const char *host;  /* "mail.example.org", "*.example.org"; the first of a list also serves unknown names */
    const char *chain; /* path of the PEM chain, leaf first */
    const char *key;   /* path of its private key */
};

/* Reads the certificates. ST_PERM names the file and what is wrong with it. Paths are copied. */
enum st tls_server_new(const struct tls_certificate *list, size_t count, struct tls_server **out, struct err *e) MUST_USE;
void tls_server_free(struct tls_server *t);
/* Reads again what changed on the disk; connections go on with what they have. On an error the old certificates stay. */
enum st tls_server_reload(struct tls_server *t, struct err *e) MUST_USE;

/* Whether users other than its owner and group may read or write a private key; false also if it cannot be looked at. */
bool tls_key_exposed(const char *path);

/* Asks clients for certificates of the authorities in a PEM file: who has one may log in with it (SASL EXTERNAL) as the address in
 * its subjectAltName. Others are served all the same. Before the first connection. */
enum st tls_server_trust_clients(struct tls_server *t, const char *path, struct err *e) MUST_USE;

/* A server-side SSL for one connection. `service` binds session tickets (RFC 8446 4.6.1: a ticket of one service is worth nothing
 * at another). `alpn` is the protocol's name in the ALPN registry, or NULL; a client that offers names but not this one is turned
 * away (RFC 7301 3.2, against cross-protocol attacks). NULL without memory. */
SSL *tls_server_ssl(struct tls_server *t, const char *service, const char *alpn, int fd);
/* Fills what sessions are told, after the handshake. Views live as long as the SSL. */
void tls_describe(SSL *ssl, struct session_tls *out);

/* Makes a self-signed certificate for `host` (EC P-256, ten years) with its key, if the files do not exist. */
enum st tls_self_signed(const char *host, const char *chain, const char *key, struct err *e) MUST_USE;

/* ---- outgoing ---- */

struct tls_client;
/* verify: certificates must be valid for the name (RFC 9525); otherwise any is taken (opportunistic, RFC 7435). */
enum st tls_client_new(bool verify, struct tls_client **out, struct err *e) MUST_USE;
void tls_client_free(struct tls_client *t);
SSL *tls_client_ssl(struct tls_client *t, const char *host, int fd); /* host: for SNI and verification; NULL: none */

/* The library's oldest error, as text for a log; empties its queue. */
void tls_error_text(char out[160]);

#endif
