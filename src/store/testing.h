/* A store with one account, for the tests of this layer, which run on every engine; STORE_TEST_ENGINE chooses one. */
#ifndef STORE_TESTING_H
#define STORE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "kv/testing_engines.h"
#include "store/mailbox.h"
#include "store/message.h"

struct testing {
    struct kv *kv;
    struct store *store;
    struct account *account;
    account_id id;
    struct arena arena;
    struct err err;
    struct store_config config;
    char dir[64];
};

#define ok(call, t)                                                                                                                \
    do {                                                                                                                           \
        enum st ok_st_ = (call);                                                                                                   \
        if (ok_st_ != ST_OK)                                                                                                       \
            fail_msg("%s: %s: %s (%s)", #call, st_name(ok_st_), (t)->err.text, (t)->err.detail);                                   \
    } while (0)

static inline void testing_open_kv(struct testing *t)
{
    const char *engine = getenv("STORE_TEST_ENGINE");
    struct kv_config config = {.engine = engine ? engine : "memory", .path = t->dir};
    ok(kv_open(&config, &t->kv, &t->err), t);
}

static inline int testing_setup(void **state)
{
    struct testing *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->id = 42;
    arena_init(&t->arena, 16 << 20);
    snprintf(t->dir, sizeof t->dir, "/tmp/store-test-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    testing_open_kv(t);
    store_config_defaults(&t->config);
    ok(store_open(t->kv, &t->config, &t->store, &t->err), t);
    ok(account_create(t->store, t->id, &t->err), t);
    ok(account_open(t->store, t->id, &t->account, &t->err), t);
    *state = t;
    return 0;
}

static inline int testing_teardown(void **state)
{
    struct testing *t = *state;
    account_unref(t->account);
    store_close(t->store);
    kv_close(t->kv);
    arena_release(&t->arena);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", t->dir);
    int gone = system(command);
    free(t);
    return gone;
}

/* A new store on the same engine: everything comes from what is stored. */
static inline void testing_reopen(struct testing *t)
{
    account_unref(t->account);
    store_close(t->store);
    ok(store_open(t->kv, &t->config, &t->store, &t->err), t);
    ok(account_open(t->store, t->id, &t->account, &t->err), t);
}

static inline void testing_info(struct testing *t, const char *name, struct mailbox_info *out)
{
    ok(mailbox_find(t->account, str_of(name), &t->arena, out, &t->err), t);
}

static inline uint32_t testing_mailbox(struct testing *t, const char *name)
{
    struct mailbox_info info;
    testing_info(t, name, &info);
    return info.id;
}

/* Appends `count` small messages. */
static inline void testing_fill(struct testing *t, uint32_t mailbox, unsigned count)
{
    struct message_append list[50];
    char bytes[50][40];
    static unsigned number;
    for (unsigned done = 0; done < count;) {
        unsigned n = count - done < 50 ? count - done : 50;
        for (unsigned i = 0; i < n; i++) {
            int length = snprintf(bytes[i], sizeof bytes[i], "Subject: %u\r\n\r\nx\r\n", ++number);
            list[i] = (struct message_append){.bytes = str_make(bytes[i], (size_t)length)};
        }
        ok(message_append(t->account, mailbox, list, n, &t->err), t);
        done += n;
    }
}

struct testing_list {
    struct mailbox_info infos[200];
    char names[200][200];
    size_t count;
};
static inline bool testing_list_visit(void *context, const struct mailbox_info *info)
{
    struct testing_list *l = context;
    assert_true(l->count < 200);
    snprintf(l->names[l->count], sizeof l->names[0], "%.*s", STR_FMT(info->name));
    l->infos[l->count] = *info;
    l->infos[l->count++].name = STR_NONE;
    return true;
}
static inline void testing_list(struct testing *t, struct testing_list *out)
{
    out->count = 0;
    ok(mailbox_list(t->account, testing_list_visit, out, &t->err), t);
}

/* Runs the tests on each engine. */
static inline int testing_run(const char *name, const struct CMUnitTest *tests, size_t count)
{
    static const char *const engines[] = {"memory", "rocksdb"};
    size_t usable = ROCKSDB_CAN_RUN ? 2 : 1;
    if (getenv("STORE_TEST_ENGINE"))
        return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    int failed = 0;
    for (size_t i = 0; i < usable; i++) {
        char title[100];
        snprintf(title, sizeof title, "%s on %s", name, engines[i]);
        setenv("STORE_TEST_ENGINE", engines[i], 1);
        failed += _cmocka_run_group_tests(title, tests, count, NULL, NULL);
    }
    return failed;
}

#endif
