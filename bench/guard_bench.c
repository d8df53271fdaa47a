/* What `make bench-guard` counts: the hot paths as whole sessions in one process, without a network, on RocksDB.
 *
 *   guard_bench DIRECTORY      the directory must not exist
 *
 * Each measure_* function is one path and is called once: valgrind counts the instructions inside it (bench/guard gives it the
 * names). Around them the program fills an account and waits until the engine's own threads are quiet. For each function it
 * prints a line: its name, and by what its instructions are divided. Any answer but the expected one ends it with status 1. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "auth/credential.h"
#include "auth/directory.h"
#include "auth/login.h"
#include "kv/engine.h"
#include "queue/queue.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "serve/services.h"
#include "store/store.h"

enum {
    MESSAGES = 512,
    MANY = 4096, /* in another mailbox */
    DELIVERIES = 64,
    SINGLES = 128,
    SELECTS = 128,
    LOGINS = 64,
    STORES = 4,
    MESSAGE_MAX = 16 << 10,
    TAIL = 2000
};

#define must(call)                                                                                                                 \
    do {                                                                                                                           \
        struct err must_err_ = {0}, *e = &must_err_;                                                                               \
        if ((call) != ST_OK) {                                                                                                     \
            fprintf(stderr, "%s: %s (%s)\n", #call, must_err_.text, must_err_.detail);                                             \
            exit(1);                                                                                                               \
        }                                                                                                                          \
    } while (0)

struct guard {
    struct kv *kv;
    struct store *store;
    struct directory *directory;
    struct auth *auth;
    struct queue *queue;
    struct services services;
    struct serve_context context;
    struct session_peer peer;
    struct session *session;
    struct buf in, out, tail; /* in: what is said next; tail: the end of what was answered */
    const char *dir;
};

/* ---- the system ---- */

static void open_store(struct guard *g)
{
    struct store_config config;
    struct kv_config kv = {.engine = "rocksdb", .path = g->dir, .cache_bytes = 64 << 20, .disk_reserve_bytes = 1 << 20};
    must(kv_open(&kv, &g->kv, e));
    store_config_defaults(&config);
    must(store_open(g->kv, &config, &g->store, e));
    must(directory_open(g->kv, &g->directory, e));
    must(auth_open(g->directory, &g->auth, e));
    struct queue_config queue = {.store = g->store, .directory = g->directory, .hostname = "mail.abcd.com"};
    must(queue_open(&queue, &g->queue, e));
    g->services = (struct services){.store = g->store,
                                    .directory = g->directory,
                                    .auth = g->auth,
                                    .queue = g->queue,
                                    .hostname = "mail.abcd.com",
                                    .spool_dir = "/tmp"};
}

static void close_store(struct guard *g)
{
    queue_close(g->queue);
    auth_close(g->auth);
    directory_close(g->directory);
    store_close(g->store);
    kv_close(g->kv);
}

static void make_account(struct guard *g)
{
    account_id id;
    DEFER(buf_release) struct buf credential = BUF_INIT(4096);
    struct directory_domain domain = {.name = STR("xyz.com"), .is_default = true};
    must(directory_domain_put(g->directory, &domain, e));
    must(credential_make(STR("vegetables"), &credential, e));
    struct directory_account account = {.address = STR("carolyn@xyz.com"),
                                        .name = STR("carolyn"),
                                        .password = buf_str(&credential),
                                        .state = DIRECTORY_ACTIVE,
                                        .quota_bytes = UINT64_MAX,
                                        .quota_messages = UINT64_MAX};
    must(directory_account_add(g->directory, g->store, &account, &id, e));
}

static int64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000) + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

/* Waits until the engine's own threads have nothing to do. */
static void wait_quiet(void)
{
    for (int quiet = 0, i = 0; quiet < 3 && i < 300; i++) {
        int64_t before = cpu_us();
        clock_sleep_ms(50);
        quiet = cpu_us() - before < 5000 ? quiet + 1 : 0;
    }
}

/* ---- sessions ---- */

static void keep_tail(struct guard *g)
{
    struct str out = buf_str(&g->out);
    buf_add(&g->tail, str_from(out, out.n > TAIL ? out.n - TAIL : 0));
    if (g->tail.n > TAIL)
        buf_drop_front(&g->tail, g->tail.n - TAIL);
    buf_clear(&g->out);
}

static void steps(struct guard *g, enum session_event event, struct str in)
{
    enum session_outcome outcome;
    do {
        struct session_io io = {.event = event, .in = in, .out = &g->out};
        outcome = g->session->class->step(g->session, &io);
        in = str_from(in, io.used);
        event = SESSION_EV_OUTPUT;
        keep_tail(g);
    } while (outcome == SESSION_OUTPUT);
}

/* The last line of the answer, without its end. */
static struct str last_line(const struct guard *g)
{
    struct str tail = buf_str(&g->tail);
    tail = str_upto(tail, tail.n > 1 ? tail.n - 2 : 0);
    size_t lf = str_rfind_char(tail, '\n');
    return lf == STR_NPOS ? tail : str_from(tail, lf + 1);
}

/* Says what is in g->in; the last line of the answer must begin with `want`. */
static void say(struct guard *g, const char *want)
{
    buf_clear(&g->tail);
    steps(g, SESSION_EV_INPUT, buf_str(&g->in));
    buf_clear(&g->in);
    if (str_starts(last_line(g), str_of(want)))
        return;
    fprintf(stderr, "wanted %s, got %.*s\n", want, STR_FMT(buf_str(&g->tail)));
    exit(1);
}

static void say_line(struct guard *g, const char *line, const char *want)
{
    buf_printf(&g->in, "%s\r\n", line);
    say(g, want);
}

static void begin(struct guard *g, enum serve_profile profile)
{
    g->context = (struct serve_context){.services = &g->services, .profile = profile, .tls_available = false};
    g->session = profile == SERVE_IMAP   ? imap_session_make(&g->context, &g->peer)
                 : profile == SERVE_POP3 ? pop3_session_make(&g->context, &g->peer)
                                         : smtp_session_make(&g->context, &g->peer);
    if (!g->session)
        exit(1);
    g->session->peer = &g->peer;
    steps(g, SESSION_EV_START, STR_NONE);
}

static void end(struct guard *g)
{
    g->session->class->free(g->session);
    g->session = NULL;
}

static void begin_imap(struct guard *g)
{
    begin(g, SERVE_IMAP);
    say_line(g, "a LOGIN carolyn@xyz.com vegetables", "a OK");
}

static void begin_pop3(struct guard *g)
{
    begin(g, SERVE_POP3);
    say_line(g, "USER carolyn@xyz.com", "+OK");
    say_line(g, "PASS vegetables", "+OK");
}

/* ---- messages ---- */

/* Some 6 KB: trace fields, two forms of a text, lines of some 70 characters, an attachment. */
static void add_message(struct buf *b, unsigned number)
{
    for (int hop = 0; hop < 3; hop++)
        buf_printf(
            b,
            "Received: from host%d.example.net (host%d.example.net [192.0.2.%d])\r\n\tby mx.example.org with ESMTPS id %08X%d;\r\n"
            "\tMon, 23 Nov 2026 06:%02u:00 +0000\r\n",
            hop, hop, hop + 1, number * 7919, hop, number % 60);
    buf_printf(
        b,
        "From: \"Elinor Example\" <elinor%u@abcd.com>\r\nTo: Carolyn <carolyn@xyz.com>, Team <team@xyz.com>\r\n"
        "Subject: Re: The vegetables of week %u\r\nDate: Mon, 23 Nov 2026 06:%02u:00 +0000\r\nMessage-ID: <%u.guard@abcd.com>\r\n"
        "References: <%u.first@abcd.com>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n"
        "--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\nContent-Type: text/plain\r\n\r\n",
        number % 50, number % 52, number % 60, number, number);
    for (unsigned line = 0; line < 20; line++)
        buf_printf(b, "%u vegetables arrived this morning. Please send more of them next week.\r\n", number * 31 + line * 7);
    buf_add_z(b, "--inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n");
    for (unsigned line = 0; line < 20; line++)
        buf_printf(b, "<p>%u vegetables arrived this morning. Please send more of them.</p>\r\n", number * 31 + line * 7);
    buf_add_z(b, "</body></html>\r\n--inner--\r\n\r\n--outer\r\nContent-Type: application/pdf; name=\"list.pdf\"\r\n"
                 "Content-Transfer-Encoding: base64\r\n\r\n");
    for (unsigned line = 0; line < 20; line++)
        buf_printf(b, "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwvTGVuZ3RoIDMgMCBSL0ZpbHRlci9%08X\r\n", number + line);
    buf_add_z(b, "--outer--\r\n");
}

static void fill(struct guard *g)
{
    begin_imap(g);
    for (unsigned i = 0; i < MESSAGES; i++) {
        DEFER(buf_release) struct buf message = BUF_INIT(MESSAGE_MAX);
        add_message(&message, i);
        buf_printf(&g->in, "b APPEND INBOX {%zu+}\r\n", message.n);
        buf_add(&g->in, buf_str(&message));
        say_line(g, "", "b OK");
    }
    say_line(g, "b CREATE Many", "b OK");
    say_line(g, "b SELECT INBOX", "b OK");
    for (unsigned i = 0; i < MANY; i += MESSAGES)
        say_line(g, "b COPY 1:* Many", "b OK");
    end(g);
}

/* ---- the paths ---- */

#define MEASURED static __attribute__((noinline)) void

static void deliver(struct guard *g, unsigned first)
{
    for (unsigned i = 0; i < DELIVERIES; i++) {
        buf_add_z(&g->in, "MAIL FROM:<elinor@abcd.com>\r\nRCPT TO:<carolyn@xyz.com>\r\nDATA\r\n");
        say(g, "354");
        add_message(&g->in, first + i);
        buf_add_z(&g->in, ".\r\n");
        say(g, "250");
    }
}

MEASURED measure_smtp(struct guard *g) { deliver(g, 100000); }
MEASURED measure_lmtp(struct guard *g) { deliver(g, 200000); }

MEASURED measure_fetch_flags(struct guard *g) { say_line(g, "f FETCH 1:* (FLAGS UID)", "f OK"); }
MEASURED measure_fetch_envelope(struct guard *g) { say_line(g, "f FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "f OK"); }
MEASURED measure_fetch_header_fields(struct guard *g)
{
    say_line(g, "f FETCH 1:* BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]", "f OK");
}
MEASURED measure_fetch_body(struct guard *g) { say_line(g, "f FETCH 1:* BODY.PEEK[]", "f OK"); }

MEASURED measure_fetch_single(struct guard *g)
{
    char line[80];
    for (unsigned i = 0; i < SINGLES; i++) {
        snprintf(line, sizeof line, "f FETCH %u BODY.PEEK[]", i * 389 % MESSAGES + 1);
        say_line(g, line, "f OK");
    }
}

MEASURED measure_store(struct guard *g)
{
    for (unsigned i = 0; i < STORES; i++)
        say_line(g, i % 2 ? "s STORE 1:* -FLAGS.SILENT (\\Flagged)" : "s STORE 1:* +FLAGS.SILENT (\\Flagged)", "s OK");
}

MEASURED measure_select(struct guard *g)
{
    for (unsigned i = 0; i < SELECTS; i++)
        say_line(g, "s SELECT INBOX", "s OK");
}

MEASURED measure_login(struct guard *g)
{
    for (unsigned i = 0; i < LOGINS; i++) {
        begin_imap(g);
        say_line(g, "s SELECT INBOX", "s OK");
        say_line(g, "l LOGOUT", "l OK");
        end(g);
    }
}

MEASURED measure_pop3_retr(struct guard *g)
{
    for (unsigned i = 1; i <= MESSAGES; i++)
        buf_printf(&g->in, "RETR %u\r\n", i);
    say(g, ".");
}

static void imap_paths(struct guard *g)
{
    begin_imap(g);
    say_line(g, "s SELECT INBOX", "s OK");
    say_line(g, "f FETCH 1:* (FLAGS BODY.PEEK[])", "f OK"); /* everything is in the caches */
    measure_fetch_envelope(g);
    printf("fetch_envelope %d\n", MESSAGES);
    measure_fetch_header_fields(g);
    printf("fetch_header_fields %d\n", MESSAGES);
    measure_fetch_body(g);
    printf("fetch_body %d\n", MESSAGES);
    measure_fetch_single(g);
    printf("fetch_single %d\n", SINGLES);
    say_line(g, "s SELECT Many", "s OK");
    measure_fetch_flags(g);
    printf("fetch_flags %d\n", MANY);
    measure_store(g);
    printf("store %d\n", STORES * MANY);
    end(g);
}

static void login_paths(struct guard *g)
{
    begin_imap(g);
    measure_select(g);
    printf("select %d\n", SELECTS);
    end(g);
    measure_login(g);
    printf("login %d\n", LOGINS);
}

static void all_paths(struct guard *g)
{
    begin_pop3(g);
    measure_pop3_retr(g);
    printf("pop3_retr %d\n", MESSAGES);
    end(g);
    imap_paths(g);
    login_paths(g);
    begin(g, SERVE_SMTP);
    say_line(g, "EHLO client.example", "250 ");
    deliver(g, 300000); /* what the first one costs more */
    measure_smtp(g);
    printf("smtp %d\n", DELIVERIES);
    end(g);
    begin(g, SERVE_LMTP);
    say_line(g, "LHLO client.example", "250 ");
    measure_lmtp(g);
    printf("lmtp %d\n", DELIVERIES);
    end(g);
}

static bool log_quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

int main(int argc, char **argv)
{
    struct guard g = {.dir = argc == 2 ? argv[1] : NULL,
                      .peer = {.address = "127.0.0.1", .loopback = true},
                      .in = BUF_INIT(SESSION_INPUT_MAX),
                      .out = BUF_INIT(SESSION_OUTPUT_MAX),
                      .tail = BUF_INIT(SESSION_OUTPUT_MAX)};
    if (!g.dir || !buf_reserve(&g.out, SESSION_OUTPUT_MAX)) /* as a thread of net/host has it */
        return 2;
    struct settings *settings = settings_defaults();
    settings_use(&settings);
    log_capture(log_quiet, NULL);
    open_store(&g);
    make_account(&g);
    fill(&g);
    close_store(&g); /* what is read is on the disk, not where it was just written */
    open_store(&g);
    wait_quiet();
    all_paths(&g);
    close_store(&g);
    buf_release(&g.in);
    buf_release(&g.out);
    buf_release(&g.tail);
    return 0;
}
