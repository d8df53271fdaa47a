/* TLS over socket pairs: both ends in one thread, their handshakes in turn. */
#include "net/tls.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static const char *path(const char *name)
{
    static char paths[16][128];
    static unsigned next;
    char *p = paths[next++ % 16];
    snprintf(p, 128, "%s/%s", folder, name);
    return p;
}

static struct tls_certificate made(const char *host, const char *name)
{
    struct err e = {0};
    char chain[64], key[64];
    snprintf(chain, sizeof chain, "%s.chain", name);
    snprintf(key, sizeof key, "%s.key", name);
    struct tls_certificate c = {host, path(chain), path(key)};
    assert_int_equal(tls_self_signed(host, c.chain, c.key, &e), ST_OK);
    return c;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tls-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* ---- a pair of ends ---- */

struct pair {
    SSL *server, *client;
    int fds[2];
    bool ok;
};

static bool turn(SSL *ssl, bool *failed)
{
    ERR_clear_error();
    int result = SSL_do_handshake(ssl), reason = result == 1 ? 0 : SSL_get_error(ssl, result);
    *failed |= result != 1 && reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE;
    return result == 1;
}

static void shake(struct pair *p)
{
    bool failed = false, client = false, server = false;
    for (int i = 0; i < 20 && !failed && !(client && server); i++) {
        client = turn(p->client, &failed);
        server = turn(p->server, &failed);
    }
    p->ok = client && server && !failed;
}

struct wish { /* what the client asks for */
    const char *sni, *alpn;
    SSL_SESSION *session;
    int version_max;
    const struct tls_certificate *certificate;
};

static void connect_pair(struct pair *p, struct tls_server *t, const char *service, const char *alpn, SSL_CTX *ctx,
                         struct wish wish)
{
    char byte;
    size_t n;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds), 0);
    p->server = tls_server_ssl(t, service, alpn, p->fds[0]);
    p->client = SSL_new(ctx);
    SSL_set_fd(p->client, p->fds[1]);
    SSL_set_connect_state(p->client);
    if (wish.sni)
        SSL_ctrl(p->client, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)wish.sni);
    if (wish.alpn)
        SSL_set_alpn_protos(p->client, (const unsigned char *)wish.alpn, (unsigned)strlen(wish.alpn));
    if (wish.session)
        SSL_set_session(p->client, wish.session);
    if (wish.version_max)
        SSL_set_max_proto_version(p->client, wish.version_max);
    if (wish.certificate) {
        assert_int_equal(SSL_use_certificate_file(p->client, wish.certificate->chain, SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_use_PrivateKey_file(p->client, wish.certificate->key, SSL_FILETYPE_PEM), 1);
    }
    shake(p);
    if (p->ok && SSL_read_ex(p->client, &byte, 1, &n) != 1) /* takes the ticket in */
        ERR_clear_error();
}

static void close_pair(struct pair *p)
{
    SSL_shutdown(p->client); /* or its session is not to be resumed */
    SSL_free(p->client);
    SSL_free(p->server);
    close(p->fds[0]);
    close(p->fds[1]);
}

static bool shows(const struct pair *p, const char *host)
{
    X509 *x = SSL_get0_peer_certificate(p->client);
    return x && X509_check_host(x, host, 0, 0, NULL) == 1;
}

/* ---- the tests ---- */

static void test_names(void **state)
{
    (void)state;
    struct err e = {0};
    struct tls_certificate list[] = {made("first.example", "a"), made("*.wild.example", "b"), made("second.example", "c")};
    struct tls_server *t = NULL;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(tls_server_new(list, 3, &t, &e), ST_OK);
    static const struct {
        const char *sni, *shown;
    } rows[] = {
        {NULL, "first.example"},
        {"first.example", "first.example"},
        {"Second.EXAMPLE", "second.example"},
        {"mx.wild.example", "mx.wild.example"},
        {"a.b.wild.example", "first.example"},
        {"wild.example", "first.example"},
        {"unknown.example", "first.example"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p;
        struct session_tls told;
        connect_pair(&p, t, "imap", NULL, ctx, (struct wish){.sni = rows[i].sni});
        assert_true(p.ok);
        assert_true(shows(&p, rows[i].shown));
        tls_describe(p.server, &told);
        assert_true(told.active && str_eq(told.sni, str_of(rows[i].sni)));
        close_pair(&p);
    }
    SSL_CTX_free(ctx);
    tls_server_free(t);
}

static void test_alpn(void **state)
{
    (void)state;
    struct err e = {0};
    struct tls_certificate c = made("first.example", "a");
    struct tls_server *t = NULL;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(tls_server_new(&c, 1, &t, &e), ST_OK);
    static const struct {
        const char *ours, *offered;
        bool ok;
        const char *chosen;
    } rows[] = {
        {"imap", NULL, true, ""},           {"imap", "\4imap", true, "imap"}, {"imap", "\4pop3\4imap", true, "imap"},
        {"imap", "\10http/1.1", false, ""}, /* an attack across protocols */
        {NULL, "\10http/1.1", true, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p;
        struct session_tls told;
        connect_pair(&p, t, "imap", rows[i].ours, ctx, (struct wish){.alpn = rows[i].offered});
        assert_int_equal(p.ok, rows[i].ok);
        if (p.ok) {
            tls_describe(p.server, &told);
            assert_true(str_eq(told.alpn, str_of(rows[i].chosen)));
        }
        close_pair(&p);
    }
    SSL_CTX_free(ctx);
    tls_server_free(t);
}

static void test_versions_and_bindings(void **state)
{
    (void)state;
    struct err e = {0};
    struct tls_certificate c = made("first.example", "a");
    struct tls_server *t = NULL;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct pair p;
    struct session_tls told;
    unsigned char other[64];
    assert_int_equal(tls_server_new(&c, 1, &t, &e), ST_OK);

    connect_pair(&p, t, "imap", NULL, ctx, (struct wish){0});
    tls_describe(p.server, &told);
    assert_true(str_eq(told.version, STR("TLSv1.3")) && told.bits >= 128 && told.unique_size == 0);
    assert_int_equal(SSL_export_keying_material(p.client, other, 32, "EXPORTER-Channel-Binding", 24, NULL, 0, 0), 1);
    assert_true(told.has_exporter);
    assert_memory_equal(told.exporter, other, 32);
    unsigned n = 0;
    X509_digest(SSL_get0_peer_certificate(p.client), EVP_sha256(), other, &n);
    assert_int_equal(told.endpoint_size, n);
    assert_memory_equal(told.endpoint, other, n);
    close_pair(&p);

    connect_pair(&p, t, "imap", NULL, ctx, (struct wish){.version_max = TLS1_2_VERSION});
    tls_describe(p.server, &told);
    assert_true(str_eq(told.version, STR("TLSv1.2")));
    assert_true(str_starts(told.cipher, STR("TLS_ECDHE_"))); /* as IANA registers it (RFC 8314 4.3), not as OpenSSL calls it */
    size_t size = SSL_get_finished(p.client, other, sizeof other); /* the first Finished is the client's */
    assert_int_equal(told.unique_size, size);
    assert_memory_equal(told.unique, other, size);
    assert_int_not_equal(SSL_renegotiate(p.client) == 1 && SSL_do_handshake(p.client) == 1, 1);
    SSL_do_handshake(p.server);
    char byte;
    size_t got;
    SSL_read_ex(p.server, &byte, 1, &got); /* sees the wish, refuses it */
    assert_int_not_equal(SSL_do_handshake(p.client), 1);
    close_pair(&p);

    /* without RFC 7627 the Finished messages of two connections can be made alike: nothing to bind to (RFC 9266 1) */
    SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    connect_pair(&p, t, "imap", NULL, ctx, (struct wish){.version_max = TLS1_2_VERSION});
    assert_true(p.ok);
    tls_describe(p.server, &told);
    assert_true(!told.has_exporter && told.unique_size == 0);
    close_pair(&p);

    SSL_CTX_set_security_level(ctx, 0);
    connect_pair(&p, t, "imap", NULL, ctx, (struct wish){.version_max = TLS1_1_VERSION});
    assert_false(p.ok);
    close_pair(&p);
    SSL_CTX_free(ctx);
    tls_server_free(t);
}

static SSL_SESSION *kept;
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

/* A ticket is good where it came from and nowhere else; also after new certificates were read. */
static void resume(struct tls_server *t, SSL_CTX *ctx, int version)
{
    static const struct {
        const char *service;
        bool resumed;
    } rows[] = {{"imap", true}, {"submission", false}, {"imap", true}};
    struct pair p;
    connect_pair(&p, t, "imap", NULL, ctx, (struct wish){.version_max = version});
    assert_true(p.ok && kept);
    close_pair(&p);
    SSL_SESSION *first = kept;
    kept = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct session_tls told;
        SSL_SESSION *copy = SSL_SESSION_dup(first); /* a client uses each ticket of TLS 1.3 only once */
        connect_pair(&p, t, rows[i].service, NULL, ctx, (struct wish){.version_max = version, .session = copy});
        SSL_SESSION_free(copy);
        assert_true(p.ok);
        tls_describe(p.server, &told);
        if (told.resumed != rows[i].resumed)
            fail_msg("%s, row %zu: got %d", SSL_get_version(p.server), i, told.resumed);
        close_pair(&p);
    }
    SSL_SESSION_free(first);
}

static void test_tickets(void **state)
{
    (void)state;
    struct err e = {0};
    struct tls_certificate c = made("first.example", "a");
    struct tls_server *t = NULL;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    assert_int_equal(tls_server_new(&c, 1, &t, &e), ST_OK);
    resume(t, ctx, 0);
    resume(t, ctx, TLS1_2_VERSION);
    SSL_SESSION_free(kept);
    kept = NULL;
    SSL_CTX_free(ctx);
    tls_server_free(t);
}

static void touch(const char *file, time_t when)
{
    struct timespec times[2] = {{when, 0}, {when, 0}};
    assert_int_equal(utimensat(AT_FDCWD, file, times, 0), 0);
}

static void test_reload(void **state)
{
    (void)state;
    struct err e = {0};
    struct tls_certificate c = made("old.example", "r"), fresh = made("new.example", "s");
    struct tls_server *t = NULL;
    struct pair p;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(tls_server_new(&c, 1, &t, &e), ST_OK);
    FILE *f = fopen(c.chain, "w");
    fputs("broken", f);
    fclose(f);
    touch(c.chain, 1000);
    assert_int_equal(tls_server_reload(t, &e), ST_PERM);
    assert_non_null(strstr(e.text, c.chain));
    connect_pair(&p, t, "imap", NULL, ctx, (struct wish){0});
    assert_true(p.ok && shows(&p, "old.example")); /* goes on with what it has */
    assert_int_equal(rename(fresh.chain, c.chain), 0);
    touch(c.chain, 2000);
    assert_int_equal(tls_server_reload(t, &e), ST_PERM); /* the key does not fit yet */
    assert_int_equal(rename(fresh.key, c.key), 0);
    touch(c.key, 2000);
    assert_int_equal(tls_server_reload(t, &e), ST_OK);
    close_pair(&p);
    connect_pair(&p, t, "imap", NULL, ctx, (struct wish){0});
    assert_true(p.ok && shows(&p, "new.example"));
    close_pair(&p);
    SSL_CTX_free(ctx);
    tls_server_free(t);
}

static void test_refused_files(void **state)
{
    (void)state;
    struct err e = {0};
    struct tls_server *t = NULL;
    struct tls_certificate good = made("first.example", "a"), other = made("second.example", "c");
    struct tls_certificate missing = {"x", "/nonexistent", good.key}, wrong = {"x", good.chain, other.key};
    assert_int_equal(tls_server_new(&missing, 1, &t, &e), ST_PERM);
    assert_non_null(strstr(e.text, "/nonexistent"));
    assert_int_equal(tls_server_new(&wrong, 1, &t, &e), ST_PERM);
    assert_int_equal(tls_server_new(NULL, 0, &t, &e), ST_PERM);
    struct stat st;
    assert_int_equal(stat(good.key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    static const struct {
        mode_t mode;
        bool exposed;
    } modes[] = {{0600, false}, {0640, false}, {0400, false}, {0644, true}, {0604, true}, {0602, true}, {0711, false}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(good.key, modes[i].mode), 0);
        assert_int_equal(tls_key_exposed(good.key), modes[i].exposed);
    }
    assert_int_equal(chmod(good.key, 0600), 0);
    assert_false(tls_key_exposed("/nonexistent"));
}

/* ---- certificates of clients ---- */

static void add_address(X509 *x, struct str address)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, address.p, (int)address.n);
    GENERAL_NAME_set0_value(name, GEN_EMAIL, text);
    sk_GENERAL_NAME_push(names, name);
    assert_int_equal(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

/* A certificate with an address in its subjectAltName, which is its own authority. */
static struct tls_certificate personal(struct str address, const char *name)
{
    char chain[64], key[64];
    snprintf(chain, sizeof chain, "%s.chain", name);
    snprintf(key, sizeof key, "%s.key", name);
    struct tls_certificate c = {name, path(chain), path(key)};
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
    X509_gmtime_adj(X509_getm_notBefore(x), -100);
    X509_gmtime_adj(X509_getm_notAfter(x), 100000);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, k);
    add_address(x, address);
    assert_true(X509_sign(x, k, EVP_sha256()) > 0);
    FILE *f = fopen(c.chain, "w");
    PEM_write_X509(f, x);
    fclose(f);
    f = fopen(c.key, "w");
    PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(k);
    return c;
}

/* Both certificates in one file. */
static const char *both(const struct tls_certificate *a, const struct tls_certificate *b)
{
    const char *to = path("authorities.pem");
    FILE *out = fopen(to, "w");
    for (int i = 0; i < 2; i++) {
        FILE *in = fopen(i ? b->chain : a->chain, "r");
        for (int c; (c = getc(in)) != EOF;)
            putc(c, out);
        fclose(in);
    }
    fclose(out);
    return to;
}

static void test_client_certificates(void **state)
{
    (void)state;
    struct err e = {0};
    struct tls_certificate c = made("first.example", "a"), friend = personal(STR("elinor@abcd.com"), "friend"),
                           stranger = personal(STR("elinor@abcd.com"), "stranger"),
                           trickster = personal(STR("elinor@abcd.com\0.evil.example"), "trickster");
    struct tls_server *t = NULL;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(tls_server_new(&c, 1, &t, &e), ST_OK);
    assert_int_equal(tls_server_trust_clients(t, "/nonexistent", &e), ST_PERM);
    assert_int_equal(tls_server_trust_clients(t, both(&friend, &trickster), &e), ST_OK);
    const struct {
        const struct tls_certificate *shown;
        const char *subject;
    } rows[] = {{NULL, ""}, {&friend, "elinor@abcd.com"}, {&stranger, ""}, {&trickster, ""}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p;
        struct session_tls told;
        connect_pair(&p, t, "imap", NULL, ctx, (struct wish){.certificate = rows[i].shown});
        assert_true(p.ok); /* all are served */
        tls_describe(p.server, &told);
        assert_true(str_eq(told.client_subject, str_of(rows[i].subject)));
        close_pair(&p);
    }
    SSL_CTX_free(ctx);
    tls_server_free(t);
}

/* ---- our client ---- */

static void test_client(void **state)
{
    (void)state;
    struct err e = {0};
    struct tls_certificate c = made("first.example", "a");
    struct tls_server *t = NULL;
    static const struct {
        bool verify, trusted;
        const char *host;
        bool ok;
    } rows[] = {
        {false, false, "whatever.example", true},
        {true, false, "first.example", false},
        {true, true, "first.example", true},
        {true, true, "second.example", false},
        {false, false, NULL, true},
    };
    assert_int_equal(tls_server_new(&c, 1, &t, &e), ST_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tls_client *client = NULL;
        struct pair p;
        setenv("SSL_CERT_FILE", rows[i].trusted ? c.chain : "/nonexistent", 1);
        assert_int_equal(tls_client_new(rows[i].verify, &client, &e), ST_OK);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p.fds), 0);
        p.server = tls_server_ssl(t, "smtp", NULL, p.fds[0]);
        p.client = tls_client_ssl(client, rows[i].host, p.fds[1]);
        shake(&p);
        if (p.ok != rows[i].ok)
            fail_msg("row %zu: got %d", i, p.ok);
        close_pair(&p);
        tls_client_free(client);
    }
    tls_server_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_versions_and_bindings),
        cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_client),
        cmocka_unit_test(test_client_certificates),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
