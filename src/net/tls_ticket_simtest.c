/* The life of the keys of session tickets, on simulated time. */
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/tls.h"
#include "rt/clock.h"

static SSL_SESSION *kept;

/* One connection that offers `session`; true if it was resumed. Leaves the new ticket in `kept`. */
static bool resumes(struct tls_server *t, SSL_CTX *ctx, SSL_SESSION *session)
{
    int fds[2];
    char byte;
    size_t n;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    SSL *server = tls_server_ssl(t, "imap", NULL, fds[0]), *client = SSL_new(ctx);
    SSL_set_fd(client, fds[1]);
    SSL_set_connect_state(client);
    if (session)
        SSL_set_session(client, session);
    bool done = false;
    for (int i = 0; i < 20 && !done; i++) {
        int c = SSL_do_handshake(client), s = SSL_do_handshake(server);
        done = c == 1 && s == 1;
    }
    assert_true(done);
    SSL_read_ex(client, &byte, 1, &n);
    ERR_clear_error();
    bool resumed = SSL_session_reused(client) == 1;
    SSL_SESSION_free(kept);
    kept = SSL_get1_session(client);
    SSL_shutdown(client);
    SSL_free(client);
    SSL_free(server);
    close(fds[0]);
    close(fds[1]);
    return resumed;
}

static void test_keys_are_replaced(void **state)
{
    (void)state;
    enum { HOUR = 3600 * 1000 };
    struct err e = {0};
    char folder[] = "/tmp/tls-ticket-test-XXXXXX", chain[64], key[64];
    assert_non_null(mkdtemp(folder));
    snprintf(chain, sizeof chain, "%s/chain", folder);
    snprintf(key, sizeof key, "%s/key", folder);
    assert_int_equal(tls_self_signed("first.example", chain, key, &e), ST_OK);
    struct tls_certificate c = {"first.example", chain, key};
    struct tls_server *t = NULL;
    assert_int_equal(tls_server_new(&c, 1, &t, &e), ST_OK);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION); /* one ticket, to be used again and again */
    assert_false(resumes(t, ctx, NULL));
    SSL_SESSION *first = kept;
    kept = NULL;
    assert_true(resumes(t, ctx, first));
    clock_sim_advance(13 * HOUR); /* the key is the one before by now */
    assert_true(resumes(t, ctx, first));
    SSL_SESSION *second = kept; /* with a new ticket */
    kept = NULL;
    clock_sim_advance(13 * HOUR);
    assert_false(resumes(t, ctx, first));
    assert_true(resumes(t, ctx, second));
    clock_sim_advance(30 * HOUR); /* nobody came: not even the last key is kept */
    assert_false(resumes(t, ctx, second));
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_SESSION_free(kept);
    SSL_CTX_free(ctx);
    tls_server_free(t);
    unlink(chain);
    unlink(key);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_keys_are_replaced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
