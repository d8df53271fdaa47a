/* Measures the storage engine alone: durable deliveries, gets, scans, blob reads. Prints one table.
 *
 *     kv_bench [--engine rocksdb] [--dir DIR] [--seconds 3] [--bytes 8192] [--accounts 1000] [--only WORD]
 *
 * A delivery is what the store does for one message: a new blob, its digest record, a page of the index, the mailbox record and a
 * journal entry, in one commit. --only measures the operations whose name has WORD in it. DIR is created and left
 * behind for inspection; without it a directory under /tmp is used and removed. */
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "kv/engine.h"

enum { THREADS_MAX = 256, PAGE_ENTRIES = 256, ENTRY_BYTES = 48, DIGEST_BYTES = 700, SAMPLES = 4000 };

struct bench {
    struct kv *kv;
    unsigned seconds, accounts, threads;
    size_t message_bytes;
    const char *only;
    atomic_bool stop;
    bool one_partition;
    char *text; /* what messages are cut from */
    size_t text_n;
    atomic_ullong message_number;
};

struct worker {
    struct bench *b;
    unsigned number;
    uint64_t seed, done, conflicts;
    float *latency_us;
    size_t samples;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t roll(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1du;
}

_Noreturn static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "kv_bench: %s: %s\n", what, e ? e->detail : "failed");
    exit(1);
}

/* Text that compresses like mail: words, one third of it base64 noise. */
static void make_text(struct bench *b)
{
    static const char *const words[] = {"the ",      "message ", "of ",      "yesterday ",      "please ", "find ",
                                        "attached ", "report ",  "meeting ", "regards, ",       "\r\n",    "will ",
                                        "be ",       "at ",      "noon ",    "Received: from ", "by ",     "with ESMTPS; "};
    uint64_t seed = 5;
    b->text_n = 8 << 20;
    b->text = malloc(b->text_n + 64);
    for (size_t n = 0; n < b->text_n;) {
        if (roll(&seed) % 24 == 0)
            for (int i = 0; i < 48; i++)
                b->text[n++] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[roll(&seed) >> 58];
        const char *w = words[roll(&seed) % (sizeof words / sizeof words[0])];
        size_t w_n = strlen(w);
        memcpy(b->text + n, w, w_n);
        n += w_n;
    }
}

static struct str account_name(char name[32], unsigned number)
{
    return (struct str){name, (size_t)snprintf(name, 32, "acct.%08u", number)};
}

static void fill_delivery(struct worker *w, struct kv_batch *batch, uint64_t version, char *message)
{
    struct bench *b = w->b;
    uint64_t number = atomic_fetch_add(&b->message_number, 1);
    memcpy(message, b->text + roll(&w->seed) % (b->text_n - b->message_bytes), b->message_bytes);
    le64_put(message, number);
    le64_put(message + 8, (uint64_t)getpid());
    struct kv_blob_id id = kv_blob_id_of((struct str){message, b->message_bytes});
    char key[16] = "d", page[PAGE_ENTRIES * ENTRY_BYTES], record[160];
    be64_put(key + 1, version);
    kv_batch_clear(batch);
    kv_batch_blob(batch, &id, (struct str){message, b->message_bytes});
    kv_batch_put(batch, (struct str){key, 9}, (struct str){message + 16, DIGEST_BYTES});
    size_t entries = version % PAGE_ENTRIES + 1;
    for (size_t i = 0; i < entries; i++) {
        memset(page + i * ENTRY_BYTES, 0, ENTRY_BYTES);
        le64_put(page + i * ENTRY_BYTES, version - version % PAGE_ENTRIES + i);
        le64_put(page + i * ENTRY_BYTES + 16, version);
    }
    key[0] = 'p';
    be64_put(key + 1, version / PAGE_ENTRIES);
    kv_batch_put(batch, (struct str){key, 9}, (struct str){page, entries * ENTRY_BYTES});
    memset(record, (int)(version & 0xff), sizeof record);
    kv_batch_put(batch, STR("mailbox"), (struct str){record, sizeof record});
    key[0] = 'j';
    be64_put(key + 1, version);
    kv_batch_put(batch, (struct str){key, 9}, (struct str){record, 24});
}

static void sample(struct worker *w, double since) { w->latency_us[w->samples++ % SAMPLES] = (float)((now_s() - since) * 1e6); }

static void deliver(struct worker *w)
{
    struct bench *b = w->b;
    struct err e = {0};
    struct kv_batch *batch = kv_batch_new(b->kv);
    char *message = malloc(b->message_bytes), name[32];
    while (!atomic_load(&b->stop)) {
        unsigned mine = b->accounts / b->threads; /* no two threads share one */
        unsigned account = b->one_partition ? 0 : (unsigned)(roll(&w->seed) % mine) * b->threads + w->number;
        struct str partition = account_name(name, account);
        uint64_t version;
        double since = now_s();
        enum st s;
        do {
            if (kv_version(b->kv, partition, &version, &e) != ST_OK)
                die("version", &e);
            fill_delivery(w, batch, version, message);
            s = kv_commit(b->kv, partition, batch, version, &e);
            w->conflicts += s == ST_CONFLICT;
        } while (s == ST_CONFLICT);
        if (s != ST_OK)
            die("commit", &e);
        sample(w, since);
        w->done++;
    }
    kv_batch_free(batch);
    free(message);
}

static void get_records(struct worker *w)
{
    struct bench *b = w->b;
    struct err e = {0};
    char name[32];
    struct buf value = BUF_INIT(1 << 20);
    while (!atomic_load(&b->stop)) {
        buf_clear(&value);
        enum st s = kv_get(b->kv, account_name(name, (unsigned)(roll(&w->seed) % b->accounts)), STR("mailbox"), &value, &e);
        if (s != ST_OK && s != ST_NOTFOUND)
            die("get", &e);
        w->done++;
    }
    buf_release(&value);
}

static bool count_entry(void *context, struct str key, struct str value)
{
    (void)key;
    (void)value;
    return ++*(unsigned *)context < 100;
}

static void scan_records(struct worker *w)
{
    struct bench *b = w->b;
    struct err e = {0};
    char name[32];
    while (!atomic_load(&b->stop)) {
        unsigned n = 0;
        struct str partition = account_name(name, (unsigned)(roll(&w->seed) % b->accounts));
        if (kv_scan(b->kv, partition, STR("d"), STR("e"), count_entry, &n, &e) != ST_OK)
            die("scan", &e);
        w->done++;
    }
}

struct ids {
    struct kv_blob_id *list;
    size_t n, max;
};
static struct ids known;

static bool remember_id(void *context, const struct kv_blob_info *info)
{
    struct ids *ids = context;
    ids->list[ids->n++] = info->id;
    return ids->n < ids->max;
}

static void read_blobs(struct worker *w)
{
    struct bench *b = w->b;
    struct err e = {0};
    struct buf value = BUF_INIT(64 << 20);
    while (!atomic_load(&b->stop) && known.n) {
        buf_clear(&value);
        if (kv_blob_read(b->kv, &known.list[roll(&w->seed) % known.n], 0, 64 << 20, &value, &e) != ST_OK)
            die("blob", &e);
        w->done++;
    }
    buf_release(&value);
}

struct job {
    struct worker *w;
    void (*run)(struct worker *);
};
static void *start_job(void *arg)
{
    struct job *j = arg;
    j->run(j->w);
    return NULL;
}

static int compare_floats(const void *a, const void *b)
{
    return (*(const float *)a > *(const float *)b) - (*(const float *)a < *(const float *)b);
}

static void measure(struct bench *b, const char *what, unsigned threads, void (*run)(struct worker *))
{
    char name[64];
    snprintf(name, sizeof name, "%s, %u", what, threads);
    if (b->only && !strstr(name, b->only))
        return;
    static struct worker w[THREADS_MAX];
    static struct job jobs[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    float *all = malloc(sizeof *all * SAMPLES * threads);
    atomic_store(&b->stop, false);
    b->threads = threads;
    double start = now_s();
    for (unsigned i = 0; i < threads; i++) {
        w[i] = (struct worker){.b = b, .number = i, .seed = i * 7919 + 1, .latency_us = malloc(sizeof(float) * SAMPLES)};
        jobs[i] = (struct job){&w[i], run};
        pthread_create(&ids[i], NULL, start_job, &jobs[i]);
    }
    usleep(b->seconds * 1000000);
    atomic_store(&b->stop, true);
    uint64_t done = 0, conflicts = 0;
    size_t n = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        done += w[i].done;
        conflicts += w[i].conflicts;
        for (size_t k = 0; k < w[i].samples && k < SAMPLES; k++)
            all[n++] = w[i].latency_us[k];
        free(w[i].latency_us);
    }
    double seconds = now_s() - start;
    qsort(all, n, sizeof *all, compare_floats);
    printf("%-34s %7u %11.0f %9llu %9.0f %9.0f\n", what, threads, (double)done / seconds, (unsigned long long)conflicts,
           n ? all[n / 2] : 0, n ? all[n * 99 / 100] : 0);
    fflush(stdout);
    free(all);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void print_memory(const char *when)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmRSS", 5) == 0 || strncmp(line, "VmHWM", 5) == 0)
            printf("%s %s", when, line);
    if (f)
        fclose(f);
}

int main(int argc, char **argv)
{
    struct bench b = {.seconds = 3, .accounts = 1000, .message_bytes = 8192};
    struct kv_config config = {.engine = "rocksdb"};
    char temporary[] = "/tmp/kv-bench-XXXXXX";
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--engine") == 0)
            config.engine = argv[i + 1];
        else if (strcmp(argv[i], "--dir") == 0)
            config.path = argv[i + 1];
        else if (strcmp(argv[i], "--seconds") == 0)
            b.seconds = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--bytes") == 0)
            b.message_bytes = (size_t)atol(argv[i + 1]);
        else if (strcmp(argv[i], "--accounts") == 0)
            b.accounts = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--only") == 0)
            b.only = argv[i + 1];
    }
    if (b.message_bytes < DIGEST_BYTES + 16 || b.message_bytes > 1 << 20 || b.accounts < THREADS_MAX)
        die("--bytes must be between 716 and 1 MB, --accounts at least 256", NULL);
    if (!config.path)
        config.path = mkdtemp(temporary);
    struct err e = {0};
    if (kv_open(&config, &b.kv, &e) != ST_OK)
        die("open", &e);
    make_text(&b);
    printf("%-34s %7s %11s %9s %9s %9s\n", "operation", "threads", "per second", "conflicts", "p50 us", "p99 us");
    static const unsigned counts[] = {1, 4, 16, 64};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        measure(&b, "deliver, distinct partitions", counts[i], deliver);
    b.one_partition = true;
    measure(&b, "deliver, one partition", 1, deliver);
    measure(&b, "deliver, one partition", 4, deliver);
    b.one_partition = false;
    print_memory("after deliveries:");
    measure(&b, "get", 1, get_records);
    measure(&b, "get", 2, get_records);
    measure(&b, "scan of 100 digests", 2, scan_records);
    known = (struct ids){malloc(sizeof(struct kv_blob_id) * 100000), 0, 100000};
    if (kv_blobs(b.kv, NULL, remember_id, &known, &e) != ST_OK)
        die("blobs", &e);
    measure(&b, "read of a blob", 2, read_blobs);
    free(known.list);
    struct kv_stats stats;
    kv_stats(b.kv, &stats);
    printf("commits %llu, %.1f MB given, %llu accounts\n", (unsigned long long)stats.commits, (double)stats.bytes_written / 1e6,
           (unsigned long long)b.accounts);
    print_memory("at the end:");
    kv_close(b.kv);
    free(b.text);
    if (config.path == temporary)
        nftw(temporary, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
