/* What the contract in engine.h promises, on every engine, alone and behind the fault engine. */
#include <pthread.h>

#include "base/bits.h"
#include "kv/engine_internal.h"
#include "kv/testing.h"
#include "rt/clock.h"

/* ---- a naive model, compared with the engine after random operations ---- */

enum { PARTITIONS = 4, KEYS = 32, BLOBS = 8, ROUNDS = 700 };

static const char *const partition_names[PARTITIONS] = {"a", "a-b", "a.b", "z"};
static const uint32_t blob_sizes[BLOBS] = {0, 1, 900, 8192, 256 << 10, (256 << 10) + 1, 3 << 20, 9 << 20};

struct model {
    struct {
        uint64_t version;
        bool links[BLOBS];
        uint64_t values[KEYS]; /* seed of the value; 0: no such key */
    } partition[PARTITIONS];
    bool blob_exists[BLOBS];
    char key_bytes[KEYS][KV_KEY_MAX]; /* in order */
    struct str keys[KEYS];
    struct buf blobs[BLOBS];
    struct kv_blob_id ids[BLOBS];
};

static struct str name_of(unsigned p) { return str_of(partition_names[p]); }

static size_t value_size(uint64_t seed) { return seed % 16 == 0 ? seed % 60000 : seed % 200; }

static void value_of(uint64_t seed, struct buf *out)
{
    buf_clear(out);
    add_noise(out, seed, value_size(seed));
}

static int compare_strs(const void *a, const void *b) { return str_cmp(*(const struct str *)a, *(const struct str *)b); }

static void model_init(struct model *m)
{
    memset(m, 0, sizeof *m);
    uint64_t seed = 77;
    for (unsigned i = 0; i < KEYS; i++) { /* bytes 0 and 255, keys that begin alike, the longest */
        size_t n = i == 0 ? KV_KEY_MAX : 1 + i % 4;
        for (size_t k = 0; k < n; k++)
            m->key_bytes[i][k] = (char)(roll_upto(&seed, 3) * 127 + roll_upto(&seed, 2));
        m->key_bytes[i][n - 1] = (char)(i * 7);
        m->keys[i] = (struct str){m->key_bytes[i], n};
    }
    qsort(m->keys, KEYS, sizeof m->keys[0], compare_strs);
    for (unsigned i = 1; i < KEYS; i++)
        assert_true(str_cmp(m->keys[i - 1], m->keys[i]) < 0);
    for (unsigned i = 0; i < BLOBS; i++) {
        m->blobs[i] = BUF_INIT(16 << 20);
        add_noise(&m->blobs[i], i + 1, blob_sizes[i]);
        m->ids[i] = kv_blob_id_of(buf_str(&m->blobs[i]));
    }
}

static void model_release(struct model *m)
{
    for (unsigned i = 0; i < BLOBS; i++)
        buf_release(&m->blobs[i]);
}

static bool model_blob_linked(const struct model *m, unsigned blob)
{
    for (unsigned p = 0; p < PARTITIONS; p++)
        if (m->partition[p].links[blob])
            return true;
    return false;
}

/* Random operations, into the batch and, as they would be after a commit, into *next. Returns what the commit should say. */
static enum st random_batch(struct kv_batch *b, struct model *next, unsigned p, uint64_t *seed)
{
    DEFER(buf_release) struct buf value = BUF_INIT(1 << 20);
    enum st want = ST_OK;
    for (unsigned n = roll_upto(seed, 12); n > 0; n--) {
        unsigned k = roll_upto(seed, KEYS), to = roll_upto(seed, KEYS + 1), blob = roll_upto(seed, BLOBS);
        if (blob == BLOBS - 1 && roll_upto(seed, 4) != 0)
            blob = 0; /* the large one less often */
        uint64_t v = roll(seed) | 1;
        switch (roll_upto(seed, 10)) {
        case 0:
        case 1:
        case 2:
        case 3:
            value_of(v, &value);
            kv_batch_put(b, next->keys[k], buf_str(&value));
            next->partition[p].values[k] = v;
            break;
        case 4:
            kv_batch_delete(b, next->keys[k]);
            next->partition[p].values[k] = 0;
            break;
        case 5:
            kv_batch_delete_range(b, next->keys[k], to < KEYS ? next->keys[to] : STR_NONE);
            for (; k < to; k++)
                next->partition[p].values[k] = 0;
            break;
        case 6:
        case 7:
            kv_batch_blob(b, &next->ids[blob], buf_str(&next->blobs[blob]));
            next->blob_exists[blob] = next->partition[p].links[blob] = true;
            break;
        case 8:
            kv_batch_link(b, &next->ids[blob]);
            next->partition[p].links[blob] = true;
            want = next->blob_exists[blob] ? want : ST_NOTFOUND;
            break;
        default:
            kv_batch_unlink(b, &next->ids[blob]);
            next->partition[p].links[blob] = false;
        }
    }
    next->partition[p].version++;
    return want;
}

static void random_commit(struct bench *t, struct model *m, struct model *next, uint64_t *seed)
{
    struct err e = {0};
    unsigned p = roll_upto(seed, PARTITIONS);
    struct kv_batch *b = kv_batch_new(t->kv);
    assert_non_null(b);
    memcpy(next, m, sizeof *m);
    enum st want = random_batch(b, next, p, seed);
    uint64_t expected = m->partition[p].version;
    if (roll_upto(seed, 5) == 0) {
        expected += roll_upto(seed, 2) ? 1 : (uint64_t)-1;
        want = ST_CONFLICT;
    }
    if (expected == UINT64_MAX)
        want = ST_PERM;
    enum st got = kv_commit(t->kv, name_of(p), b, expected, &e);
    if (want == ST_CONFLICT && got == ST_CONFLICT) /* blobs may be stored though the commit is refused: learn which */
        for (unsigned i = 0; i < BLOBS; i++) {
            uint64_t size;
            m->blob_exists[i] = kv_blob_size(t->kv, &m->ids[i], &size, NULL) == ST_OK;
        }
    if (want == ST_OK)
        memcpy(m, next, sizeof *m);
    assert_int_equal(got, want);
    kv_batch_free(b);
}

struct scan_check {
    const struct model *m;
    unsigned partition, at, stop_after;
    struct kv *kv;
};

static bool check_scanned(void *context, struct str key, struct str value)
{
    struct scan_check *c = context;
    DEFER(buf_release) struct buf want = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);
    struct err e = {0};
    while (c->at < KEYS && !c->m->partition[c->partition].values[c->at])
        c->at++;
    assert_true(c->at < KEYS);
    assert_true(str_eq(key, c->m->keys[c->at]));
    value_of(c->m->partition[c->partition].values[c->at], &want);
    assert_true(str_eq(value, buf_str(&want)));
    OK(&e, kv_get(c->kv, name_of(c->partition), key, &got, &e)); /* visit may read */
    assert_true(str_eq(buf_str(&got), buf_str(&want)));
    c->at++;
    return --c->stop_after > 0;
}

static void check_scan(struct bench *t, const struct model *m, unsigned p, unsigned from, unsigned to, unsigned stop_after)
{
    struct err e = {0};
    struct scan_check c = {.m = m, .partition = p, .at = from, .stop_after = stop_after, .kv = t->kv};
    OK(&e, kv_scan(t->kv, name_of(p), from ? m->keys[from] : STR_NONE, to < KEYS ? m->keys[to] : STR_NONE, check_scanned, &c, &e));
    while (c.stop_after > 0 && c.at < to) /* nothing left out at the end */
        assert_int_equal(m->partition[p].values[c.at++], 0);
    assert_true(c.stop_after == 0 || from > to || c.at <= to);
}

static void check_key(struct bench *t, const struct model *m, unsigned p, unsigned k)
{
    DEFER(buf_release) struct buf want = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);
    buf_add(&got, STR("before"));
    buf_add(&want, STR("before"));
    uint64_t seed = m->partition[p].values[k];
    if (seed)
        add_noise(&want, seed, value_size(seed));
    assert_int_equal(kv_get(t->kv, name_of(p), m->keys[k], &got, NULL), seed ? ST_OK : ST_NOTFOUND);
    assert_true(str_eq(buf_str(&got), buf_str(&want)));
}

static void check_blob(struct bench *t, const struct model *m, unsigned i, uint64_t *seed)
{
    struct err e = {0};
    DEFER(buf_release) struct buf got = BUF_INIT(16 << 20);
    uint64_t size = 0;
    size_t offset = roll_upto(seed, blob_sizes[i] + 10), n = roll_upto(seed, 3) ? roll_upto(seed, 70000) : SIZE_MAX;
    if (!m->blob_exists[i]) {
        assert_int_equal(kv_blob_size(t->kv, &m->ids[i], &size, NULL), ST_NOTFOUND);
        assert_int_equal(kv_blob_read(t->kv, &m->ids[i], offset, n, &got, NULL), ST_NOTFOUND);
        return;
    }
    OK(&e, kv_blob_size(t->kv, &m->ids[i], &size, &e));
    assert_int_equal(size, blob_sizes[i]);
    OK(&e, kv_blob_read(t->kv, &m->ids[i], offset, n, &got, &e));
    assert_true(str_eq(buf_str(&got), str_sub(buf_str(&m->blobs[i]), offset, n)));
    if (roll_upto(seed, 8) == 0)
        OK(&e, kv_blob_verify(t->kv, &m->ids[i], &e));
}

/* All blobs at once, some twice, in a buffer that may be too small for all. */
static void check_together(struct bench *t, const struct model *m, uint64_t *seed)
{
    enum { COUNT = 24 };
    struct err e = {0};
    struct kv_blob_place places[COUNT];
    unsigned which[COUNT], count = roll_upto(seed, COUNT + 1);
    DEFER(buf_release) struct buf got = BUF_INIT(roll_upto(seed, 2) ? 1 << 20 : 20000);
    buf_add(&got, STR("before"));
    for (unsigned i = 0; i < count; i++) {
        which[i] = roll_upto(seed, BLOBS);
        places[i] = (struct kv_blob_place){.id = m->ids[which[i]]};
    }
    OK(&e, kv_blob_read_together(t->kv, places, count, &got, &e));
    size_t at = STR("before").n;
    for (unsigned i = 0; i < count; i++) {
        size_t size = blob_sizes[which[i]];
        bool want = m->blob_exists[which[i]] && size > 0 && size <= KV_TOGETHER_BYTES && at + size <= got.max;
        assert_int_equal(places[i].found, want);
        if (!want)
            continue;
        assert_int_equal(places[i].at, at);
        assert_int_equal(places[i].n, size);
        assert_true(str_eq(str_sub(buf_str(&got), at, size), buf_str(&m->blobs[which[i]])));
        at += size;
    }
    assert_int_equal(got.n, at);
}

struct partition_check {
    const struct model *m;
    struct str prefix;
    unsigned at;
};

static bool check_partition(void *context, struct str name, uint64_t version)
{
    struct partition_check *c = context;
    while (c->at < PARTITIONS && (!c->m->partition[c->at].version || !str_starts(name_of(c->at), c->prefix)))
        c->at++;
    assert_true(c->at < PARTITIONS);
    assert_true(str_eq(name, name_of(c->at)));
    assert_int_equal(version, c->m->partition[c->at].version);
    c->at++;
    return true;
}

static void check_partitions(struct bench *t, const struct model *m, struct str prefix)
{
    struct err e = {0};
    struct partition_check c = {m, prefix, 0};
    OK(&e, kv_partitions(t->kv, prefix, check_partition, &c, &e));
    for (; c.at < PARTITIONS; c.at++)
        assert_true(!m->partition[c.at].version || !str_starts(name_of(c.at), prefix));
}

struct links_found {
    const struct model *m;
    bool links[PARTITIONS][BLOBS];
    uint32_t counts[BLOBS];
    bool exists[BLOBS];
};

static unsigned blob_number(const struct model *m, const struct kv_blob_id *id)
{
    for (unsigned i = 0; i < BLOBS; i++)
        if (memcmp(&m->ids[i], id, sizeof *id) == 0)
            return i;
    fail_msg("unknown blob");
    return 0;
}

static bool found_link(void *context, const struct kv_blob_id *id, struct str partition)
{
    struct links_found *f = context;
    for (unsigned p = 0; p < PARTITIONS; p++)
        if (str_eq(name_of(p), partition))
            f->links[p][blob_number(f->m, id)] = true;
    return true;
}

static bool found_blob(void *context, const struct kv_blob_info *info)
{
    struct links_found *f = context;
    unsigned i = blob_number(f->m, &info->id);
    assert_false(f->exists[i]);
    assert_int_equal(info->size, blob_sizes[i]);
    assert_true(info->written_ms <= clock_wall_ms() && info->written_ms > clock_wall_ms() - 600000);
    f->exists[i] = true;
    f->counts[i] = info->links;
    return true;
}

/* exact: no link more than the model has. In steps a refused commit may leave links too many. */
static void check_links(struct bench *t, const struct model *m, bool exact)
{
    struct err e = {0};
    struct links_found f = {.m = m};
    OK(&e, kv_blobs(t->kv, NULL, found_blob, &f, &e));
    OK(&e, kv_links(t->kv, found_link, &f, &e));
    for (unsigned i = 0; i < BLOBS; i++) {
        uint32_t links = 0;
        for (unsigned p = 0; p < PARTITIONS; p++) {
            assert_true(f.links[p][i] == m->partition[p].links[i] || (!exact && f.links[p][i]));
            links += f.links[p][i];
        }
        assert_int_equal(f.exists[i], m->blob_exists[i]);
        assert_int_equal(f.counts[i], links);
    }
}

static void random_collect(struct bench *t, struct model *m, bool exact, uint64_t *seed)
{
    struct err e = {0};
    size_t collected, want = 0;
    bool all = roll_upto(seed, 2);
    OK(&e, kv_collect(t->kv, clock_wall_ms() - 600000, 1000, &collected, &e)); /* the grace period protects everything */
    assert_int_equal(collected, 0);
    if (!all)
        return;
    OK(&e, kv_collect(t->kv, clock_wall_ms() + 1000, 1000, &collected, &e));
    for (unsigned i = 0; i < BLOBS; i++) {
        uint64_t size;
        bool gone = m->blob_exists[i] && kv_blob_size(t->kv, &m->ids[i], &size, NULL) == ST_NOTFOUND;
        assert_true(gone == (m->blob_exists[i] && !model_blob_linked(m, i)) || (!gone && !exact));
        want += gone;
        m->blob_exists[i] = m->blob_exists[i] && !gone;
    }
    assert_int_equal(collected, want);
}

static void random_drop(struct bench *t, struct model *m, uint64_t *seed)
{
    struct err e = {0};
    unsigned p = roll_upto(seed, PARTITIONS);
    OK(&e, kv_partition_drop(t->kv, name_of(p), &e));
    memset(&m->partition[p], 0, sizeof m->partition[p]);
}

static void check_random(struct bench *t, const struct model *m, uint64_t *seed)
{
    struct err e = {0};
    static const char *const prefixes[] = {"", "a", "a.", "z", "b"};
    uint64_t version;
    unsigned p = roll_upto(seed, PARTITIONS);
    OK(&e, kv_version(t->kv, name_of(p), &version, &e));
    assert_int_equal(version, m->partition[p].version);
    for (unsigned i = 0; i < 4; i++)
        check_key(t, m, p, roll_upto(seed, KEYS));
    check_scan(t, m, p, roll_upto(seed, KEYS), roll_upto(seed, KEYS + 1), roll_upto(seed, 2) ? KEYS + 1 : 1 + roll_upto(seed, 9));
    check_partitions(t, m, str_of(prefixes[roll_upto(seed, 5)]));
    check_blob(t, m, roll_upto(seed, BLOBS), seed);
    check_together(t, m, seed);
}

static void test_oracle(void **state)
{
    struct bench t;
    bench_open(&t, *state);
    bool exact = t.subject->wrap != WRAP_SPLIT;
    struct model *m = malloc(sizeof *m), *next = malloc(sizeof *m);
    assert_true(m && next);
    model_init(m);
    const char *given = getenv("KV_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) | 1 : 20261123;
    for (unsigned i = 0; i < ROUNDS; i++) {
        random_commit(&t, m, next, &seed);
        check_random(&t, m, &seed);
        if (i % 16 == 0)
            check_links(&t, m, exact);
        if (i % 23 == 0)
            random_collect(&t, m, exact, &seed);
        if (i % 61 == 0)
            random_drop(&t, m, &seed);
        if (i % 150 == 149)
            bench_reopen(&t);
    }
    for (unsigned p = 0; p < PARTITIONS; p++)
        check_scan(&t, m, p, 0, KEYS, KEYS + 1);
    model_release(m);
    free(m);
    free(next);
    bench_close(&t);
}

/* ---- single promises ---- */

static enum st put_one(struct kv *kv, const char *partition, struct str key, struct str value, uint64_t expected)
{
    struct kv_batch *b = kv_batch_new(kv);
    assert_non_null(b);
    kv_batch_put(b, key, value);
    enum st s = kv_commit(kv, str_of(partition), b, expected, NULL);
    kv_batch_free(b);
    return s;
}

/* Commits one batch that `add` has filled with nothing but the operation in question. */
static void test_limits(void **state)
{
    struct bench t;
    bench_open(&t, *state);
    static char long_key[KV_KEY_MAX + 2];
    char *big = calloc(1, KV_VALUE_MAX + 1);
    assert_non_null(big);
    memset(long_key, 'k', sizeof long_key);
    struct str name64 = STR("abcdefghijklmnopqrstuvwxyz-0123456789.abcdefghijklmnopqrstuvwxyz");
    assert_int_equal(name64.n, KV_PARTITION_NAME_MAX);
    uint64_t v;
    assert_int_equal(kv_version(t.kv, name64, &v, NULL), ST_OK);
    static const char *const bad[] = {"",    "A",        "a/b",
                                      "a_b", "\xc3\xa4", "abcdefghijklmnopqrstuvwxyz-0123456789.abcdefghijklmnopqrstuvwxyz0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(kv_version(t.kv, str_of(bad[i]), &v, NULL), ST_PERM);
    assert_int_equal(kv_version(t.kv, STR("a\0b"), &v, NULL), ST_PERM);

    static const struct {
        size_t key, value;
        enum st want;
    } cases[] = {{1, 0, ST_OK},
                 {KV_KEY_MAX, KV_VALUE_MAX, ST_OK},
                 {KV_KEY_MAX + 1, 1, ST_LIMIT},
                 {1, KV_VALUE_MAX + 1, ST_LIMIT},
                 {0, 1, ST_PERM}};
    uint64_t version = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum st got = put_one(t.kv, "limits", (struct str){long_key, cases[i].key}, (struct str){big, cases[i].value}, version);
        assert_int_equal(got, cases[i].want);
        version += got == ST_OK;
    }
    DEFER(buf_release) struct buf small = BUF_INIT(10);
    assert_int_equal(kv_get(t.kv, STR("limits"), (struct str){long_key, KV_KEY_MAX}, &small, NULL), ST_LIMIT);

    struct kv_batch *b = kv_batch_new(t.kv);
    for (int i = 0; i < 64; i++)
        kv_batch_put(b, (struct str){long_key, KV_KEY_MAX}, (struct str){big, KV_VALUE_MAX});
    assert_int_equal(kv_commit(t.kv, STR("limits"), b, version, NULL), ST_LIMIT); /* 64 values and their keys */
    kv_batch_clear(b);
    for (int i = 0; i <= KV_BATCH_MAX_OPS; i++)
        kv_batch_delete(b, STR("k"));
    assert_int_equal(kv_commit(t.kv, STR("limits"), b, version, NULL), ST_LIMIT);
    kv_batch_clear(b);
    assert_int_equal(kv_commit(t.kv, STR("limits"), b, version, NULL), ST_OK); /* an empty one raises the version */
    assert_int_equal(kv_version(t.kv, STR("limits"), &v, NULL), ST_OK);
    assert_int_equal(v, version + 1);
    kv_batch_free(b);
    free(big);
    bench_close(&t);
}

/* The large range goes another way in rocksdb than short ones; what the batch itself put must go too, what it puts later stays. */
static void test_large_range(void **state)
{
    struct bench t;
    bench_open(&t, *state);
    struct err e = {0};
    struct kv_batch *b = kv_batch_new(t.kv);
    char key[4];
    for (uint32_t i = 0; i < 3000; i++) {
        be32_put(key, i);
        kv_batch_put(b, (struct str){key, 4}, STR("v"));
    }
    OK(&e, kv_commit(t.kv, STR("range"), b, 0, &e));
    kv_batch_clear(b);
    be32_put(key, 2500);
    kv_batch_put(b, (struct str){key, 4}, STR("gone"));
    kv_batch_put(b, STR("\0\0\x0a\0x"), STR("gone"));
    kv_batch_delete_range(b, STR("\0\0\0\x0a"), STR("\xff"));
    kv_batch_put(b, STR("\0\0\x01\0"), STR("stays"));
    kv_batch_delete_range(b, STR("b"), STR("a")); /* an empty range */
    OK(&e, kv_commit(t.kv, STR("range"), b, 1, &e));
    DEFER(buf_release) struct buf got = BUF_INIT(100);
    static const struct {
        uint32_t key;
        enum st want;
    } cases[] = {{0, ST_OK},         {9, ST_OK},          {10, ST_NOTFOUND},  {256, ST_OK},
                 {257, ST_NOTFOUND}, {2500, ST_NOTFOUND}, {2999, ST_NOTFOUND}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        be32_put(key, cases[i].key);
        assert_int_equal(kv_get(t.kv, STR("range"), (struct str){key, 4}, &got, NULL), cases[i].want);
    }
    assert_int_equal(kv_get(t.kv, STR("range"), STR("\0\0\x0a\0x"), &got, NULL), ST_NOTFOUND);
    kv_batch_free(b);
    bench_close(&t);
}

/* The collector: a linked blob stays, an unlinked one goes after its grace period, which counts from the unlinking. */
static void test_collector(void **state)
{
    struct bench t;
    bench_open(&t, *state);
    struct err e = {0};
    struct kv_batch *b = kv_batch_new(t.kv);
    struct kv_blob_id ids[20];
    char bytes[20][8];
    for (unsigned i = 0; i < 20; i++) {
        le64_put(bytes[i], i);
        ids[i] = kv_blob_id_of((struct str){bytes[i], 8});
        kv_batch_blob(b, &ids[i], (struct str){bytes[i], 8});
    }
    OK(&e, kv_commit(t.kv, STR("x"), b, 0, &e));
    int64_t written = clock_wall_ms() + 1;
    while (clock_wall_ms() <= written)
        usleep(1000);
    kv_batch_clear(b);
    for (unsigned i = 0; i < 10; i++)
        kv_batch_unlink(b, &ids[i]);
    OK(&e, kv_commit(t.kv, STR("x"), b, 1, &e));
    size_t n, sum = 0;
    OK(&e, kv_collect(t.kv, written, 100, &n, &e));
    assert_int_equal(n, 0);
    for (int i = 0; i < 12; i++) { /* three at a time, more calls than needed */
        OK(&e, kv_collect(t.kv, clock_wall_ms() + 1000, 3, &n, &e));
        assert_true(n <= 3);
        sum += n;
    }
    assert_int_equal(sum, 10);
    uint64_t size;
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(kv_blob_size(t.kv, &ids[i], &size, NULL), i < 10 ? ST_NOTFOUND : ST_OK);
    kv_batch_clear(b);
    kv_batch_link(b, &ids[0]);
    kv_batch_put(b, STR("k"), STR("v"));
    assert_int_equal(kv_commit(t.kv, STR("y"), b, 0, &e), ST_NOTFOUND); /* all or nothing */
    DEFER(buf_release) struct buf got = BUF_INIT(100);
    assert_int_equal(kv_get(t.kv, STR("y"), STR("k"), &got, NULL), ST_NOTFOUND);
    kv_batch_free(b);
    bench_close(&t);
}

static void test_leases(void **state)
{
    struct bench t;
    bench_open(&t, *state);
    struct err e = {0};
    uint64_t first, again, other;
    OK(&e, kv_lease_take(t.kv, STR("shard.1"), STR("node-a"), 60000, &first, &e));
    OK(&e, kv_lease_take(t.kv, STR("shard.1"), STR("node-a"), 60000, &again, &e));
    assert_int_equal(first, again);
    assert_int_equal(kv_lease_take(t.kv, STR("shard.1"), STR("node-b"), 60000, &other, NULL), ST_CONFLICT);
    OK(&e, kv_lease_take(t.kv, STR("shard.2"), STR("node-b"), 60000, &other, &e));
    assert_int_equal(kv_lease_drop(t.kv, STR("shard.1"), STR("node-b"), NULL), ST_NOTFOUND);
    OK(&e, kv_lease_drop(t.kv, STR("shard.1"), STR("node-a"), &e));
    OK(&e, kv_lease_take(t.kv, STR("shard.1"), STR("node-b"), 1, &other, &e));
    assert_true(other > first);
    enum st s = ST_CONFLICT;
    for (int i = 0; i < 1000 && s == ST_CONFLICT; i++) { /* expires */
        usleep(1000);
        s = kv_lease_take(t.kv, STR("shard.1"), STR("node-a"), 60000, &again, NULL);
    }
    assert_int_equal(s, ST_OK);
    assert_true(again > other);
    if (strcmp(t.subject->engine, "memory") != 0) { /* a restart forgets who held it, but not the epoch */
        bench_reopen(&t);
        OK(&e, kv_lease_take(t.kv, STR("shard.1"), STR("node-b"), 60000, &other, &e));
        assert_true(other > again);
    }
    bench_close(&t);
}

static void count_call(void *context, struct str partition)
{
    assert_true(str_eq(partition, STR("p")));
    atomic_fetch_add((atomic_uint *)context, 1);
}

static void test_watch(void **state)
{
    struct bench t;
    bench_open(&t, *state);
    struct err e = {0};
    atomic_uint a = 0, b = 0;
    struct kv_watch *wa, *wb;
    OK(&e, kv_watch(t.kv, STR("p"), count_call, &a, &wa, &e));
    OK(&e, kv_watch(t.kv, STR("p"), count_call, &b, &wb, &e));
    kv_notify(t.kv, STR("p"));
    kv_notify(t.kv, STR("q"));
    kv_unwatch(wa);
    kv_notify(t.kv, STR("p"));
    assert_int_equal(a, 1);
    assert_int_equal(b, 2);
    kv_unwatch(NULL);
    bench_close(&t); /* frees the other */
}

/* ---- threads ---- */

enum { THREADS = 4, SHARED = 3, INCREMENTS = 60 };

struct worker {
    struct kv *kv;
    unsigned number;
    unsigned conflicts;
};

/* Adds 1 to the counter in a partition and leaves a record under the version it made. */
static void increment(struct worker *w, struct str partition, struct kv_batch *b)
{
    for (;;) {
        struct err e = {0};
        DEFER(buf_release) struct buf value = BUF_INIT(8);
        uint64_t version;
        char counter[8], log_key[9] = "v";
        OK(&e, kv_version(w->kv, partition, &version, &e));
        enum st s = kv_get(w->kv, partition, STR("counter"), &value, &e);
        assert_true(s == ST_OK || s == ST_NOTFOUND);
        le64_put(counter, (s == ST_OK ? le64_get(value.p) : 0) + 1);
        be64_put(log_key + 1, version + 1);
        kv_batch_clear(b);
        kv_batch_put(b, STR("counter"), (struct str){counter, 8});
        kv_batch_put(b, (struct str){log_key, 9}, STR("x"));
        struct kv_blob_id id = kv_blob_id_of((struct str){counter, 8}); /* the same blobs from all threads */
        kv_batch_blob(b, &id, (struct str){counter, 8});
        s = kv_commit(w->kv, partition, b, version, &e);
        if (s == ST_OK)
            return;
        assert_int_equal(s, ST_CONFLICT);
        w->conflicts++;
    }
}

static void *increment_all(void *arg)
{
    struct worker *w = arg;
    struct kv_batch *b = kv_batch_new(w->kv);
    static const char *const names[SHARED] = {"one", "two", "three"};
    for (unsigned i = 0; i < INCREMENTS; i++)
        increment(w, str_of(names[(w->number + i) % SHARED]), b);
    kv_batch_free(b);
    return NULL;
}

static bool count_key(void *context, struct str key, struct str value)
{
    (void)value;
    uint64_t *next = context;
    if (key.p[0] == 'v' && key.n == 9)
        assert_int_equal(be64_get(key.p + 1), ++*next); /* no gap */
    return true;
}

static void *collect_always(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < 300; i++)
        assert_int_equal(kv_collect(w->kv, clock_wall_ms() + 1000, 50, NULL, NULL), ST_OK);
    return NULL;
}

static bool check_linked_blob(void *context, const struct kv_blob_id *id, struct str partition)
{
    (void)partition;
    struct err e = {0};
    OK(&e, kv_blob_verify(context, id, &e));
    return true;
}

static void test_threads(void **state)
{
    struct bench t;
    bench_open(&t, *state);
    struct err e = {0};
    struct worker w[THREADS + 1];
    pthread_t threads[THREADS + 1];
    for (unsigned i = 0; i <= THREADS; i++) {
        w[i] = (struct worker){t.kv, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, i < THREADS ? increment_all : collect_always, &w[i]), 0);
    }
    for (unsigned i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    static const char *const names[SHARED] = {"one", "two", "three"};
    uint64_t sum = 0;
    for (unsigned i = 0; i < SHARED; i++) {
        DEFER(buf_release) struct buf value = BUF_INIT(8);
        uint64_t version, seen = 0;
        OK(&e, kv_version(t.kv, str_of(names[i]), &version, &e));
        OK(&e, kv_get(t.kv, str_of(names[i]), STR("counter"), &value, &e));
        OK(&e, kv_scan(t.kv, str_of(names[i]), STR("v"), STR("w"), count_key, &seen, &e));
        assert_int_equal(le64_get(value.p), version);
        assert_int_equal(seen, version);
        sum += version;
    }
    assert_int_equal(sum, THREADS * INCREMENTS);
    OK(&e, kv_links(t.kv, check_linked_blob, t.kv, &e)); /* what is linked was never collected */
    bench_close(&t);
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } tests[] = {{"oracle", test_oracle}, {"limits", test_limits}, {"large range", test_large_range}, {"collector", test_collector},
                 {"leases", test_leases}, {"watch", test_watch},   {"threads", test_threads}};
    enum { TESTS = sizeof tests / sizeof tests[0] };
    static struct CMUnitTest all[TESTS * SUBJECTS];
    static char names[TESTS * SUBJECTS][64];
    size_t n = 0;
    for (size_t s = 0; s < SUBJECTS; s++)
        for (size_t i = 0; i < TESTS; i++) {
            if (!subject_can_run(&subjects[s]))
                continue;
            snprintf(names[n], sizeof names[n], "%s on %s", tests[i].name, subjects[s].label);
            all[n] = (struct CMUnitTest){names[n], tests[i].run, NULL, NULL, (void *)(uintptr_t)&subjects[s]};
            n++;
        }
    return _cmocka_run_group_tests("kv conformance", all, n, NULL, NULL);
}
