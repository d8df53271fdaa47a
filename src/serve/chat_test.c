/* Runs the conversations of test/chat/ against real sessions with a whole system in memory behind them. Each script runs in four
 * ways: block by block, byte by byte, everything between two directives at once, and with an output buffer so small that long
 * answers are cursors; what the server says must be the same.
 *
 *   # comment
 *   C: a line, CRLF is added          C= bytes as they are           C* 1000 bytes a thousand times
 *   S: what the server says, a line; '*' stands for anything, \* for itself
 *   @directive words                  see `directives` below
 *
 * Escapes in C, S and directives: \r \n \t \\ \xHH, and \$A for the number that "@remember A text" found behind the text's last
 * occurrence in what the server said. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "auth/directory.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "serve/testing/pump.h"
#include "serve/testing/world.h"

enum { SCRIPT_MAX = 1 << 20, SESSIONS_MAX = 4, LINES_MAX = 4000, FILES_MAX = 400, FILE_MAX = 1 << 20 };

enum way { WAY_BLOCK, WAY_BYTES, WAY_ALL, WAY_TIGHT, WAYS };
static const char *const way_names[] = {"block by block", "byte by byte", "all at once", "with a tight output buffer"};

struct seat { /* one session of a script */
    char name[32];
    struct session_peer peer;
    struct serve_context context;
    struct pump pump;
    size_t checked; /* of pump.said */
    bool open;
};

struct chat {
    const char *path;
    enum way way;
    unsigned line;
    struct world world;
    struct seat seats[SESSIONS_MAX];
    struct seat *now;
    struct seat next;             /* what @ directives set for the next session */
    struct buf pending;           /* WAY_ALL: input not given yet */
    struct str wanted[LINES_MAX]; /* S lines not compared yet */
    size_t wanted_count;
    struct arena arena;
    struct buf settings;
    uint64_t remembered[26];
};

static void fail_chat(const struct chat *c, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
static void fail_chat(const struct chat *c, const char *fmt, ...)
{
    char text[2000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fail_msg("%s:%u (%s): %s", c->path, c->line, way_names[c->way], text);
    abort();
}

/* ---- text ---- */

static struct str unescape(struct chat *c, struct str s)
{
    char *to = arena_get(&c->arena, s.n * 8 + 32);
    size_t n = 0;
    assert_non_null(to);
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (ch != '\\' || i + 1 == s.n) {
            to[n++] = ch;
            continue;
        }
        ch = s.p[++i];
        if (ch == 'x' && i + 2 < s.n + 0 && ascii_hex_value(s.p[i + 1]) >= 0 && ascii_hex_value(s.p[i + 2]) >= 0) {
            to[n++] = (char)(ascii_hex_value(s.p[i + 1]) * 16 + ascii_hex_value(s.p[i + 2]));
            i += 2;
        } else if (ch == '$' && i + 1 < s.n && s.p[i + 1] >= 'A' && s.p[i + 1] <= 'Z') {
            n += (size_t)snprintf(to + n, 21, "%llu", (unsigned long long)c->remembered[s.p[++i] - 'A']);
        } else if (ch == '*') {
            to[n++] = '\\'; /* left for match() */
            to[n++] = '*';
        } else {
            to[n++] = ch == 'r' ? '\r' : ch == 'n' ? '\n' : ch == 't' ? '\t' : ch == '0' ? '\0' : ch;
        }
    }
    return (struct str){to, n};
}

static bool match(struct str pattern, struct str s)
{
    size_t star = STR_NPOS, mark = 0, p = 0, i = 0;
    while (i < s.n) {
        bool literal = p + 1 < pattern.n && pattern.p[p] == '\\' && pattern.p[p + 1] == '*';
        if (!literal && p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            mark = i;
        } else if (p < pattern.n && pattern.p[p + literal] == s.p[i]) {
            p += 1 + (size_t)literal;
            i++;
        } else if (star != STR_NPOS) {
            p = star + 1;
            i = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

static struct str word(struct str *rest)
{
    struct str w = STR_NONE;
    *rest = str_trim(*rest);
    str_split(rest, ' ', &w);
    return w;
}

static void must(struct chat *c, enum st st, const struct err *e)
{
    if (st != ST_OK)
        fail_chat(c, "%s: %s", st_name(st), e->detail);
}

/* ---- sessions ---- */

static void seat_default(struct chat *c)
{
    memset(&c->next, 0, sizeof c->next);
    snprintf(c->next.peer.address, sizeof c->next.peer.address, "127.0.0.1");
    snprintf(c->next.peer.local, sizeof c->next.peer.local, "127.0.0.1");
    c->next.peer.loopback = true;
    c->next.context = (struct serve_context){.services = &c->world.services, .profile = SERVE_SMTP, .tls_available = true};
}

static void seat_begin(struct chat *c, struct str name)
{
    size_t i = 0;
    while (i < SESSIONS_MAX && c->seats[i].open && !str_eq(name, str_of(c->seats[i].name)))
        i++;
    if (i == SESSIONS_MAX)
        fail_chat(c, "too many sessions");
    c->now = &c->seats[i];
    if (c->now->open)
        return;
    *c->now = c->next;
    snprintf(c->now->name, sizeof c->now->name, "%.*s", STR_FMT(name));
    c->now->open = true;
    enum serve_profile profile = c->now->context.profile;
    struct session *s = profile == SERVE_POP3   ? pop3_session_make(&c->now->context, &c->now->peer)
                        : profile == SERVE_IMAP ? imap_session_make(&c->now->context, &c->now->peer)
                                                : smtp_session_make(&c->now->context, &c->now->peer);
    size_t room = c->way == WAY_TIGHT ? SESSION_OUTPUT_LOW + 2048 : SESSION_OUTPUT_MAX;
    pump_init(&c->now->pump, s, room);
    pump_event(&c->now->pump, SESSION_EV_START);
}

static void seat_end(struct seat *s)
{
    if (s->open)
        pump_release(&s->pump);
    s->open = false;
}

/* ---- comparing ---- */

static void show_rest(const struct chat *c, struct str rest)
{
    print_message("%s:%u: server said:\n%.*s---\n", c->path, c->line, STR_FMT(rest));
}

static void compare(struct chat *c)
{
    struct pump *p = &c->now->pump;
    for (size_t i = 0; i < c->wanted_count; i++) {
        struct str rest = str_from(buf_str(&p->said), c->now->checked);
        size_t end = str_find(rest, STR("\r\n"));
        struct str want = c->wanted[i], got = str_upto(rest, end);
        if (end == STR_NPOS || !match(want, got)) {
            show_rest(c, rest);
            fail_chat(c, "wanted: %.*s\n   got: %.*s", STR_FMT(want), STR_FMT(got));
        }
        c->now->checked += end + 2;
    }
    c->wanted_count = 0;
    if (p->breach)
        fail_chat(c, "session %s", p->breach);
}

/* Everything that was said was expected. */
static void compare_all(struct chat *c)
{
    compare(c);
    struct str rest = str_from(buf_str(&c->now->pump.said), c->now->checked);
    if (rest.n) {
        show_rest(c, rest);
        fail_chat(c, "the server said more than expected");
    }
}

static void give(struct chat *c, struct str bytes)
{
    if (!c->now)
        seat_begin(c, STR("1"));
    if (c->way == WAY_ALL) {
        buf_add(&c->pending, bytes);
        return;
    }
    if (c->wanted_count)
        compare_all(c);
    pump_feed(&c->now->pump, bytes, c->way == WAY_BYTES ? 1 : SIZE_MAX);
}

static void settle(struct chat *c)
{
    if (!c->now)
        seat_begin(c, STR("1"));
    if (c->pending.n) {
        pump_feed(&c->now->pump, buf_str(&c->pending), SIZE_MAX);
        buf_clear(&c->pending);
    }
    compare_all(c);
}

/* ---- directives ---- */

static void do_service(struct chat *c, struct str rest)
{
    static const struct {
        const char *name;
        enum serve_profile profile;
    } names[] = {
        {"smtp", SERVE_SMTP}, {"submission", SERVE_SUBMISSION}, {"lmtp", SERVE_LMTP}, {"pop3", SERVE_POP3}, {"imap", SERVE_IMAP}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_eq(rest, str_of(names[i].name))) {
            c->next.context.profile = names[i].profile;
            return;
        }
    fail_chat(c, "no such service");
}

static void tls_fill(struct session_peer *peer)
{
    peer->tls =
        (struct session_tls){.active = true, .version = STR("TLSv1.3"), .cipher = STR("TLS_AES_256_GCM_SHA384"), .bits = 256};
}

static void do_tls(struct chat *c, struct str rest)
{
    (void)rest;
    tls_fill(&c->next.peer);
}

static void do_no_tls(struct chat *c, struct str rest)
{
    (void)rest;
    c->next.context.tls_available = false;
}

static void do_client(struct chat *c, struct str rest)
{
    snprintf(c->next.peer.address, sizeof c->next.peer.address, "%.*s", STR_FMT(rest));
    snprintf(c->next.peer.local, sizeof c->next.peer.local, "192.0.2.25");
    c->next.peer.loopback = false;
}

static void do_demo(struct chat *c, struct str rest)
{
    (void)rest;
    c->world.services.demo = true;
}

static void do_settings(struct chat *c, struct str rest)
{
    struct settings *s;
    struct err e = {0};
    buf_add(&c->settings, rest);
    buf_add_c(&c->settings, '\n');
    must(c, settings_parse(c->path, buf_str(&c->settings), &s, &e), &e);
    settings_use(&s);
}

static void do_account(struct chat *c, struct str rest)
{
    struct err e = {0};
    must(c, world_account(&c->world, word(&rest), &e), &e);
}

static void do_alias(struct chat *c, struct str rest)
{
    struct err e = {0};
    struct str address = word(&rest);
    must(c, world_alias(&c->world, address, rest, &e), &e);
}

static void do_domain(struct chat *c, struct str rest)
{
    struct err e = {0};
    struct str name = word(&rest);
    must(c, world_domain(&c->world, name, rest, &e), &e);
}

static void do_state(struct chat *c, struct str rest)
{
    struct err e = {0};
    struct str address = word(&rest);
    must(c, world_state(&c->world, address, str_eq(rest, STR("closed")) ? DIRECTORY_CLOSED : DIRECTORY_SUSPENDED, &e), &e);
}

static uint64_t number(struct chat *c, struct str s)
{
    uint64_t n;
    if (!str_to_u64(s, &n))
        fail_chat(c, "not a number: %.*s", STR_FMT(s));
    return n;
}

static void do_quota(struct chat *c, struct str rest)
{
    struct err e = {0};
    struct str address = word(&rest);
    uint64_t bytes = number(c, word(&rest));
    must(c, world_quota(&c->world, address, bytes, UINT64_MAX, &e), &e);
}

static void do_relay(struct chat *c, struct str rest)
{
    struct err e = {0};
    must(c, world_relay(&c->world, rest, &e), &e);
}

static void do_deliver(struct chat *c, struct str rest)
{
    struct err e = {0};
    struct str address = word(&rest);
    must(c, world_deliver(&c->world, address, unescape(c, rest), &e), &e);
}

/* "@deliver-big ADDRESS COUNT TEXT": header, then COUNT times TEXT */
static void do_deliver_big(struct chat *c, struct str rest)
{
    struct err e = {0};
    DEFER(buf_release) struct buf bytes = BUF_INIT(64 << 20);
    struct str address = word(&rest);
    uint64_t n = number(c, word(&rest));
    struct str text = unescape(c, rest);
    buf_add(&bytes, STR("Subject: big\r\n\r\n"));
    while (n-- > 0)
        buf_add(&bytes, text);
    must(c, world_deliver(&c->world, address, buf_str(&bytes), &e), &e);
}

/* "@deliver-many ADDRESS COUNT TEXT": COUNT messages */
static void do_deliver_many(struct chat *c, struct str rest)
{
    struct err e = {0};
    struct str address = word(&rest);
    uint64_t n = number(c, word(&rest));
    struct str text = unescape(c, rest);
    while (n-- > 0)
        must(c, world_deliver(&c->world, address, text, &e), &e);
}

static void read_file(struct chat *c, struct str path, struct buf *out)
{
    char name[400];
    snprintf(name, sizeof name, "%.*s", STR_FMT(path));
    FILE *f = fopen(name, "re");
    char *to = buf_reserve(out, FILE_MAX);
    if (!f || !to)
        fail_chat(c, "cannot be read: %s", name);
    buf_grew(out, fread(to, 1, FILE_MAX, f));
    fclose(f);
}

static void do_deliver_file(struct chat *c, struct str rest)
{
    struct err e = {0};
    DEFER(buf_release) struct buf bytes = BUF_INIT(FILE_MAX);
    struct str address = word(&rest);
    read_file(c, rest, &bytes);
    must(c, world_deliver(&c->world, address, bytes.n ? buf_str(&bytes) : STR(""), &e), &e);
}

static void do_session(struct chat *c, struct str rest) { seat_begin(c, rest); }

static void do_end(struct chat *c, struct str rest)
{
    (void)rest;
    seat_end(c->now);
    c->now = NULL;
}

static void do_event(struct chat *c, struct str rest)
{
    static const struct {
        const char *name;
        enum session_event event;
    } names[] = {{"timeout", SESSION_EV_TIMEOUT},
                 {"stopping", SESSION_EV_STOPPING},
                 {"eof", SESSION_EV_EOF},
                 {"tls", SESSION_EV_TLS},
                 {"wake", SESSION_EV_WAKE}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!str_eq(rest, str_of(names[i].name)))
            continue;
        if (names[i].event == SESSION_EV_TLS) {
            if (c->now->pump.outcome != SESSION_TLS)
                fail_chat(c, "the session did not ask for TLS");
            tls_fill(&c->now->peer);
        }
        pump_event(&c->now->pump, names[i].event);
        return;
    }
    fail_chat(c, "no such event");
}

static void do_closed(struct chat *c, struct str rest)
{
    (void)rest;
    if (c->now->pump.outcome != SESSION_CLOSE)
        fail_chat(c, "the session is still open");
}

static void do_open(struct chat *c, struct str rest)
{
    (void)rest;
    if (pump_closed(&c->now->pump))
        fail_chat(c, "the session is closed");
}

static void do_inbox(struct chat *c, struct str rest)
{
    struct err e = {0};
    uint32_t got;
    struct str address = word(&rest);
    uint64_t want = number(c, rest);
    must(c, world_inbox_count(&c->world, address, &got, &e), &e);
    if (got != want)
        fail_chat(c, "%.*s has %u messages, not %llu", STR_FMT(address), got, (unsigned long long)want);
}

static void inbox_text(struct chat *c, struct str *rest, struct buf *text)
{
    struct err e = {0};
    struct str address = word(rest);
    uint64_t n = number(c, word(rest));
    must(c, world_inbox_read(&c->world, address, (uint32_t)n, text, &e), &e);
    *rest = unescape(c, str_trim(*rest));
}

static void do_has(struct chat *c, struct str rest)
{
    DEFER(buf_release) struct buf text = BUF_INIT(64 << 20);
    inbox_text(c, &rest, &text);
    if (str_find(buf_str(&text), rest) == STR_NPOS)
        fail_chat(c, "the message does not have '%.*s':\n%.*s", STR_FMT(rest), STR_FMT(buf_str(&text)));
}

static void do_has_not(struct chat *c, struct str rest)
{
    DEFER(buf_release) struct buf text = BUF_INIT(64 << 20);
    inbox_text(c, &rest, &text);
    if (str_find(buf_str(&text), rest) != STR_NPOS)
        fail_chat(c, "the message has '%.*s':\n%.*s", STR_FMT(rest), STR_FMT(buf_str(&text)));
}

static void do_ends(struct chat *c, struct str rest)
{
    DEFER(buf_release) struct buf text = BUF_INIT(64 << 20);
    inbox_text(c, &rest, &text);
    if (!str_ends(buf_str(&text), rest))
        fail_chat(c, "the message does not end with '%.*s':\n%.*s", STR_FMT(rest), STR_FMT(buf_str(&text)));
}

static void do_queued(struct chat *c, struct str rest)
{
    struct err e = {0};
    size_t got;
    uint64_t want = number(c, rest);
    must(c, world_queued(&c->world, &got, &e), &e);
    if (got != want)
        fail_chat(c, "%zu entries in the queue, not %llu", got, (unsigned long long)want);
}

/* "@fail N": from here on the n-th writing operation of the engine fails, and 1000 more; "@fail 0": no more */
static void do_fail(struct chat *c, struct str rest)
{
    struct kv_fault_plan plan = {.kinds = KV_FAULT_COMMIT, .at = number(c, rest), .more = 1000, .class = ST_TEMP};
    kv_fault_plan(c->world.kv, plan.at ? &plan : NULL);
}

/* "@fail-read N": the same for reading operations */
static void do_fail_read(struct chat *c, struct str rest)
{
    struct kv_fault_plan plan = {.kinds = KV_FAULT_READ, .at = number(c, rest), .more = 1000, .class = ST_TEMP};
    kv_fault_plan(c->world.kv, plan.at ? &plan : NULL);
}

/* "@remember A UIDVALIDITY ": the number behind the last such text */
static void do_remember(struct chat *c, struct str rest)
{
    struct str name = word(&rest), said = buf_str(&c->now->pump.said), text = unescape(c, rest);
    size_t at = STR_NPOS, n;
    for (size_t from = 0; (n = str_find(str_from(said, from), text)) != STR_NPOS; from += n + 1)
        at = from + n + text.n;
    if (name.n != 1 || name.p[0] < 'A' || name.p[0] > 'Z' || at == STR_NPOS)
        fail_chat(c, "nothing to remember");
    uint64_t *v = &c->remembered[name.p[0] - 'A'];
    *v = 0;
    while (at < said.n && said.p[at] == ' ')
        at++;
    for (; at < said.n && said.p[at] >= '0' && said.p[at] <= '9'; at++)
        *v = *v * 10 + (uint64_t)(said.p[at] - '0');
}

static const struct {
    const char *name;
    void (*run)(struct chat *c, struct str rest);
} directives[] = {
    {"service", do_service},
    {"tls", do_tls},
    {"no-tls", do_no_tls},
    {"client", do_client},
    {"demo", do_demo},
    {"settings", do_settings},
    {"account", do_account},
    {"alias", do_alias},
    {"domain", do_domain},
    {"state", do_state},
    {"quota", do_quota},
    {"relay", do_relay},
    {"deliver", do_deliver},
    {"deliver-big", do_deliver_big},
    {"deliver-many", do_deliver_many},
    {"deliver-file", do_deliver_file},
    {"session", do_session},
    {"end", do_end},
    {"event", do_event},
    {"closed", do_closed},
    {"open", do_open},
    {"inbox", do_inbox},
    {"has", do_has},
    {"has-not", do_has_not},
    {"ends", do_ends},
    {"queued", do_queued},
    {"fail", do_fail},
    {"fail-read", do_fail_read},
    {"remember", do_remember},
};

static void directive(struct chat *c, struct str line)
{
    struct str name = word(&line);
    if (c->now)
        settle(c);
    for (size_t i = 0; i < sizeof directives / sizeof directives[0]; i++)
        if (str_eq(name, str_of(directives[i].name))) {
            directives[i].run(c, str_trim(line));
            return;
        }
    fail_chat(c, "no such directive: %.*s", STR_FMT(name));
}

/* ---- scripts ---- */

static void client_line(struct chat *c, char kind, struct str text)
{
    DEFER(buf_release) struct buf bytes = BUF_INIT(256 << 20);
    uint64_t times = kind == '*' ? number(c, word(&text)) : 1;
    text = unescape(c, text);
    while (times-- > 0)
        buf_add(&bytes, text);
    if (kind == ':')
        buf_add(&bytes, STR("\r\n"));
    give(c, buf_str(&bytes));
}

static void script_line(struct chat *c, struct str line)
{
    if (line.n == 0 || line.p[0] == '#')
        return;
    if (line.p[0] == '@') {
        directive(c, str_from(line, 1));
    } else if (line.n >= 2 && line.p[0] == 'C' && (line.p[1] == ':' || line.p[1] == '=' || line.p[1] == '*')) {
        client_line(c, line.p[1], str_from(line, line.n > 2 ? 3 : 2));
    } else if (str_starts(line, STR("S:"))) {
        if (!c->now)
            seat_begin(c, STR("1"));
        if (c->wanted_count == LINES_MAX)
            fail_chat(c, "too many lines");
        c->wanted[c->wanted_count++] = unescape(c, str_from(line, line.n > 2 ? 3 : 2));
    } else {
        fail_chat(c, "cannot read this line: %.*s", STR_FMT(line));
    }
}

static void run_way(const char *path, struct str text, struct str credential, enum way way)
{
    struct chat *c = calloc(1, sizeof *c);
    struct err e = {0};
    assert_non_null(c);
    c->path = path;
    c->way = way;
    arena_init(&c->arena, 64 << 20);
    c->pending = BUF_INIT(256 << 20);
    c->settings = BUF_INIT(64 << 10);
    struct settings *defaults = settings_defaults();
    settings_use(&defaults);
    must(c, world_open(&c->world, credential, &e), &e);
    seat_default(c);
    struct str line;
    while (str_split(&text, '\n', &line)) {
        c->line++;
        script_line(c, line);
    }
    if (c->now)
        settle(c);
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        seat_end(&c->seats[i]);
    world_close(&c->world);
    arena_release(&c->arena);
    buf_release(&c->pending);
    buf_release(&c->settings);
    free(c);
}

static void run_file(const char *path, struct str credential)
{
    DEFER(buf_release) struct buf text = BUF_INIT(SCRIPT_MAX);
    FILE *f = fopen(path, "re");
    if (!f)
        fail_msg("%s: cannot be opened", path);
    char *to = buf_reserve(&text, SCRIPT_MAX);
    assert_non_null(to);
    buf_grew(&text, fread(to, 1, SCRIPT_MAX, f));
    fclose(f);
    for (int way = 0; way < WAYS; way++)
        run_way(path, buf_str(&text), credential, (enum way)way);
}

/* No event of a script is a warning, unless it makes the engine fail. */
static bool log_quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

static int is_chat(const struct dirent *d) { return str_ends(str_of(d->d_name), STR(".chat")); }

static void test_conversations(void **state)
{
    (void)state;
    DEFER(buf_release) struct buf credential = BUF_INIT(4096);
    struct err e = {0};
    struct dirent **names;
    const char *only = getenv("CHAT");
    log_capture(log_quiet, NULL);
    assert_int_equal(world_credential(&credential, &e), ST_OK);
    int n = scandir("test/chat", &names, is_chat, alphasort);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        char path[400];
        snprintf(path, sizeof path, "test/chat/%s", names[i]->d_name);
        if (!only || strstr(path, only))
            run_file(path, buf_str(&credential));
        free(names[i]);
    }
    free(names);
    log_capture(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_conversations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
