/* What the tests of kv/ share: engines to run on, temporary directories, a repeatable random generator, made-up values. Only
 * included by tests. */
#ifndef KV_TESTING_H
#define KV_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kv/fault.h"
#include "kv/testing_engines.h"

enum wrap { WRAP_NONE, WRAP_FAULT, WRAP_SPLIT };

/* An engine to run a test on. */
struct subject {
    const char *label, *engine;
    enum wrap wrap;
};

static const struct subject subjects[] = {
    {"memory", "memory", WRAP_NONE},   {"memory behind fault", "memory", WRAP_FAULT},   {"memory in steps", "memory", WRAP_SPLIT},
    {"rocksdb", "rocksdb", WRAP_NONE}, {"rocksdb behind fault", "rocksdb", WRAP_FAULT}, {"rocksdb in steps", "rocksdb", WRAP_SPLIT},
};
enum { SUBJECTS = sizeof subjects / sizeof subjects[0] };

static inline bool subject_can_run(const struct subject *s)
{
    const char *only = getenv("KV_ENGINE");
    return (!only || strcmp(only, s->engine) == 0) && (ROCKSDB_CAN_RUN || strcmp(s->engine, "memory") == 0);
}

struct bench {
    const struct subject *subject;
    char path[64];
    struct kv *kv;
};

#define OK(e, call)                                                                                                                \
    do {                                                                                                                           \
        enum st got_ = (call);                                                                                                     \
        if (got_ != ST_OK)                                                                                                         \
            fail_msg("%s: %s: %s", #call, st_name(got_), (e)->detail);                                                             \
    } while (0)

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline void remove_tree(const char *path) { nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

static inline struct kv *open_engine(const char *engine, const char *path)
{
    struct err e = {0};
    struct kv *kv;
    OK(&e, kv_open(&(struct kv_config){.engine = engine, .path = path, .disk_reserve_bytes = 1 << 20}, &kv, &e));
    return kv;
}

static inline void bench_open_kv(struct bench *b)
{
    struct err e = {0};
    b->kv = open_engine(b->subject->engine, b->path);
    if (b->subject->wrap != WRAP_NONE)
        OK(&e, kv_fault_new(&b->kv, b->subject->wrap == WRAP_SPLIT, &b->kv, &e));
}

static inline void bench_open(struct bench *b, const struct subject *subject)
{
    b->subject = subject;
    snprintf(b->path, sizeof b->path, "/tmp/postrider-kv-XXXXXX");
    assert_non_null(mkdtemp(b->path));
    bench_open_kv(b);
}

static inline void bench_close(struct bench *b)
{
    kv_close(b->kv);
    remove_tree(b->path);
}

/* Closes and opens again where that keeps anything. */
static inline void bench_reopen(struct bench *b)
{
    if (strcmp(b->subject->engine, "memory") == 0)
        return;
    kv_close(b->kv);
    bench_open_kv(b);
}

/* xorshift64* */
static inline uint64_t roll(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1du;
}
static inline unsigned roll_upto(uint64_t *seed, unsigned n) { return (unsigned)(roll(seed) >> 33) % n; }

/* n bytes that follow from the seed, appended. */
static inline void add_noise(struct buf *b, uint64_t seed, size_t n)
{
    char *to = buf_reserve(b, n);
    assert_non_null(to);
    seed = seed * 2 + 1;
    for (size_t i = 0; i < n; i++)
        to[i] = (char)(roll(&seed) >> 56);
    buf_grew(b, n);
}

#endif
