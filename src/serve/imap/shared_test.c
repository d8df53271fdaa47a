/* Several sessions at once in one mailbox, each on its own thread, doing what comes. Each plays a client that believes what it is
 * told: EXISTS and EXPUNGE or VANISHED must always make sense, and in the end all must know the same messages as the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "rt/log.h"
#include "serve/testing/pump.h"
#include "serve/testing/world.h"

enum { CLIENTS = 6, ROUNDS = 150, KNOWN_MAX = 20000 };

struct client {
    struct world *world;
    struct session_peer peer;
    struct serve_context context;
    struct pump pump;
    size_t read; /* of pump.said */
    unsigned random;
    bool qresync;
    uint32_t uids[KNOWN_MAX]; /* by sequence number - 1; 0: not known yet */
    uint32_t count;
    uint32_t highest; /* UID */
    char wrong[200];
};

static unsigned next_random(struct client *c)
{
    c->random = c->random * 1103515245u + 12345u;
    return c->random >> 16 & 0x7fff;
}

static void wrong(struct client *c, const char *what, struct str line)
{
    if (!c->wrong[0])
        snprintf(c->wrong, sizeof c->wrong, "%s: %.*s", what, STR_FMT(str_upto(line, 100)));
}

/* ---- what the client is told ---- */

static void told_expunge(struct client *c, uint32_t n, struct str line)
{
    if (n < 1 || n > c->count) {
        wrong(c, "EXPUNGE of a number that is not there", line);
        return;
    }
    c->count--;
    for (uint32_t i = n - 1; i < c->count; i++)
        c->uids[i] = c->uids[i + 1];
}

static void told_exists(struct client *c, uint32_t n, struct str line)
{
    if (n < c->count || n > KNOWN_MAX) {
        wrong(c, "EXISTS shrinks", line);
        return;
    }
    while (c->count < n)
        c->uids[c->count++] = 0;
}

/* Where the message is; one that was announced but not asked for yet stands between its known neighbours. */
static uint32_t place_of(const struct client *c, uint32_t uid)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->uids[i] == uid)
            return i;
        if (c->uids[i] && c->uids[i] < uid)
            at = i + 1;
    }
    return at < c->count && c->uids[at] == 0 ? at : c->count;
}

static void told_vanished(struct client *c, struct str set, struct str line)
{
    struct str part;
    while (str_split(&set, ',', &part)) {
        size_t colon = str_find_char(part, ':');
        uint32_t first, last;
        if (!str_to_u32(str_upto(part, colon), &first) ||
            !str_to_u32(colon == STR_NPOS ? part : str_from(part, colon + 1), &last)) {
            wrong(c, "no set", line);
            return;
        }
        for (uint32_t uid = first; uid <= last; uid++) {
            uint32_t i = place_of(c, uid);
            if (i == c->count)
                wrong(c, "VANISHED of a message that the client does not know", line);
            else
                told_expunge(c, i + 1, line);
        }
    }
}

static void told_fetch(struct client *c, uint32_t n, struct str line)
{
    size_t at = str_find(line, STR("UID "));
    struct str rest = str_from(line, at + 4);
    size_t digits = 0;
    uint32_t uid;
    while (digits < rest.n && rest.p[digits] >= '0' && rest.p[digits] <= '9')
        digits++;
    if (n < 1 || n > c->count || at == STR_NPOS || !str_to_u32(str_upto(rest, digits), &uid)) {
        wrong(c, "FETCH of a number that is not there", line);
        return;
    }
    if (c->uids[n - 1] && c->uids[n - 1] != uid)
        wrong(c, "a sequence number changed its message", line);
    c->uids[n - 1] = uid;
}

static void told(struct client *c, struct str line)
{
    struct str rest = str_from(line, 2), word;
    uint32_t n;
    if (!str_starts(line, STR("* ")))
        return;
    if (str_starts(rest, STR("VANISHED "))) {
        told_vanished(c, str_from(rest, 9), line);
        return;
    }
    str_split(&rest, ' ', &word);
    if (!str_to_u32(word, &n))
        return;
    if (str_eq(rest, STR("EXISTS")))
        told_exists(c, n, line);
    else if (str_eq(rest, STR("EXPUNGE")))
        told_expunge(c, n, line);
    else if (str_starts(rest, STR("FETCH ")))
        told_fetch(c, n, line);
}

/* Gives a command and reads all that was said; the last line must be the tagged reply. */
static void say(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct client *c, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct str line = STR_NONE, last = STR_NONE, said;
    pump_feed(&c->pump, str_make(text, (size_t)n), SIZE_MAX);
    said = str_from(buf_str(&c->pump.said), c->read);
    c->read = c->pump.said.n;
    while (str_split(&said, '\n', &line)) {
        line = str_trim(line);
        told(c, line);
        last = line.n ? line : last;
    }
    if (!str_starts(last, STR("t ")) || str_starts(last, STR("t BAD")))
        wrong(c, "no good reply", last);
    if (c->pump.breach)
        wrong(c, c->pump.breach, STR_NONE);
}

/* ---- what it does ---- */

static void act(struct client *c)
{
    /* with VANISHED a client must know the UIDs, so it asks for them at once; the others too, to check the numbers */
    say(c, "t UID FETCH %u:* (UID)\r\n", c->highest + 1);
    for (uint32_t i = 0; i < c->count; i++)
        if (c->uids[i] > c->highest)
            c->highest = c->uids[i];
    uint32_t some = c->count ? next_random(c) % c->count + 1 : 0;
    switch (next_random(c) % 8) {
    case 0:
    case 1:
    case 2:
        say(c, "t APPEND INBOX (\\Seen) {14+}\r\nSubject: x\r\n\r\n\r\n");
        break;
    case 3:
        if (some)
            say(c, "t STORE %u +FLAGS (\\Deleted)\r\n", some);
        break;
    case 4:
        if (some)
            say(c, "t STORE %u -FLAGS.SILENT (\\Flagged)\r\n", some);
        break;
    case 5:
        say(c, "t EXPUNGE\r\n");
        break;
    case 6:
        say(c, "t NOOP\r\n");
        break;
    default:
        pump_feed(&c->pump, STR("t IDLE\r\n"), SIZE_MAX);
        pump_event(&c->pump, SESSION_EV_WAKE);
        say(c, "DONE\r\n");
    }
}

static void *run_client(void *argument)
{
    struct client *c = argument;
    say(c, "t LOGIN carolyn@xyz.com " WORLD_PASSWORD "\r\n");
    if (c->qresync)
        say(c, "t ENABLE QRESYNC\r\n");
    say(c, "t SELECT INBOX\r\n");
    for (int i = 0; i < ROUNDS && !c->wrong[0]; i++)
        act(c);
    return NULL;
}

static void client_open(struct client *c, struct world *w, unsigned number)
{
    c->world = w;
    c->random = number * 7919u + 1;
    c->qresync = number % 2;
    c->peer = (struct session_peer){.address = "127.0.0.1", .loopback = true};
    c->context = (struct serve_context){.services = &w->services, .profile = SERVE_IMAP};
    pump_init(&c->pump, imap_session_make(&c->context, &c->peer), SESSION_OUTPUT_MAX);
    pump_event(&c->pump, SESSION_EV_START);
}

/* All know now what there is: the numbers of the store, in order. */
static void check_client(struct client *c, struct client *first)
{
    say(c, "t NOOP\r\n");
    say(c, "t UID FETCH 1:* (UID)\r\n");
    if (c->wrong[0])
        fail_msg("client: %s", c->wrong);
    assert_int_equal(c->count, first->count);
    assert_memory_equal(c->uids, first->uids, c->count * sizeof *c->uids);
    for (uint32_t i = 0; i < c->count; i++)
        assert_true(c->uids[i] > (i ? c->uids[i - 1] : 0));
}

static bool log_quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

static void test_shared(void **state)
{
    (void)state;
    struct buf credential = BUF_INIT(4096);
    struct world world;
    struct err e = {0};
    pthread_t threads[CLIENTS];
    uint32_t exists;
    struct client *clients = calloc(CLIENTS, sizeof *clients);
    assert_non_null(clients);
    log_capture(log_quiet, NULL);
    assert_int_equal(world_credential(&credential, &e), ST_OK);
    assert_int_equal(world_open(&world, buf_str(&credential), &e), ST_OK);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_open(&clients[i], &world, i);
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, &clients[i]), 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < CLIENTS; i++)
        check_client(&clients[i], i ? &clients[0] : &clients[i]);
    assert_int_equal(world_inbox_count(&world, STR("carolyn@xyz.com"), &exists, &e), ST_OK);
    assert_int_equal(clients[0].count, exists);
    assert_true(exists > 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        pump_release(&clients[i].pump);
    world_close(&world);
    buf_release(&credential);
    free(clients);
    log_capture(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
