/* Measures the store alone, without protocols: store_bench [engine [directory [size of the large mailbox [phases]]]]. The directory
 * is made anew. Phases are letters of "idpgscok": a few deliveries (for callgrind), deliveries, pages and digests, single messages
 * of a large mailbox, STORE, COPY and EXPUNGE, opening, care. One line a workload: operations (or messages) a second, and the
 * median and 99th percentile of one call in microseconds. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/digest.h"
#include "rt/clock.h"
#include "store/deliver.h"
#include "store/mailbox.h"
#include "store/message.h"

enum { MESSAGE_BYTES = 8192, THREADS_MAX = 64 };

struct bench {
    struct kv *kv;
    struct store *store;
    char *message;
    struct buf digest;
    const char *phases;
};

#define must(call)                                                                                                                 \
    do {                                                                                                                           \
        struct err must_err_ = {0}, *e = &must_err_;                                                                               \
        (void)e; /* calls without an error parameter do not use it */                                                              \
        if ((call) != ST_OK) {                                                                                                     \
            fprintf(stderr, "%s:%d: %s (%s)\n", #call, __LINE__, must_err_.text, must_err_.detail);                                \
            exit(1);                                                                                                               \
        }                                                                                                                          \
    } while (0)

static bool phase(const struct bench *b, char letter) { return strchr(b->phases, letter) != NULL; }

static int i64_cmp(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void report(const char *what, size_t operations, int64_t took_us, int64_t *each, size_t count)
{
    printf("%-46s %10.0f/s", what, (double)operations * 1e6 / (double)(took_us ? took_us : 1));
    if (count > 1) {
        qsort(each, count, sizeof *each, i64_cmp);
        printf("  p50 %7lld us  p99 %7lld us", (long long)each[count / 2], (long long)each[count * 99 / 100]);
    } else {
        printf("  %9.2f ms", (double)took_us / 1000);
    }
    printf("\n");
    fflush(stdout);
}

/* ---- messages ---- */

static char *make_message(void)
{
    char *m = malloc(MESSAGE_BYTES + 1);
    size_t n = (size_t)snprintf(m, MESSAGE_BYTES,
                                "Return-Path: <elinor@abcd.com>\r\n"
                                "Received: from client.abcd.com (client.abcd.com [192.0.2.1])\r\n\tby mx.xyz.com with ESMTPS id "
                                "0000000000000000;\r\n\tMon, 23 Nov 2026 06:00:00 +0000\r\n"
                                "From: Elinor <elinor@abcd.com>\r\nTo: Carolyn <carolyn@xyz.com>\r\n"
                                "Subject: The vegetables\r\nDate: Mon, 23 Nov 2026 06:00:00 +0000\r\n"
                                "Message-ID: <0000000000000000@abcd.com>\r\nMIME-Version: 1.0\r\n"
                                "Content-Type: text/plain; charset=utf-8\r\n\r\n");
    while (n < MESSAGE_BYTES) {
        size_t line = MESSAGE_BYTES - n < 70 ? MESSAGE_BYTES - n : 70;
        memset(m + n, 'a' + (int)(n % 26), line);
        if (line >= 2)
            memcpy(m + n + line - 2, "\r\n", 2);
        n += line;
    }
    m[MESSAGE_BYTES] = 0;
    return m;
}

static void number_message(char *m, uint64_t number)
{
    char digits[17];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)number);
    char *id = strstr(m, "Message-ID: <"), *trace = strstr(m, "ESMTPS id ");
    memcpy(id + 13, digits, 16);
    memcpy(trace + 10, digits, 16);
}

static atomic_ullong next_number = 1;

static void deliver_one(struct account *a, char *m)
{
    uint64_t number = atomic_fetch_add(&next_number, 1);
    struct deliver d = {.first = true, .message = {.bytes = str_make(m, MESSAGE_BYTES)}};
    number_message(m, number);
    memcpy(d.key, &number, sizeof number);
    must(deliver_message(a, &d, e));
}

/* ---- deliveries ---- */

struct delivering {
    struct bench *b;
    struct account **accounts;
    size_t account_count, each;
    int64_t *took;
    size_t number;
};

static void *deliver_many(void *context)
{
    struct delivering *d = context;
    char *m = make_message();
    for (size_t i = 0; i < d->each; i++) {
        int64_t start = clock_mono_us();
        deliver_one(d->accounts[(d->number * 7919 + i) % d->account_count], m);
        d->took[i] = clock_mono_us() - start;
    }
    free(m);
    return NULL;
}

static void bench_deliver(struct bench *b, size_t threads, size_t accounts, size_t total)
{
    char what[80];
    struct account **list = calloc(accounts, sizeof *list);
    struct delivering work[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    int64_t *took = calloc(total, sizeof *took);
    for (size_t i = 0; i < accounts; i++) {
        account_id id = 1000000 * threads + accounts * 1000 + i + 1;
        must(account_create(b->store, id, e));
        must(account_open(b->store, id, &list[i], e));
    }
    int64_t start = clock_mono_us();
    for (size_t i = 0; i < threads; i++) {
        work[i] = (struct delivering){b, list, accounts, total / threads, took + i * (total / threads), i};
        pthread_create(&ids[i], NULL, deliver_many, &work[i]);
    }
    for (size_t i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    snprintf(what, sizeof what, "deliver 8 KB, %zu threads, %zu accounts", threads, accounts);
    report(what, total / threads * threads, clock_mono_us() - start, took, total / threads * threads);
    for (size_t i = 0; i < accounts; i++)
        account_unref(list[i]);
    free(list);
    free(took);
}

/* ---- one large mailbox ---- */

static void fill(struct bench *b, struct account *a, uint32_t mailbox, size_t count)
{
    enum { TOGETHER = 500 };
    struct message_append *list = calloc(TOGETHER, sizeof *list);
    static char bytes[TOGETHER][64];
    int64_t start = clock_mono_us();
    for (size_t done = 0; done < count;) {
        size_t n = count - done < TOGETHER ? count - done : TOGETHER;
        for (size_t i = 0; i < n; i++) {
            uint64_t number = atomic_fetch_add(&next_number, 1);
            int length = snprintf(bytes[i], sizeof bytes[i], "Message-ID: <%llu@x>\r\n\r\n", (unsigned long long)number);
            list[i] = (struct message_append){.bytes = str_make(bytes[i], (size_t)length), .digest = buf_str(&b->digest)};
        }
        must(message_append(a, mailbox, list, n, e));
        done += n;
    }
    char what[80];
    snprintf(what, sizeof what, "append %zu small ones, 500 at once", count);
    int64_t took = clock_mono_us() - start;
    report(what, count, took, &took, 1);
    free(list);
}

static void bench_page(struct account *a, uint32_t mailbox, size_t count)
{
    struct message_entry entries[256];
    for (int round = 0; round < 2; round++) {
        uint32_t next = 1;
        size_t got, seen = 0;
        int64_t start = clock_mono_us();
        do {
            must(message_page(a, mailbox, NULL, &next, (struct message_room){entries, 256, &got}, e));
            seen += got;
        } while (next);
        int64_t took = clock_mono_us() - start;
        if (seen != count)
            fprintf(stderr, "saw %zu of %zu\n", seen, count);
        report(round ? "message_page over all, again" : "message_page over all", seen, took, &took, 1);
    }
}

static bool count_digest(void *context, uint64_t email, struct str digest)
{
    size_t *n = context;
    (void)email;
    *n += digest.n > 0;
    return true;
}

static void bench_digests(struct account *a, uint32_t mailbox, size_t count)
{
    struct message_entry entries[256];
    uint64_t emails[256];
    uint32_t next = 1;
    size_t got, seen = 0;
    int64_t start = clock_mono_us();
    do {
        must(message_page(a, mailbox, NULL, &next, (struct message_room){entries, 256, &got}, e));
        for (size_t i = 0; i < got; i++)
            emails[i] = entries[i].email;
        must(message_digests(a, emails, got, count_digest, &seen, e));
    } while (next && seen < count);
    int64_t took = clock_mono_us() - start;
    report("digests of all", seen, took, &took, 1);
}

static void select_one(struct account *a, uint32_t mailbox, uint32_t uid, enum mailbox_subset which)
{
    struct uidset uids;
    uint64_t modseq;
    must(mailbox_subset_uids(a, mailbox, which, &uids, &modseq, e));
    if (uid == 1 && which == MAILBOX_ALL)
        printf("memory of the map from sequence numbers to UIDs: %zu bytes\n", uidset_memory(&uids));
    uidset_release(&uids);
}

static void fetch_one(struct account *a, uint32_t mailbox, uint32_t uid)
{
    struct message_entry m;
    DEFER(buf_release) struct buf digest = BUF_INIT(1 << 20);
    must(message_find(a, mailbox, uid, &m, e));
    must(message_digest(a, m.email, &digest, e));
}

static void expunge_one(struct account *a, uint32_t mailbox, uint32_t uid)
{
    struct uidset one = UIDSET_EMPTY, gone;
    uint64_t modseq;
    must(uidset_add(&one, uid));
    must(message_expunge(a, mailbox, &one, false, &gone, &modseq, e));
    uidset_release(&one);
    uidset_release(&gone);
}

enum single { SINGLE_SELECT, SINGLE_UNSEEN, SINGLE_FETCH, SINGLE_DELIVER, SINGLE_EXPUNGE, SINGLES };

static void single(struct account *a, char *m, uint32_t mailbox, uint32_t uid, enum single kind)
{
    switch (kind) {
    case SINGLE_SELECT:
        select_one(a, mailbox, uid, MAILBOX_ALL);
        return;
    case SINGLE_UNSEEN:
        select_one(a, mailbox, uid, MAILBOX_UNSEEN);
        return;
    case SINGLE_FETCH:
        fetch_one(a, mailbox, uid);
        return;
    case SINGLE_DELIVER:
        deliver_one(a, m);
        return;
    case SINGLE_EXPUNGE:
        expunge_one(a, mailbox, uid);
        return;
    case SINGLES:
        return;
    }
}

static void bench_single(struct bench *b, struct account *a, uint32_t mailbox, uint32_t count)
{
    static const char *const names[SINGLES] = {"UIDs for SELECT", "UIDs for SEARCH UNSEEN", "FETCH one, random", "deliver one",
                                               "EXPUNGE one, random"};
    enum { TIMES = 500 };
    int64_t took[TIMES];
    for (enum single kind = 0; kind < SINGLES; kind++) {
        int64_t begin = clock_mono_us();
        for (size_t i = 0; i < TIMES; i++) {
            int64_t start = clock_mono_us();
            single(a, b->message, mailbox, 1 + (uint32_t)(i * 7919 % count), kind);
            took[i] = clock_mono_us() - start;
        }
        report(names[kind], TIMES, clock_mono_us() - begin, took, TIMES);
    }
}

static void bench_store(struct account *a, uint32_t mailbox, uint32_t count)
{
    int64_t took[2000];
    for (int round = 0; round < 4; round++) {
        struct uidset uids = UIDSET_EMPTY;
        must(uidset_add_range(&uids, 1, 10000));
        struct message_store c = {
            .mode = round % 2 ? MESSAGE_STORE_REMOVE : MESSAGE_STORE_ADD, .flags = MESSAGE_FLAGGED, .unchanged_since = UINT64_MAX};
        int64_t start = clock_mono_us();
        must(message_store(a, mailbox, &uids, &c, e));
        took[0] = clock_mono_us() - start;
        report("STORE on 10,000", (size_t)uidset_count(&c.changed), took[0], took, 1);
        uidset_release(&uids);
        uidset_release(&c.changed);
        uidset_release(&c.refused);
    }
    int64_t begin = clock_mono_us();
    for (size_t i = 0; i < 2000; i++) {
        struct uidset uids = UIDSET_EMPTY;
        must(uidset_add(&uids, 1 + (uint32_t)(i * 7919 % count)));
        struct message_store c = {.mode = MESSAGE_STORE_ADD, .flags = MESSAGE_SEEN, .unchanged_since = UINT64_MAX};
        int64_t start = clock_mono_us();
        must(message_store(a, mailbox, &uids, &c, e));
        took[i] = clock_mono_us() - start;
        uidset_release(&uids);
        uidset_release(&c.changed);
        uidset_release(&c.refused);
    }
    report("STORE on one, random", 2000, clock_mono_us() - begin, took, 2000);
}

static void bench_copy(struct account *a, uint32_t from, uint32_t to)
{
    for (int round = 0; round < 6; round++) {
        bool move = round >= 3;
        struct uidset uids = UIDSET_EMPTY, gone;
        struct message_copy c = {.move = move && round % 2};
        uint64_t modseq;
        must(uidset_add_range(&uids, 1 + 10000 * (uint32_t)round, 10000 * (uint32_t)(round + 1)));
        int64_t start = clock_mono_us();
        c.move = move;
        must(message_copy(a, from, to, &uids, &c, e));
        int64_t took = clock_mono_us() - start;
        report(move ? "MOVE of 10,000" : "COPY of 10,000", (size_t)uidset_count(&c.to_uids), took, &took, 1);
        start = clock_mono_us();
        must(message_expunge(a, to, &c.to_uids, false, &gone, &modseq, e));
        took = clock_mono_us() - start;
        report(move ? "EXPUNGE of 10,000, last copies" : "EXPUNGE of 10,000 copies", (size_t)uidset_count(&gone), took, &took, 1);
        uidset_release(&uids);
        uidset_release(&gone);
        uidset_release(&c.from_uids);
        uidset_release(&c.to_uids);
    }
}

static void bench_open(struct bench *b, account_id id)
{
    int64_t took[200];
    for (int warm = 0; warm < 2; warm++) {
        struct store_config config;
        struct store *s;
        store_config_defaults(&config);
        config.accounts_cached = warm ? 10 : 0;
        must(store_open(b->kv, &config, &s, e));
        int64_t begin = clock_mono_us();
        for (size_t i = 0; i < 200; i++) {
            struct account *a;
            struct mailbox_info info;
            struct uidset uids;
            uint64_t modseq;
            struct arena arena = ARENA_INIT(1 << 20);
            int64_t start = clock_mono_us();
            must(account_open(s, id, &a, e));
            must(mailbox_find(a, STR("INBOX"), &arena, &info, e));
            must(mailbox_uids(a, info.id, &uids, &modseq, e));
            uidset_release(&uids);
            account_unref(a);
            took[i] = clock_mono_us() - start;
            arena_release(&arena);
        }
        report(warm ? "open and select, in memory" : "open and select, from the engine", 200, clock_mono_us() - begin, took, 200);
        store_close(s);
    }
}

static void bench_care(struct bench *b)
{
    int64_t start = clock_mono_us();
    for (int i = 0; i < 50; i++)
        must(store_care(b->store, e));
    int64_t took = clock_mono_us() - start;
    report("care, 50 slices", 50, took, &took, 1);
}

static void bench_large(struct bench *b, account_id id, size_t count)
{
    struct account *a;
    struct mailbox_info inbox, archive;
    struct arena arena = ARENA_INIT(1 << 20);
    must(account_create(b->store, id, e));
    must(account_open(b->store, id, &a, e));
    must(mailbox_find(a, STR("INBOX"), &arena, &inbox, e));
    must(mailbox_find(a, STR("Archive"), &arena, &archive, e));
    fill(b, a, inbox.id, count);
    if (phase(b, 'p'))
        bench_page(a, inbox.id, count);
    if (phase(b, 'p'))
        bench_digests(a, inbox.id, count);
    if (phase(b, 'g'))
        bench_single(b, a, inbox.id, (uint32_t)count);
    if (phase(b, 's'))
        bench_store(a, inbox.id, (uint32_t)count);
    if (count >= 60000 && phase(b, 'c'))
        bench_copy(a, inbox.id, archive.id);
    if (phase(b, 'o'))
        bench_open(b, id);
    if (phase(b, 'k'))
        bench_care(b);
    account_unref(a);
    arena_release(&arena);
}

int main(int argc, char **argv)
{
    const char *engine = argc > 1 ? argv[1] : "memory", *dir = argc > 2 ? argv[2] : "/tmp/store-bench";
    size_t large = argc > 3 ? strtoull(argv[3], NULL, 10) : 100000;
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0)
        return 1;
    struct bench b = {.message = make_message(), .phases = argc > 4 ? argv[4] : "dpgscok"};
    struct store_config config;
    buf_init(&b.digest, 1 << 20);
    must(digest_build(str_make(b.message, MESSAGE_BYTES), &b.digest, e));
    printf("digest of %zu bytes\n", b.digest.n);
    must(kv_open(&(struct kv_config){.engine = engine, .path = dir, .cache_bytes = 64 << 20}, &b.kv, e));
    store_config_defaults(&config);
    must(store_open(b.kv, &config, &b.store, e));
    if (phase(&b, 'i')) /* few, to be run under callgrind */
        bench_deliver(&b, 1, 1, 1000);
    if (phase(&b, 'd')) {
        bench_deliver(&b, 1, 1, 2000);
        bench_deliver(&b, 20, 1, 20000);
        bench_deliver(&b, 20, 100, 20000);
        bench_deliver(&b, 20, 1000, 20000);
    }
    if (large > 0)
        bench_large(&b, 7, large);
    store_close(b.store);
    kv_close(b.kv);
    buf_release(&b.digest);
    free(b.message);
    return 0;
}
