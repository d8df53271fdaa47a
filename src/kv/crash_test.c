/* The rocksdb engine and the disk: kill -9, write errors and the way back, damage, format, lock, backup, room. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/bits.h"
#include "kv/rocks_blob.h"
#include "kv/testing.h"
#include "kv/testing_disk.h"
#include "rt/clock.h"

/* ---- kill -9: a child commits in a loop and reports what was acknowledged ---- */

enum { CRASH_ROUNDS = 20, CRASH_THREADS = 4 };

struct report {
    uint32_t thread;
    uint32_t size; /* of the blob */
    uint64_t version;
};

struct committer {
    struct kv *kv;
    uint32_t thread;
    int report_to;
};

static struct str thread_name(char name[16], uint32_t thread)
{
    return (struct str){name, (size_t)snprintf(name, 16, "t%u", thread)};
}

/* Every blob follows from thread and version, so that the parent can make it again. */
static uint32_t blob_size(uint32_t thread, uint64_t version)
{
    uint64_t seed = thread * 1000003u + version * 2 + 1;
    roll(&seed);
    return roll_upto(&seed, 25) == 0 ? 5000000 + roll_upto(&seed, 3000000) : roll_upto(&seed, 20000);
}
static void make_blob(struct buf *out, uint32_t thread, uint64_t version)
{
    buf_clear(out);
    add_noise(out, thread * 7919u + version, blob_size(thread, version));
}

static void log_key(char key[9], uint64_t version)
{
    key[0] = 'v';
    be64_put(key + 1, version);
}

static void commit_one(struct committer *c, struct kv_batch *b, struct buf *blob, uint64_t version)
{
    struct err e = {0};
    char name[16], key[9];
    make_blob(blob, c->thread, version + 1);
    struct kv_blob_id id = kv_blob_id_of(buf_str(blob));
    log_key(key, version + 1);
    kv_batch_clear(b);
    kv_batch_put(b, (struct str){key, sizeof key}, str_make(id.sha256, sizeof id.sha256));
    kv_batch_blob(b, &id, buf_str(blob));
    if (kv_commit(c->kv, thread_name(name, c->thread), b, version, &e) != ST_OK)
        _exit(3);
    struct report r = {c->thread, (uint32_t)blob->n, version + 1};
    if (write(c->report_to, &r, sizeof r) != sizeof r) /* shorter than PIPE_BUF: whole or not at all */
        _exit(4);
}

static void *commit_forever(void *arg)
{
    struct committer *c = arg;
    struct kv_batch *b = kv_batch_new(c->kv);
    struct buf blob = BUF_INIT(16 << 20);
    char name[16];
    uint64_t version;
    if (!b || kv_version(c->kv, thread_name(name, c->thread), &version, NULL) != ST_OK)
        _exit(5);
    for (;;)
        commit_one(c, b, &blob, version++);
}

static int run_child(const char *path)
{
    static struct committer c[CRASH_THREADS];
    struct kv *kv = open_engine("rocksdb", path);
    pthread_t t;
    for (uint32_t i = 0; i < CRASH_THREADS; i++) {
        c[i] = (struct committer){kv, i, STDOUT_FILENO};
        if (pthread_create(&t, NULL, commit_forever, &c[i]) != 0)
            return 6;
    }
    pause();
    return 7;
}

static pid_t start_child(const char *path, int *from)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        close(fd[0]);
        execl("/proc/self/exe", "kv-crash-child", path, (char *)NULL);
        _exit(2);
    }
    close(fd[1]);
    *from = fd[0];
    return pid;
}

static void read_reports(int from, uint64_t acked[CRASH_THREADS], pid_t child, int run_ms)
{
    struct report r;
    struct pollfd p = {from, POLLIN, 0};
    bool killed = false;
    int64_t until = 0; /* counted from the first report */
    while (poll(&p, 1, killed ? -1 : 20) >= 0) {
        if (p.revents) {
            if (read(from, &r, sizeof r) != sizeof r)
                break;
            assert_true(r.thread < CRASH_THREADS);
            assert_int_equal(r.version, acked[r.thread] + 1);
            assert_int_equal(r.size, blob_size(r.thread, r.version));
            acked[r.thread] = r.version;
            until = until ? until : clock_mono_ms() + run_ms;
        }
        if (!killed && until && clock_mono_ms() >= until) {
            kill(child, SIGKILL);
            killed = true;
        }
    }
    close(from);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool is_next_version(void *context, struct str key, struct str value)
{
    uint64_t *last = context;
    assert_int_equal(key.n, 9);
    assert_int_equal(value.n, KV_BLOB_ID_SIZE);
    assert_int_equal(be64_get(key.p + 1), ++*last);
    return true;
}

static bool verify_linked(void *context, const struct kv_blob_id *id, struct str partition)
{
    (void)partition;
    struct err e = {0};
    OK(&e, kv_blob_verify(context, id, &e));
    return true;
}

/* What was acknowledged is there; at most the one commit under way is there too, and whole. */
static void verify_thread(struct kv *kv, uint32_t thread, uint64_t *acked)
{
    struct err e = {0};
    char name[16], key[9];
    struct str partition = thread_name(name, thread);
    uint64_t version, seen = 0;
    DEFER(buf_release) struct buf blob = BUF_INIT(16 << 20), got = BUF_INIT(16 << 20), id = BUF_INIT(64);
    OK(&e, kv_version(kv, partition, &version, &e));
    assert_true(version == *acked || version == *acked + 1);
    OK(&e, kv_scan(kv, partition, STR("v"), STR("w"), is_next_version, &seen, &e));
    assert_int_equal(seen, version);
    if (version > 0) { /* the last one byte by byte */
        log_key(key, version);
        make_blob(&blob, thread, version);
        OK(&e, kv_get(kv, partition, (struct str){key, sizeof key}, &id, &e));
        OK(&e, kv_blob_read(kv, (const struct kv_blob_id *)id.p, 0, SIZE_MAX, &got, &e));
        assert_true(str_eq(buf_str(&blob), buf_str(&got)));
    }
    *acked = version;
}

static void test_kill(void **state)
{
    (void)state;
    struct err e = {0};
    char path[] = "/tmp/postrider-kv-XXXXXX";
    assert_non_null(mkdtemp(path));
    uint64_t acked[CRASH_THREADS] = {0}, seed = 4711, sum = 0;
    for (int i = 0; i < CRASH_ROUNDS; i++) {
        int from;
        pid_t child = start_child(path, &from);
        read_reports(from, acked, child, 5 + (int)roll_upto(&seed, 100));
        struct kv *kv = open_engine("rocksdb", path);
        for (uint32_t t = 0; t < CRASH_THREADS; t++)
            verify_thread(kv, t, &acked[t]);
        if (i % 5 == 4)
            OK(&e, kv_links(kv, verify_linked, kv, &e));
        if (i % 3 == 2) /* what an interrupted upload left; nothing that is linked */
            OK(&e, kv_collect(kv, clock_wall_ms() + 1000, 1000000, NULL, &e));
        kv_close(kv);
    }
    for (uint32_t t = 0; t < CRASH_THREADS; t++)
        sum += acked[t];
    assert_true(sum > CRASH_ROUNDS);
    remove_tree(path);
}

/* ---- in one process ---- */

static struct rocks *start(struct bench *t)
{
    static const struct subject rocksdb = {"rocksdb", "rocksdb", WRAP_NONE};
    bench_open(t, &rocksdb);
    return rocks_of(t->kv);
}

static enum st put(struct kv *kv, struct str key, struct str value, uint64_t expected, struct err *e)
{
    struct kv_batch *b = kv_batch_new(kv);
    kv_batch_put(b, key, value);
    enum st s = kv_commit(kv, STR("p"), b, expected, e);
    kv_batch_free(b);
    return s;
}

static enum st put_blob(struct kv *kv, struct str bytes, uint64_t expected, struct err *e)
{
    struct kv_batch *b = kv_batch_new(kv);
    struct kv_blob_id id = kv_blob_id_of(bytes);
    kv_batch_blob(b, &id, bytes);
    enum st s = kv_commit(kv, STR("p"), b, expected, e);
    kv_batch_free(b);
    return s;
}

/* ---- a disk that fails ---- */

static bool every_sync(int fd)
{
    (void)fd;
    return true;
}

static enum st read_version(struct bench *t, uint64_t *version)
{
    DEFER(buf_release) struct buf got = BUF_INIT(100);
    struct err e = {0};
    enum st s = kv_version(t->kv, STR("p"), version, &e);
    enum st other = kv_get(t->kv, STR("p"), STR("first"), &got, &e);
    assert_int_equal(s, other); /* all of a partition can be read, or nothing */
    return s;
}

/* The log was written, its sync failed: the commit comes back when the log is replayed. What is read after the failed call is that.
 */
static void test_sync_error(void **state)
{
    (void)state;
    struct bench t;
    struct err e = {0};
    uint64_t seen, version;
    start(&t);
    OK(&e, put(t.kv, STR("first"), STR("kept"), 0, &e));
    disk_sync_fails = disk_is_log;
    assert_int_equal(put(t.kv, STR("second"), STR("x"), 1, &e), ST_TEMP);
    OK(&e, read_version(&t, &seen));
    disk_sync_fails = NULL;
    assert_int_equal(seen, 2);
    bench_reopen(&t);
    OK(&e, read_version(&t, &version));
    assert_int_equal(version, seen);
    OK(&e, put(t.kv, STR("third"), STR("x"), seen, &e));
    bench_close(&t);
}

/* The disk takes nothing at all: what is in doubt cannot be read until it does again, everything else can. */
static void test_disk_dead(void **state)
{
    (void)state;
    struct bench t;
    struct err e = {0};
    struct rocks *r = start(&t);
    DEFER(buf_release) struct buf got = BUF_INIT(100);
    struct kv_batch *b = kv_batch_new(t.kv);
    uint64_t seen, version;
    kv_batch_put(b, STR("first"), STR("kept"));
    OK(&e, kv_commit(t.kv, STR("other"), b, 0, &e));
    OK(&e, kv_commit(t.kv, STR("p"), b, 0, &e));
    disk_sync_fails = every_sync;
    assert_int_equal(kv_commit(t.kv, STR("p"), b, 1, &e), ST_TEMP);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_version(&t, &seen), ST_TEMP);
        assert_int_equal(kv_commit(t.kv, STR("other"), b, 1, &e), ST_TEMP); /* refused: no doubt about it */
        OK(&e, kv_get(t.kv, STR("other"), STR("first"), &got, &e));
        atomic_store(&r->next_reopen_ms, 0);
    }
    disk_sync_fails = NULL;
    OK(&e, kv_commit(t.kv, STR("other"), b, 1, &e)); /* reopens */
    OK(&e, read_version(&t, &seen));
    bench_reopen(&t);
    OK(&e, read_version(&t, &version));
    assert_int_equal(version, seen);
    OK(&e, kv_commit(t.kv, STR("p"), b, version, &e));
    kv_batch_free(b);
    bench_close(&t);
}

/* Files may not grow: writes fail as on a broken disk. When they may again, the database is reopened and has what it acknowledged.
 */
static void test_write_error(void **state)
{
    (void)state;
    struct bench t;
    struct err e = {0};
    struct rocks *r = start(&t);
    signal(SIGXFSZ, SIG_IGN);
    DEFER(buf_release) struct buf noise = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);
    add_noise(&noise, 3, 100000);
    OK(&e, put(t.kv, STR("first"), STR("kept"), 0, &e));
    struct rlimit whole, small;
    getrlimit(RLIMIT_FSIZE, &whole);
    small = (struct rlimit){600000, whole.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    uint64_t version = 1, now;
    while (put(t.kv, STR("more"), buf_str(&noise), version, &e) == ST_OK)
        assert_true(++version < 100);
    assert_int_equal(e.class, ST_TEMP);
    setrlimit(RLIMIT_FSIZE, &whole);
    atomic_store(&r->next_reopen_ms, 0);
    (void)!kv_collect(t.kv, 0, 1, NULL, NULL); /* any writing call reopens what could not be reopened before */
    OK(&e, kv_version(t.kv, STR("p"), &now, &e));
    assert_int_equal(now, version); /* the record was cut off */
    OK(&e, put(t.kv, STR("last"), STR("x"), now, &e));
    bench_reopen(&t);
    OK(&e, kv_version(t.kv, STR("p"), &version, &e));
    assert_int_equal(version, now + 1);
    buf_clear(&got);
    OK(&e, kv_get(t.kv, STR("p"), STR("last"), &got, &e));
    bench_close(&t);
}

static void test_room(void **state)
{
    (void)state;
    struct bench t;
    struct err e = {0};
    struct rocks *r = start(&t);
    OK(&e, put_blob(t.kv, STR("mail"), 0, &e));
    r->disk_reserve = atomic_load(&r->disk_free) * 2; /* as if the disk were filled to half the reserve */
    assert_int_equal(put_blob(t.kv, STR("more mail"), 1, &e), ST_TEMP);
    assert_string_equal(e.text, "the mail store is full");
    OK(&e, put(t.kv, STR("flags"), STR("x"), 1, &e)); /* clients may still mark and delete */
    r->disk_reserve = atomic_load(&r->disk_free) * 5;
    assert_int_equal(put(t.kv, STR("flags"), STR("x"), 2, &e), ST_TEMP);
    r->disk_reserve = 1;
    OK(&e, put_blob(t.kv, STR("more mail"), 2, &e));
    bench_close(&t);
}

/* Inverts a byte in the middle of each file with the given ending. */
static unsigned damage(const char *path, const char *ending)
{
    DIR *d = opendir(path);
    unsigned damaged = 0;
    struct dirent *x;
    assert_non_null(d);
    while ((x = readdir(d))) {
        if (!str_ends(str_of(x->d_name), str_of(ending)))
            continue;
        int fd = openat(dirfd(d), x->d_name, O_RDWR);
        off_t middle = lseek(fd, 0, SEEK_END) / 2;
        char c;
        assert_int_equal(pread(fd, &c, 1, middle), 1);
        c = (char)~c;
        assert_int_equal(pwrite(fd, &c, 1, middle), 1);
        close(fd);
        damaged++;
    }
    closedir(d);
    return damaged;
}

static void test_damage(void **state)
{
    (void)state;
    struct bench t;
    struct err e = {0};
    start(&t);
    DEFER(buf_release) struct buf noise = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);
    add_noise(&noise, 9, 50000);
    struct kv_blob_id id = kv_blob_id_of(buf_str(&noise));
    OK(&e, put_blob(t.kv, buf_str(&noise), 0, &e));
    bench_reopen(&t); /* recovery moves the log into tables and blob files */
    OK(&e, kv_blob_verify(t.kv, &id, &e));
    kv_close(t.kv);
    assert_int_equal(damage(t.path, ".blob"), 1);
    bench_open_kv(&t);
    assert_int_equal(kv_blob_read(t.kv, &id, 0, 50000, &got, &e), ST_CORRUPT);
    assert_int_equal(got.n, 0);
    assert_int_equal(kv_blob_verify(t.kv, &id, &e), ST_CORRUPT);
    bench_close(&t);
}

static void test_format(void **state)
{
    (void)state;
    struct bench t;
    struct err e = {0};
    struct rocks *r = start(&t);
    struct kv *second;
    struct kv_config config = {.engine = "rocksdb", .path = t.path};
    assert_int_equal(kv_open(&config, &second, &e), ST_TEMP);
    assert_non_null(strstr(e.text, "in use by another process"));
    char *error = NULL;
    rocksdb_put_cf(r->db, r->write_sync, r->family[ROCKS_DEFAULT], "format", 6, "\2\0\0\0", 4, &error);
    assert_null(error);
    kv_close(t.kv);
    assert_int_equal(kv_open(&config, &t.kv, &e), ST_PERM);
    assert_non_null(strstr(e.text, "newer version"));
    assert_non_null(strstr(e.detail, "format 2"));
    remove_tree(t.path);
    config.path = "/nonexistent/directory";
    assert_int_equal(kv_open(&config, &t.kv, &e), ST_TEMP);
    config.engine = "paper";
    assert_int_equal(kv_open(&config, &t.kv, &e), ST_PERM);
}

static void test_backup(void **state)
{
    (void)state;
    struct bench t;
    struct err e = {0};
    start(&t);
    char copy[80];
    snprintf(copy, sizeof copy, "%s-copy", t.path);
    OK(&e, put(t.kv, STR("k"), STR("before"), 0, &e));
    OK(&e, put_blob(t.kv, STR("mail"), 1, &e));
    OK(&e, kv_backup(t.kv, copy, &e));
    OK(&e, put(t.kv, STR("k"), STR("after"), 2, &e));
    assert_int_equal(kv_backup(t.kv, copy, &e), ST_EXISTS);
    struct kv *kv = open_engine("rocksdb", copy);
    DEFER(buf_release) struct buf got = BUF_INIT(100);
    struct kv_blob_id id = kv_blob_id_of(STR("mail"));
    uint64_t version;
    OK(&e, kv_version(kv, STR("p"), &version, &e));
    assert_int_equal(version, 2);
    OK(&e, kv_get(kv, STR("p"), STR("k"), &got, &e));
    assert_true(str_eq(buf_str(&got), STR("before")));
    OK(&e, kv_blob_verify(kv, &id, &e));
    kv_close(kv);
    remove_tree(copy);
    bench_close(&t);
}

static unsigned count_chunks(struct rocks *r)
{
    struct rocks_iterator i = rocks_iterate(r, ROCKS_CHUNK, STR_NONE, STR_NONE, false);
    unsigned n = 0;
    for (; rocksdb_iter_valid(i.it); rocksdb_iter_next(i.it))
        n++;
    rocks_iterator_release(&i);
    return n;
}

/* The state that a crash in the middle of an upload leaves: two chunks and an upload record. */
static void test_upload_cut_short(void **state)
{
    (void)state;
    struct bench t;
    struct err e = {0};
    struct rocks *r = start(&t);
    DEFER(buf_release) struct buf noise = BUF_INIT(8 << 20);
    add_noise(&noise, 11, 6 << 20);
    struct kv_blob_id id = kv_blob_id_of(buf_str(&noise));
    struct str name = str_make(id.sha256, sizeof id.sha256);
    struct rocks_info info = {noise.n, ROCKS_CHUNK_BYTES, clock_wall_ms(), clock_wall_ms()};
    struct rocks_key record = rocks_key_info(name, ROCKS_KIND_UPLOAD, STR_NONE);
    char value[ROCKS_INFO_BYTES];
    rocks_info_encode(&info, value);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_put_cf(batch, r->family[ROCKS_INFO], record.p, record.n, value, sizeof value);
    for (uint32_t i = 0; i < 2; i++) {
        struct rocks_key key = rocks_key_chunk(name, i);
        rocksdb_writebatch_put_cf(batch, r->family[ROCKS_CHUNK], key.p, key.n, noise.p, 100);
    }
    OK(&e, rocks_write(r, batch, true, &e));
    rocksdb_writebatch_destroy(batch);

    uint64_t size;
    assert_int_equal(kv_blob_size(t.kv, &id, &size, &e), ST_NOTFOUND);
    OK(&e, kv_collect(t.kv, info.written_ms - 1000, 100, NULL, &e)); /* younger than the grace period: maybe still under way */
    assert_int_equal(count_chunks(r), 2);
    OK(&e, kv_collect(t.kv, info.written_ms + 1000, 100, NULL, &e));
    assert_int_equal(count_chunks(r), 0);
    OK(&e, put_blob(t.kv, buf_str(&noise), 0, &e)); /* and the same blob can be stored in full */
    OK(&e, kv_blob_verify(t.kv, &id, &e));
    assert_int_equal(count_chunks(r), 24);
    assert_int_equal(put_blob(t.kv, buf_str(&noise), 0, &e), ST_CONFLICT);
    OK(&e, kv_partition_drop(t.kv, STR("p"), &e));
    OK(&e, kv_collect(t.kv, clock_wall_ms() + 1000, 100, NULL, &e));
    assert_int_equal(count_chunks(r), 0);
    bench_close(&t);
}

/* The state that a crash in the middle of a drop leaves: marker and links, but no keys and no version. */
static void test_drop_cut_short(void **state)
{
    (void)state;
    struct bench t;
    struct err e = {0};
    struct rocks *r = start(&t);
    struct kv_blob_id id = kv_blob_id_of(STR("mail"));
    OK(&e, put_blob(t.kv, STR("mail"), 0, &e));
    struct rocks_key version = rocks_key_meta(STR("p"), ROCKS_KIND_VERSION, STR_NONE);
    struct rocks_key marker = rocks_key_default(STR("drop."), STR("p")), other = rocks_key_default(STR("drop."), STR("q"));
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_delete_cf(batch, r->family[ROCKS_META], version.p, version.n);
    rocksdb_writebatch_put_cf(batch, r->family[ROCKS_DEFAULT], marker.p, marker.n, "", 0);
    rocksdb_writebatch_put_cf(batch, r->family[ROCKS_DEFAULT], other.p, other.n, "", 0);
    OK(&e, rocks_write(r, batch, true, &e));
    rocksdb_writebatch_destroy(batch);
    struct kv_batch *b = kv_batch_new(t.kv);
    kv_batch_link(b, &id);
    OK(&e, kv_commit(t.kv, STR("q"), b, 0, &e)); /* q came back after its drop had failed */
    uint64_t size;
    bench_reopen(&t);
    OK(&e, kv_collect(t.kv, clock_wall_ms() + 1000, 100, NULL, &e));
    OK(&e, kv_blob_size(t.kv, &id, &size, &e)); /* q still links it */
    kv_batch_clear(b);
    kv_batch_unlink(b, &id);
    OK(&e, kv_commit(t.kv, STR("q"), b, 1, &e));
    kv_batch_free(b);
    OK(&e, kv_collect(t.kv, clock_wall_ms() + 1000, 100, NULL, &e));
    OK(&e, kv_collect(t.kv, clock_wall_ms() + 1000, 100, NULL, &e));
    assert_int_equal(kv_blob_size(t.kv, &id, &size, &e), ST_NOTFOUND); /* and p does not */
    bench_close(&t);
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return run_child(argv[1]);
    if (!ROCKSDB_CAN_RUN)
        return 77; /* skipped */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill),           cmocka_unit_test(test_sync_error), cmocka_unit_test(test_disk_dead),
        cmocka_unit_test(test_write_error),    cmocka_unit_test(test_room),       cmocka_unit_test(test_damage),
        cmocka_unit_test(test_format),         cmocka_unit_test(test_backup),     cmocka_unit_test(test_upload_cut_short),
        cmocka_unit_test(test_drop_cut_short),
    };
    return cmocka_run_group_tests_name("kv crash", tests, NULL, NULL);
}
