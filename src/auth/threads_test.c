/* Directory and login from many threads at once; meant for the thread sanitizer, and right without it too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "auth/credential.h"
#include "auth/login.h"
#include "kv/engine.h"
#include "rt/log.h"
#include "store/store.h"

enum { THREADS = 8, ROUNDS = 20, ACCOUNTS = 4 };

struct world {
    struct kv *kv;
    struct store *store;
    struct directory *d;
    struct auth *a;
    struct buf credential;
    atomic_uint wrong, added;
};

struct worker {
    struct world *w;
    unsigned number;
};

static bool quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

static enum st add(struct world *w, const char *address)
{
    account_id id;
    struct directory_account a = {
        .address = str_of(address), .password = buf_str(&w->credential), .quota_bytes = UINT64_MAX, .quota_messages = UINT64_MAX};
    return directory_account_add(w->d, w->store, &a, &id, NULL);
}

static void log_in(struct world *w, const struct session_peer *peer, unsigned n)
{
    char name[32];
    struct identity who;
    snprintf(name, sizeof name, "user%u", n % ACCOUNTS);
    w->wrong += auth_password(w->a, AUTH_IMAP, peer, str_of(name), STR("pencil"), &who, NULL) != ST_OK;
    w->wrong += auth_password(w->a, AUTH_IMAP, peer, STR("nobody"), STR("pencil"), &who, NULL) == ST_OK;
}

static void begin_scram(struct world *w, const struct session_peer *peer)
{
    struct sasl *s = NULL;
    enum sasl_status status;
    struct identity who;
    struct buf out = BUF_INIT(1024);
    w->wrong += sasl_begin(w->a, AUTH_SMTP, peer, STR("SCRAM-SHA-256"), &s, NULL) != ST_OK;
    w->wrong += s && sasl_step(s, true, STR("n,,n=user1,r=abcdefgh"), &out, &status, &who, NULL) != ST_OK;
    sasl_free(s);
    buf_release(&out);
}

static enum st rename_account(void *context, struct directory_account *a, struct err *e)
{
    (void)e;
    a->name = *(const struct str *)context;
    return ST_OK;
}

static void change(struct world *w, unsigned n)
{
    struct arena arena = ARENA_INIT(64 << 10);
    struct directory_account a;
    struct directory_route route;
    char address[64];
    snprintf(address, sizeof address, "user%u@xyz.com", n % ACCOUNTS);
    struct str name = n % 2 ? STR("One") : STR("Two");
    w->wrong += directory_account_find(w->d, str_of(address), &arena, &a, NULL) != ST_OK;
    w->wrong += directory_account_edit(w->d, str_of(address), rename_account, &name, NULL) != ST_OK;
    w->wrong += directory_resolve(w->d, str_of(address), &arena, &route, NULL) != ST_OK || route.count != 1;
    arena_release(&arena);
}

static void *work(void *context)
{
    struct worker *me = context;
    struct session_peer peer = {.trusted_local = true};
    for (unsigned i = 0; i < ROUNDS; i++) {
        char fresh[64];
        log_in(me->w, &peer, me->number + i);
        begin_scram(me->w, &peer);
        change(me->w, me->number * 3 + i);
        snprintf(fresh, sizeof fresh, "fresh%u@xyz.com", i); /* all threads want the same one */
        me->w->added += add(me->w, fresh) == ST_OK;
    }
    return NULL;
}

static bool count(void *context, const struct directory_account *a)
{
    (void)a;
    ++*(unsigned *)context;
    return true;
}

static void test_threads(void **state)
{
    (void)state;
    struct world w = {.credential = BUF_INIT(CREDENTIAL_MAX)};
    struct kv_config config = {.engine = "memory"};
    struct store_config store;
    struct directory_domain domain = {.name = STR("xyz.com"), .is_default = true};
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    unsigned accounts = 0;
    log_capture(quiet, NULL);
    store_config_defaults(&store);
    assert_int_equal(kv_open(&config, &w.kv, NULL), ST_OK);
    assert_int_equal(store_open(w.kv, &store, &w.store, NULL), ST_OK);
    assert_int_equal(directory_open(w.kv, &w.d, NULL), ST_OK);
    assert_int_equal(auth_open(w.d, &w.a, NULL), ST_OK);
    assert_int_equal(directory_domain_put(w.d, &domain, NULL), ST_OK);
    /* a cheap hash, or hashing would be all that happens; the first login of each account renews it while others log in */
    assert_int_equal(credential_import(STR("{SSHA}dFWAdLXeDBTj01WbdotiS4s3zKlzYWx0"), &w.credential, NULL), ST_OK);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char address[64];
        snprintf(address, sizeof address, "user%u@xyz.com", i);
        assert_int_equal(add(&w, address), ST_OK);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){&w, i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(w.wrong, 0);
    assert_true(w.added >= ROUNDS); /* two that add at the same moment may both have completed the one account */
    assert_int_equal(directory_accounts(w.d, STR_NONE, count, &accounts, NULL), ST_OK);
    assert_int_equal(accounts, ACCOUNTS + ROUNDS);
    struct arena arena = ARENA_INIT(64 << 10);
    struct directory_account a;
    struct credential c;
    assert_int_equal(directory_account_find(w.d, STR("user0@xyz.com"), &arena, &a, NULL), ST_OK);
    assert_int_equal(credential_parse(a.password, &c, NULL), ST_OK);
    assert_false(credential_is_old(&c)); /* renewed once, and no change of another field undid it */
    arena_release(&arena);
    auth_close(w.a);
    directory_close(w.d);
    store_close(w.store);
    kv_close(w.kv);
    buf_release(&w.credential);
    log_capture(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
