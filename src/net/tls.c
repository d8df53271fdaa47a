#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "net/tls_ticket.h"

struct loaded {
    char *host, *chain, *key;
    struct timespec chain_time, key_time;
    SSL_CTX *ctx; /* owned reference */
};

struct tls_server {
    pthread_rwlock_t lock; /* over loaded[].ctx */
    struct loaded *list;
    size_t count;
    struct tickets *tickets; /* one for all contexts: a ticket survives a reload */
    char *client_ca;         /* NULL: clients are not asked for certificates */
};

/* What a connection's SSL carries, for the callbacks. */
struct binding {
    struct tls_server *server;
    const char *alpn;
    char *subject; /* of the client's certificate, owned */
};
static int binding_index(void)
{
    static int index = -1;
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&once);
    if (index < 0)
        index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    int i = index;
    pthread_mutex_unlock(&once);
    return i;
}

void tls_error_text(char out[160])
{
    unsigned long code = ERR_peek_error();
    ERR_clear_error();
    if (code)
        ERR_error_string_n(code, out, 160);
    else
        snprintf(out, 160, "connection broken off");
}

static enum st tls_failed(struct err *e, const char *what, const char *path)
{
    char text[160];
    tls_error_text(text);
    return ERR_PUBLIC(e, ST_PERM, "%s %s: %s", what, path, text);
}

/* ---- names ---- */

/* RFC 9525 6.3: a wildcard stands for exactly one label. */
static bool name_matches(const char *pattern, struct str name)
{
    struct str p = str_of(pattern);
    if (str_eq_nocase(p, name))
        return true;
    if (!str_starts(p, STR("*.")))
        return false;
    size_t dot = str_find_char(name, '.');
    return dot != STR_NPOS && dot > 0 && str_eq_nocase(str_from(p, 1), str_from(name, dot));
}

static int choose_certificate(SSL *ssl, int *alert, void *argument)
{
    (void)alert;
    (void)argument;
    const struct binding *b = SSL_get_ex_data(ssl, binding_index());
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!b || !name)
        return SSL_TLSEXT_ERR_NOACK;
    pthread_rwlock_rdlock(&b->server->lock);
    for (size_t i = 0; i < b->server->count; i++)
        if (name_matches(b->server->list[i].host, str_of(name))) {
            SSL_set_SSL_CTX(ssl, b->server->list[i].ctx);
            break;
        }
    pthread_rwlock_unlock(&b->server->lock);
    return SSL_TLSEXT_ERR_OK; /* an unknown name gets the first certificate: refusing helps nobody */
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned in_n,
                       void *argument)
{
    (void)argument;
    const struct binding *b = SSL_get_ex_data(ssl, binding_index());
    for (unsigned at = 0; b && b->alpn && at < in_n && in[at] <= in_n - at - 1; at += in[at] + 1U) {
        if (str_eq(str_make(in + at + 1, in[at]), str_of(b->alpn))) {
            *out = in + at + 1;
            *out_n = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return b && b->alpn ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
}

/* ---- contexts ---- */

static SSL_CTX *context_new(struct tls_server *t)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    if (!c)
        return NULL;
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION); /* RFC 8997 */
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"); /* RFC 9325 4.2 */
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF); /* tickets only: no memory for each client */
    SSL_CTX_set_num_tickets(c, 1);
    tickets_use(t->tickets, c);
    SSL_CTX_set_tlsext_servername_callback(c, choose_certificate);
    SSL_CTX_set_alpn_select_cb(c, choose_alpn, NULL);
    SSL_CTX_set_dh_auto(c, 1);
    return c;
}

/* Any certificate is taken, or none: a mail server that shows its own as a client is welcome too. tls_describe tells the good ones.
 */
static int take_any(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

static enum st ask_clients(SSL_CTX *c, const char *path, struct err *e)
{
    ERR_clear_error();
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (!names || SSL_CTX_load_verify_locations(c, path, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return tls_failed(e, "authorities of client certificates", path);
    }
    SSL_CTX_set_client_CA_list(c, names);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, take_any);
    return ST_OK;
}

static enum st load_certificate(SSL_CTX *c, const char *chain, const char *key, struct err *e)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c, chain) != 1)
        return tls_failed(e, "certificate", chain);
    if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1)
        return tls_failed(e, "private key", key);
    if (SSL_CTX_check_private_key(c) != 1)
        return tls_failed(e, "the private key does not belong to the certificate:", key);
    return ST_OK;
}

bool tls_key_exposed(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH));
}

static enum st load_one(struct tls_server *t, struct loaded *l, struct err *e)
{
    struct stat chain, key;
    ENSURE(stat(l->chain, &chain) == 0, e, ST_PERM, "certificate %s cannot be read", l->chain);
    ENSURE(stat(l->key, &key) == 0, e, ST_PERM, "private key %s cannot be read", l->key);
    if (l->ctx && memcmp(&chain.st_mtim, &l->chain_time, sizeof chain.st_mtim) == 0 &&
        memcmp(&key.st_mtim, &l->key_time, sizeof key.st_mtim) == 0)
        return ST_OK;
    SSL_CTX *c = context_new(t);
    ENSURE(c, e, ST_TEMP, "out of memory");
    enum st s = load_certificate(c, l->chain, l->key, e);
    if (s == ST_OK && t->client_ca)
        s = ask_clients(c, t->client_ca, e);
    if (s != ST_OK) {
        SSL_CTX_free(c);
        return s;
    }
    pthread_rwlock_wrlock(&t->lock);
    SSL_CTX *old = l->ctx;
    l->ctx = c;
    l->chain_time = chain.st_mtim;
    l->key_time = key.st_mtim;
    pthread_rwlock_unlock(&t->lock);
    SSL_CTX_free(old);
    return ST_OK;
}

enum st tls_server_reload(struct tls_server *t, struct err *e)
{
    for (size_t i = 0; i < t->count; i++)
        TRY(load_one(t, &t->list[i], e));
    return ST_OK;
}

enum st tls_server_new(const struct tls_certificate *list, size_t count, struct tls_server **out, struct err *e)
{
    ENSURE(count > 0, e, ST_PERM, "TLS needs a certificate: certificate \"host\" { chain = \"...\" key = \"...\" }");
    struct tls_server *t = calloc(1, sizeof *t);
    ENSURE(t, e, ST_TEMP, "out of memory");
    pthread_rwlock_init(&t->lock, NULL);
    t->tickets = tickets_new();
    t->list = t->tickets ? calloc(count, sizeof *t->list) : NULL;
    for (; t->list && t->count < count; t->count++) {
        struct loaded *l = &t->list[t->count];
        l->host = strdup(list[t->count].host);
        l->chain = strdup(list[t->count].chain);
        l->key = strdup(list[t->count].key);
        if (!l->host || !l->chain || !l->key)
            break;
    }
    enum st s = t->list && t->count == count ? tls_server_reload(t, e) : ERR_PUBLIC(e, ST_TEMP, "out of memory");
    if (s != ST_OK)
        tls_server_free(t);
    else
        *out = t;
    return s;
}

enum st tls_server_trust_clients(struct tls_server *t, const char *path, struct err *e)
{
    char *copy = strdup(path);
    ENSURE(copy, e, ST_TEMP, "out of memory");
    free(t->client_ca);
    t->client_ca = copy;
    for (size_t i = 0; i < t->count; i++)
        t->list[i].chain_time = (struct timespec){0}; /* read again */
    return tls_server_reload(t, e);
}

void tls_server_free(struct tls_server *t)
{
    for (size_t i = 0; t && t->list && i < t->count; i++) {
        free(t->list[i].host);
        free(t->list[i].chain);
        free(t->list[i].key);
        SSL_CTX_free(t->list[i].ctx);
    }
    if (t) {
        tickets_free(t->tickets);
        free(t->client_ca);
        free(t->list);
        pthread_rwlock_destroy(&t->lock);
    }
    free(t);
}

/* ---- one connection ---- */

static void binding_free(void *parent, void *p, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (p)
        free(((struct binding *)p)->subject);
    free(p);
}

static int owned_binding_index(void)
{
    static int index = -1;
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&once);
    if (index < 0)
        index = SSL_get_ex_new_index(0, NULL, NULL, NULL, binding_free);
    int i = index;
    pthread_mutex_unlock(&once);
    return i;
}

SSL *tls_server_ssl(struct tls_server *t, const char *service, const char *alpn, int fd)
{
    struct binding *b = malloc(sizeof *b);
    pthread_rwlock_rdlock(&t->lock);
    SSL *ssl = b ? SSL_new(t->list[0].ctx) : NULL;
    pthread_rwlock_unlock(&t->lock);
    if (!ssl) {
        free(b);
        return NULL;
    }
    *b = (struct binding){t, alpn, NULL};
    SSL_set_ex_data(ssl, owned_binding_index(), b); /* frees it with the SSL */
    SSL_set_ex_data(ssl, binding_index(), b);
    SSL_set_session_id_context(ssl, (const unsigned char *)service, (unsigned)strnlen(service, SSL_MAX_SID_CTX_LENGTH));
    SSL_set_fd(ssl, fd);
    SSL_set_accept_state(ssl);
    return ssl;
}

/* RFC 5929 4.1: the hash of the certificate's signature, SHA-256 if that is MD5 or SHA-1. */
static void describe_endpoint(SSL *ssl, struct session_tls *out)
{
    X509 *x = SSL_get_certificate(ssl);
    int md = NID_undef;
    if (!x || !X509_get_signature_info(x, &md, NULL, NULL, NULL))
        return;
    const EVP_MD *digest = md == NID_md5 || md == NID_sha1 || md == NID_undef ? EVP_sha256() : EVP_get_digestbynid(md);
    unsigned n = 0;
    if (digest && EVP_MD_get_size(digest) <= (int)sizeof out->endpoint && X509_digest(x, digest, out->endpoint, &n))
        out->endpoint_size = n;
}

/* An address with a NUL in it would be cut to another one, which its authority did not check. */
static char *address_of(const GENERAL_NAME *name)
{
    struct str address = str_make(ASN1_STRING_get0_data(name->d.rfc822Name), (size_t)ASN1_STRING_length(name->d.rfc822Name));
    return str_find_char(address, '\0') == STR_NPOS ? strndup(address.p, address.n) : NULL;
}

static void describe_client(SSL *ssl, struct session_tls *out)
{
    struct binding *b = SSL_get_ex_data(ssl, binding_index());
    X509 *x = b && SSL_get_verify_result(ssl) == X509_V_OK ? SSL_get0_peer_certificate(ssl) : NULL;
    GENERAL_NAMES *names = x ? X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL) : NULL;
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names) && i < 100; i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        if (n->type == GEN_EMAIL && !b->subject)
            b->subject = address_of(n);
    }
    GENERAL_NAMES_free(names);
    if (b)
        out->client_subject = str_of(b->subject);
}

void tls_describe(SSL *ssl, struct session_tls *out)
{
    *out = (struct session_tls){.active = true, .resumed = SSL_session_reused(ssl)};
    out->version = str_of(SSL_get_version(ssl));
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    out->cipher = cipher ? str_of(SSL_CIPHER_standard_name(cipher)) : STR_NONE;
    out->bits = (unsigned)SSL_get_cipher_bits(ssl, NULL);
    out->sni = str_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    const unsigned char *alpn = NULL;
    unsigned alpn_n = 0;
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_n);
    out->alpn = str_make(alpn, alpn_n);
    /* RFC 9266, RFC 7627 1: only where the keys are bound to the whole handshake. */
    bool whole = SSL_version(ssl) == TLS1_3_VERSION || SSL_get_extms_support(ssl) == 1;
    if (whole)
        out->has_exporter =
            SSL_export_keying_material(ssl, out->exporter, sizeof out->exporter, "EXPORTER-Channel-Binding", 24, NULL, 0, 0) == 1;
    if (whole && SSL_version(ssl) == TLS1_2_VERSION) /* RFC 5929 3: the first Finished of the handshake */
        out->unique_size = SSL_session_reused(ssl) ? SSL_get_finished(ssl, out->unique, sizeof out->unique)
                                                   : SSL_get_peer_finished(ssl, out->unique, sizeof out->unique);
    describe_endpoint(ssl, out);
    describe_client(ssl, out);
}

/* ---- outgoing ---- */

struct tls_client {
    SSL_CTX *ctx;
    bool verify;
};

enum st tls_client_new(bool verify, struct tls_client **out, struct err *e)
{
    struct tls_client *t = calloc(1, sizeof *t);
    SSL_CTX *c = t ? SSL_CTX_new(TLS_client_method()) : NULL;
    if (!c) {
        free(t);
        return ERR_PUBLIC(e, ST_TEMP, "out of memory");
    }
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    if (verify) {
        SSL_CTX_set_default_verify_paths(c);
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    }
    *t = (struct tls_client){c, verify};
    *out = t;
    return ST_OK;
}

void tls_client_free(struct tls_client *t)
{
    if (t)
        SSL_CTX_free(t->ctx);
    free(t);
}

SSL *tls_client_ssl(struct tls_client *t, const char *host, int fd)
{
    SSL *ssl = SSL_new(t->ctx);
    if (!ssl)
        return NULL;
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    if (host && *host && !ascii_digit(host[strlen(host) - 1])) /* no SNI for an address: RFC 6066 3 */
        SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)host);
    if (t->verify && host) {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        SSL_set1_host(ssl, host);
    }
    return ssl;
}
