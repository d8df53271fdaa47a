/* Measures IMAP sessions inside one process, without a network: imap_bench [engine [directory [messages [large [what [rounds]]]]]].
 * The directory is made anew. `messages` (10,000) are realistic ones of some 8 KB, `large` (100,000) is a mailbox of tiny ones;
 * `what` are letters of "fhbsrtce": flags, headers and structure, bodies, search, random singles, STORE, COPY/MOVE, EXPUNGE. One
 * line a workload: the median of the rounds as time and as items a second, the CPU time of an item, and the bytes of the answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "auth/login.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "serve/imap/imap.h"
#include "store/mailbox.h"

enum { BATCH = 100, RANDOM_ROUNDS = 2000, SAMPLES_MAX = 100000, ACCOUNT = 77, BODY_MAX = 64 << 10 };

#define must(call)                                                                                                                 \
    do {                                                                                                                           \
        struct err must_err_ = {0}, *e = &must_err_;                                                                               \
        (void)e; /* calls without an error parameter do not use it */                                                              \
        if ((call) != ST_OK) {                                                                                                     \
            fprintf(stderr, "%s:%d: %s (%s)\n", #call, __LINE__, must_err_.text, must_err_.detail);                                \
            exit(1);                                                                                                               \
        }                                                                                                                          \
    } while (0)

struct bench {
    struct kv *kv;
    struct store *store;
    struct services services;
    struct serve_context context;
    struct session_peer peer;
    struct session *session;
    struct buf out, tail; /* tail: the end of the last answer */
    uint64_t bytes;       /* of the last answer */
    unsigned tags;
    const char *what;
    const char *engine, *dir;
};

/* ---- messages ---- */

static uint64_t rng = 0x9e3779b97f4a7c15;
static uint32_t rnd(uint32_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 20) % below);
}

static void add_text(struct buf *b, size_t bytes)
{
    static const char *const words[] = {"the",   "vegetables", "arrived", "this", "morning", "and",  "were",
                                        "still", "fresh",      "when",    "we",   "opened",  "box",  "please",
                                        "send",  "more",       "next",    "week", "meeting", "notes"};
    size_t end = b->n + bytes, line = b->n;
    while (b->n < end) {
        buf_add_z(b, words[rnd(sizeof words / sizeof *words)]);
        bool wrap = b->n - line > 66;
        buf_add_z(b, wrap ? "\r\n" : " ");
        if (wrap)
            line = b->n;
    }
    buf_add_z(b, "\r\n");
}

static void make_message(struct buf *b, unsigned number)
{
    buf_clear(b);
    for (int hop = 0; hop < 3; hop++)
        buf_printf(b,
                   "Received: from host%d.example.net (host%d.example.net [192.0.2.%d])\r\n\tby mx%d.example.org (Postfix) with "
                   "ESMTPS id %08X%04X\r\n\tfor <carolyn@xyz.com>; Mon, 23 Nov 2026 06:%02u:%02u +0000 (UTC)\r\n",
                   hop, hop, hop + 1, hop, number * 7919, hop, number / 60 % 60, number % 60);
    buf_printf(
        b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=mail;\r\n\th=from:to:subject:date:message-id;"
           " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZ"
           "VoG4ZHRNiYzR\r\n");
    buf_printf(b,
               "From: \"Elinor Example\" <elinor%u@abcd.com>\r\nTo: Carolyn <carolyn@xyz.com>, Team <team@xyz.com>\r\nCc: "
               "archive@xyz.com\r\nSubject: Re: The vegetables of week %u\r\nDate: Mon, 23 Nov 2026 06:%02u:%02u +0000\r\n"
               "Message-ID: <%08x.%u@abcd.com>\r\nIn-Reply-To: <%08x.1@abcd.com>\r\nReferences: <%08x.1@abcd.com> "
               "<%08x.2@abcd.com>\r\nMIME-Version: 1.0\r\nUser-Agent: Bench 1.0\r\n"
               "Content-Type: multipart/mixed; boundary=\"=_outer_%u\"\r\n\r\n",
               number % 500, number % 52, number / 60 % 60, number % 60, number * 2654435761u, number, number, number, number,
               number);
    buf_printf(b,
               "--=_outer_%u\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\nContent-Type: text/plain; "
               "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
               number);
    add_text(b, 1500 + rnd(2000));
    buf_add_z(b, "--inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>\r\n");
    add_text(b, 2000 + rnd(2000));
    buf_printf(b,
               "--inner--\r\n\r\n--=_outer_%u\r\nContent-Type: application/pdf; name=\"list.pdf\"\r\nContent-Transfer-Encoding: "
               "base64\r\nContent-Disposition: attachment; filename=\"list.pdf\"\r\n\r\n",
               number);
    for (int line = 0; line < 20; line++)
        buf_add_z(b, "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwvTGVuZ3RoIDMgMCBSL0ZpbHRlci9GbGF0ZURl\r\n");
    buf_printf(b, "--=_outer_%u--\r\n", number);
}

static void make_tiny(struct buf *b, unsigned number)
{
    buf_clear(b);
    buf_printf(b, "From: a@b.example\r\nSubject: %u\r\n\r\nx\r\n", number);
}

/* One message in eight is unseen; they are an hour apart, the newest is of now. */
static void fill(struct bench *b, struct account *a, const char *mailbox, size_t count, bool tiny)
{
    struct arena arena = ARENA_INIT(1 << 20);
    struct mailbox_info *info = ARENA_NEW(&arena, struct mailbox_info);
    struct message_append *list = calloc(BATCH, sizeof *list);
    struct buf *bytes = calloc(BATCH, sizeof *bytes);
    int64_t now = clock_wall_ms();
    (void)b;
    must(mailbox_find(a, str_of(mailbox), &arena, info, e));
    for (size_t i = 0; i < count;) {
        size_t n = 0;
        for (; n < BATCH && i < count; n++, i++) {
            if (!bytes[n].max)
                buf_init(&bytes[n], BODY_MAX);
            (tiny ? make_tiny : make_message)(&bytes[n], (unsigned)i);
            list[n] = (struct message_append){.bytes = buf_str(&bytes[n]),
                                              .flags = rnd(8) ? MESSAGE_SEEN : 0,
                                              .internal_ms = now - (int64_t)(count - i) * 3600000};
        }
        must(message_append(a, info->id, list, n, e));
    }
    for (size_t n = 0; n < BATCH; n++)
        buf_release(&bytes[n]);
    free(bytes);
    free(list);
    arena_release(&arena);
}

/* ---- the session ---- */

static void keep_tail(struct bench *b)
{
    enum { TAIL = 200 };
    struct str out = buf_str(&b->out);
    buf_add(&b->tail, str_from(out, out.n > TAIL ? out.n - TAIL : 0));
    if (b->tail.n > TAIL)
        buf_drop_front(&b->tail, b->tail.n - TAIL);
    b->bytes += out.n;
    buf_clear(&b->out);
}

static void steps(struct bench *b, enum session_event event, struct str in)
{
    enum session_outcome outcome;
    do {
        struct session_io io = {.event = event, .in = in, .out = &b->out};
        outcome = b->session->class->step(b->session, &io);
        in = str_from(in, io.used);
        event = SESSION_EV_OUTPUT;
        keep_tail(b);
    } while (outcome == SESSION_OUTPUT);
    if (in.n || outcome == SESSION_CLOSE) {
        fprintf(stderr, "the session ended early: %.*s\n", STR_FMT(buf_str(&b->tail)));
        exit(1);
    }
}

/* Runs one command, which must succeed. */
static void run(struct bench *b, const char *command)
{
    char line[600];
    b->bytes = 0;
    buf_clear(&b->tail);
    snprintf(line, sizeof line, "t%u %s\r\n", ++b->tags, command);
    steps(b, SESSION_EV_INPUT, str_of(line));
    snprintf(line, sizeof line, "t%u OK", b->tags);
    if (str_find(buf_str(&b->tail), str_of(line)) == STR_NPOS) {
        fprintf(stderr, "%s: %.*s\n", command, STR_FMT(buf_str(&b->tail)));
        exit(1);
    }
}

static void session_begin(struct bench *b)
{
    struct identity who = {.account = ACCOUNT, .address = "bench@example.com"};
    if (b->session)
        b->session->class->free(b->session);
    b->session = imap_session_make_preauth(&b->context, &b->peer, &who);
    if (!b->session)
        exit(1);
    steps(b, SESSION_EV_START, STR_NONE);
}

static void open_all(struct bench *b)
{
    struct store_config config;
    must(kv_open(&(struct kv_config){.engine = b->engine, .path = b->dir, .cache_bytes = 512 << 20}, &b->kv, e));
    store_config_defaults(&config);
    must(store_open(b->kv, &config, &b->store, e));
    b->services = (struct services){.store = b->store, .hostname = "bench.example", .spool_dir = "/tmp"};
    b->context = (struct serve_context){.services = &b->services, .profile = SERVE_IMAP};
}

static void close_all(struct bench *b)
{
    if (b->session)
        b->session->class->free(b->session);
    b->session = NULL;
    store_close(b->store);
    kv_close(b->kv);
}

/* ---- measuring ---- */

static int64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000) + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static int i64_cmp(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Waits until the engine's own threads have nothing to do. */
static void settle(void)
{
    for (int quiet = 0, i = 0; quiet < 3 && i < 300; i++) {
        int64_t before = cpu_us();
        clock_sleep_ms(100);
        quiet = cpu_us() - before < 5000 ? quiet + 1 : 0;
    }
}

struct sample {
    int64_t wall[SAMPLES_MAX], cpu[SAMPLES_MAX];
    size_t n;
};

static void report(const struct bench *b, const char *what, struct sample *s, size_t items)
{
    qsort(s->wall, s->n, sizeof *s->wall, i64_cmp);
    qsort(s->cpu, s->n, sizeof *s->cpu, i64_cmp);
    int64_t wall = s->wall[s->n / 2], cpu = s->cpu[s->n / 2];
    printf("%-50s %9.2f ms %11.0f/s  best %8.2f ms  cpu %8.0f ns each  %9llu bytes\n", what, (double)wall / 1000,
           (double)items * 1e6 / (double)(wall ? wall : 1), (double)s->wall[0] / 1000, (double)cpu * 1000 / (double)items,
           (unsigned long long)b->bytes);
    fflush(stdout);
}

static struct sample sample;
static size_t rounds = 5;

static void begin(void) { sample.n = 0; }
static void timed(struct bench *b, const char *command)
{
    int64_t cpu = cpu_us(), wall = clock_mono_us();
    run(b, command);
    sample.wall[sample.n] = clock_mono_us() - wall;
    sample.cpu[sample.n++] = cpu_us() - cpu;
}

static void repeat(struct bench *b, const char *name, const char *command, size_t items, size_t times)
{
    begin();
    for (size_t i = 0; i < times; i++)
        timed(b, command);
    report(b, name, &sample, items);
}

/* Two commands in turn, each the other's inverse. */
static void in_turn(struct bench *b, const char *name, const char *there, const char *back, size_t items)
{
    begin();
    for (size_t i = 0; i < rounds; i++) {
        timed(b, there);
        run(b, back);
    }
    report(b, name, &sample, items);
}

static bool wants(const struct bench *b, char letter) { return strchr(b->what, letter) != NULL; }

/* ---- workloads ---- */

static void bench_flags(struct bench *b, size_t n)
{
    if (!wants(b, 'f'))
        return;
    repeat(b, "FETCH 1:* (FLAGS UID)", "FETCH 1:* (FLAGS UID)", n, rounds);
    repeat(b, "FETCH 1:* FAST", "FETCH 1:* FAST", n, rounds);
    repeat(b, "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)", "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)", n, rounds);
}

static void bench_headers(struct bench *b, size_t n)
{
    if (!wants(b, 'h'))
        return;
    repeat(b, "FETCH 1:* (ENVELOPE BODYSTRUCTURE), first", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", n, 1);
    repeat(b, "FETCH 1:* (ENVELOPE BODYSTRUCTURE), again", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", n, rounds);
    repeat(b, "FETCH 1:* four header fields", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]", n, rounds);
    repeat(b, "FETCH 1:* BODY.PEEK[HEADER]", "FETCH 1:* BODY.PEEK[HEADER]", n, rounds);
}

static void bench_bodies(struct bench *b, size_t n)
{
    if (!wants(b, 'b'))
        return;
    repeat(b, "FETCH 1:* BODY.PEEK[]", "FETCH 1:* BODY.PEEK[]", n, rounds);
    repeat(b, "FETCH 1:* BODY.PEEK[1.1]", "FETCH 1:* BODY.PEEK[1.1]", n, rounds);
    repeat(b, "FETCH 1:* BINARY.PEEK[2]", "FETCH 1:* BINARY.PEEK[2]", n, rounds);
}

static void bench_singles(struct bench *b, size_t n)
{
    char line[80];
    if (!wants(b, 'r'))
        return;
    begin();
    for (size_t i = 0; i < RANDOM_ROUNDS; i++) {
        snprintf(line, sizeof line, "FETCH %u BODY.PEEK[]", rnd((uint32_t)n) + 1);
        timed(b, line);
    }
    report(b, "FETCH n BODY.PEEK[]", &sample, 1);
    begin();
    for (size_t i = 0; i < RANDOM_ROUNDS; i++) {
        snprintf(line, sizeof line, "STORE %u %cFLAGS (\\Flagged)", rnd((uint32_t)n) + 1, i % 2 ? '+' : '-');
        timed(b, line);
    }
    report(b, "STORE n +FLAGS", &sample, 1);
}

static void bench_search(struct bench *b, size_t n, bool texts)
{
    char line[200], day[40];
    struct buf date = BUF_INIT(100);
    struct date d = {.epoch_s = (clock_wall_ms() / 1000) - 100 * 86400};
    if (!wants(b, 's'))
        return;
    date_print_imap(&d, &date);
    snprintf(day, sizeof day, "%.*s", date.p[0] == ' ' ? 10 : 11, date.p + (date.p[0] == ' '));
    buf_release(&date);
    repeat(b, "SEARCH UNSEEN", "SEARCH UNSEEN", n, rounds * 4);
    repeat(b, "SEARCH RETURN (COUNT) UNSEEN", "SEARCH RETURN (COUNT) UNSEEN", n, rounds * 4);
    snprintf(line, sizeof line, "SEARCH SINCE %s", day);
    repeat(b, "SEARCH SINCE", line, n, rounds * 4);
    snprintf(line, sizeof line, "SEARCH UNSEEN SINCE %s", day);
    repeat(b, "SEARCH UNSEEN SINCE", line, n, rounds * 4);
    repeat(b, "SEARCH ALL", "SEARCH ALL", n, rounds);
    repeat(b, "SEARCH OR FLAGGED LARGER 9000", "SEARCH OR FLAGGED LARGER 9000", n, rounds);
    if (!texts)
        return;
    repeat(b, "SEARCH SUBJECT", "SEARCH SUBJECT \"week 17\"", n, rounds);
    repeat(b, "SEARCH FROM", "SEARCH FROM elinor33", n, rounds);
    repeat(b, "SEARCH TEXT", "SEARCH TEXT \"nowhere to be found\"", n, rounds);
}

static void bench_store(struct bench *b, size_t n)
{
    if (!wants(b, 't'))
        return;
    in_turn(b, "STORE 1:* +FLAGS", "STORE 1:* +FLAGS (\\Flagged)", "STORE 1:* -FLAGS.SILENT (\\Flagged)", n);
    in_turn(b, "STORE 1:* +FLAGS.SILENT", "STORE 1:* +FLAGS.SILENT (\\Flagged)", "STORE 1:* -FLAGS.SILENT (\\Flagged)", n);
}

static void bench_copy(struct bench *b, size_t n)
{
    if (!wants(b, 'c'))
        return;
    begin();
    for (int i = 0; i < 3; i++)
        timed(b, "COPY 1:* Archive");
    report(b, "COPY 1:*", &sample, n);
    begin();
    for (int i = 0; i < 3; i++) {
        timed(b, "MOVE 1:* Trash");
        run(b, "SELECT Trash");
        timed(b, "MOVE 1:* INBOX");
        run(b, "SELECT INBOX");
    }
    report(b, "MOVE 1:*", &sample, n);
}

static void bench_expunge(struct bench *b, size_t n)
{
    if (!wants(b, 'e'))
        return;
    begin();
    for (int i = 0; i < 3; i++) {
        run(b, "SELECT INBOX");
        run(b, "COPY 1:* Junk");
        run(b, "SELECT Junk");
        run(b, "STORE 1:* +FLAGS.SILENT (\\Deleted)");
        timed(b, "EXPUNGE");
    }
    report(b, "EXPUNGE", &sample, n);
    run(b, "SELECT INBOX");
}

static bool log_quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

int main(int argc, char **argv)
{
    struct bench b = {.engine = argc > 1 ? argv[1] : "memory",
                      .dir = argc > 2 ? argv[2] : "/tmp/imap-bench",
                      .what = argc > 5 ? argv[5] : "fhbsrtce",
                      .peer = {.loopback = true}};
    rounds = argc > 6 ? strtoull(argv[6], NULL, 10) : rounds;
    if (rounds == 0 || rounds * 4 > SAMPLES_MAX)
        return 2;
    size_t messages = argc > 3 ? strtoull(argv[3], NULL, 10) : 10000, large = argc > 4 ? strtoull(argv[4], NULL, 10) : 100000;
    char command[512];
    struct settings *settings = settings_defaults();
    struct account *account;
    settings_use(&settings);
    log_capture(log_quiet, NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", b.dir);
    if (system(command) != 0)
        return 1;
    buf_init(&b.out, SESSION_OUTPUT_MAX);
    buf_init(&b.tail, 1024);
    open_all(&b);
    must(account_create(b.store, ACCOUNT, e));
    must(account_open(b.store, ACCOUNT, &account, e));
    fill(&b, account, "INBOX", messages, false);
    must(mailbox_create(account, STR("large"), MAILBOX_ROLE_NONE, &(uint32_t){0}, e));
    fill(&b, account, "large", large, true);
    account_unref(account);
    if (strcmp(b.engine, "memory") != 0) { /* what is on the disk must be found again */
        close_all(&b);
        open_all(&b);
    }
    settle();
    session_begin(&b);
    if (messages) {
        run(&b, "SELECT INBOX");
        printf("-- %s, %zu messages\n", b.engine, messages);
        bench_headers(&b, messages);
        bench_flags(&b, messages);
        bench_bodies(&b, messages);
        bench_singles(&b, messages);
        bench_search(&b, messages, true);
        bench_store(&b, messages);
        bench_copy(&b, messages);
        bench_expunge(&b, messages);
    }
    if (large) {
        run(&b, "SELECT large");
        printf("-- %s, %zu tiny messages\n", b.engine, large);
        bench_flags(&b, large);
        bench_search(&b, large, false);
    }
    close_all(&b);
    buf_release(&b.out);
    buf_release(&b.tail);
    return 0;
}
