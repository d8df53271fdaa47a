/* Clients that send a little before each timeout, in simulated time: how long each can hold a session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rt/clock.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "serve/testing/pump.h"
#include "serve/testing/world.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

struct scene {
    struct world world;
    struct session_peer peer;
    struct pump pump;
    struct buf credential;
    int64_t began_ms;
};

static bool log_quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

static void scene_open(struct scene *s, enum serve_profile profile, const char *settings_text)
{
    struct err e = {0};
    struct settings *settings;
    *s = (struct scene){.credential = BUF_INIT(4096)};
    assert_int_equal(settings_parse("test", str_of(settings_text), &settings, &e), ST_OK);
    settings_use(&settings);
    assert_int_equal(world_credential(&s->credential, &e), ST_OK);
    assert_int_equal(world_open(&s->world, buf_str(&s->credential), &e), ST_OK);
    s->world.context.profile = profile;
    s->peer = (struct session_peer){.address = "192.0.2.7", .local = "192.0.2.25"};
    s->began_ms = clock_mono_ms();
    pump_init(&s->pump,
              profile == SERVE_POP3   ? pop3_session_make(&s->world.context, &s->peer)
              : profile == SERVE_HTTP ? http_session_make(&s->world.context, &s->peer)
              : profile == SERVE_IMAP ? imap_session_make(&s->world.context, &s->peer)
                                      : smtp_session_make(&s->world.context, &s->peer),
              SESSION_OUTPUT_MAX);
    pump_event(&s->pump, SESSION_EV_START);
}

static void scene_close(struct scene *s)
{
    assert_null(s->pump.breach);
    pump_release(&s->pump);
    world_close(&s->world);
    buf_release(&s->credential);
}

static void send(struct scene *s, const char *text) { pump_feed(&s->pump, str_of(text), SIZE_MAX); }

/* Sends `piece` again and again, every_ms apart or just before the timeout if that is sooner, until the session ends; its age then.
 */
static int64_t trickle(struct scene *s, const char *piece, int64_t every_ms, int64_t at_most_ms)
{
    while (!pump_closed(&s->pump) && clock_mono_ms() - s->began_ms < at_most_ms) {
        int64_t left = s->pump.timeout_ms;
        assert_true(left > 0);
        if (every_ms < left) {
            clock_sim_advance(every_ms);
            send(s, piece);
        } else {
            clock_sim_advance(left);
            pump_event(&s->pump, SESSION_EV_TIMEOUT);
        }
    }
    return clock_mono_ms() - s->began_ms;
}

static void ends_with(const struct scene *s, const char *reply)
{
    if (str_find(buf_str(&s->pump.said), str_of(reply)) == STR_NPOS)
        fail_msg("no '%s' in: %.*s", reply, STR_FMT(buf_str(&s->pump.said)));
}

/* A command that never ends is waited for as long as silence, not longer. */
static void test_a_command_byte_by_byte(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, SERVE_SMTP, "");
    assert_in_range(trickle(&s, "x", 30 * SECOND, 48 * HOUR), 5 * MINUTE, 6 * MINUTE);
    ends_with(&s, "421 ");
    scene_close(&s);
}

/* Each command counts anew, but all of them together have an end too. */
static void test_commands_without_end(void **state)
{
    (void)state;
    static const char *const pieces[] = {"NOOP\r\n", "RSET\r\n", "MAIL FROM:<a@b.example>\r\nRSET\r\n", "BDAT 1\r\nx"};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct scene s;
        scene_open(&s, SERVE_SMTP, "smtp { session_time_max = 4h idle_commands_max = 100000 errors_max = 10000 }");
        send(&s, "EHLO c.example\r\n");
        assert_in_range(trickle(&s, pieces[i], 4 * MINUTE, 48 * HOUR), 3 * HOUR + 50 * MINUTE, 4 * HOUR + 10 * MINUTE);
        ends_with(&s, "421 4.7.0 This session has lasted too long");
        scene_close(&s);
    }
}

#define TO_DATA "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<carolyn@xyz.com>\r\nDATA\r\n"

static void test_data_byte_by_byte(void **state)
{
    (void)state;
    static const char *const begin[] = {
        TO_DATA, "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<carolyn@xyz.com>\r\nBDAT 9999999\r\n", "BDAT 9999999\r\n"};
    for (size_t i = 0; i < sizeof begin / sizeof *begin; i++) {
        struct scene s;
        scene_open(&s, SERVE_SMTP, "");
        send(&s, begin[i]);
        assert_in_range(trickle(&s, "x", 20 * SECOND, 48 * HOUR), 3 * MINUTE, 4 * MINUTE);
        ends_with(&s, "421 ");
        scene_close(&s);
    }
}

/* A slow line is no crime: 600 bytes a second, a pause of two minutes in it, and an hour later the message is there. */
static void test_a_slow_line(void **state)
{
    (void)state;
    struct scene s;
    struct err e = {0};
    uint32_t count = 0;
    char block[6001];
    memset(block, 'x', sizeof block - 1);
    for (size_t i = 60; i + 2 < sizeof block; i += 60)
        memcpy(block + i, "\r\n", 2);
    block[sizeof block - 1] = '\0';
    scene_open(&s, SERVE_SMTP, "");
    send(&s, TO_DATA);
    trickle(&s, block, 10 * SECOND, 30 * MINUTE);
    clock_sim_advance(2 * MINUTE);
    trickle(&s, block, 10 * SECOND, HOUR);
    assert_false(pump_closed(&s.pump));
    send(&s, "\r\n.\r\n");
    ends_with(&s, "250 2.0.0 Accepted");
    assert_int_equal(world_inbox_count(&s.world, STR("carolyn@xyz.com"), &count, &e), ST_OK);
    assert_int_equal(count, 1);
    scene_close(&s);
}

/* What was sent quickly does not pay for hours of nothing. */
static void test_time_is_not_hoarded(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, SERVE_SMTP, "");
    send(&s, TO_DATA);
    for (int i = 0; i < 100000; i++)
        send(&s, "a line that comes at once, and many of them\r\n");
    assert_in_range(trickle(&s, "x", 20 * SECOND, 48 * HOUR), 3 * MINUTE, 4 * MINUTE);
    scene_close(&s);
}

static void test_before_the_login(void **state)
{
    (void)state;
    static const struct {
        enum serve_profile profile;
        const char *piece;
    } cases[] = {
        {SERVE_POP3, "x"},          {SERVE_POP3, "CAPA\r\n"}, {SERVE_IMAP, "x"},
        {SERVE_IMAP, "a NOOP\r\n"}, {SERVE_SUBMISSION, "x"},  {SERVE_SUBMISSION, "NOOP\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene s;
        scene_open(&s, cases[i].profile, "auth { login_time_max = 5m } pop3 { errors_max = 10000 }");
        assert_in_range(trickle(&s, cases[i].piece, 20 * SECOND, 48 * HOUR), 5 * MINUTE - SECOND, 5 * MINUTE + SECOND);
        scene_close(&s);
    }
}

/* A request has its time as a whole; the next one has it anew. */
static void test_http(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, SERVE_HTTP, "");
    assert_in_range(trickle(&s, "\r\n", 5 * SECOND, 48 * HOUR), 29 * SECOND, 31 * SECOND);
    scene_close(&s);
    scene_open(&s, SERVE_HTTP, "");
    send(&s, "GET /health HTTP/1.1\r\nX-Slow: ");
    assert_in_range(trickle(&s, "x", 5 * SECOND, 48 * HOUR), 29 * SECOND, 31 * SECOND);
    scene_close(&s);
    scene_open(&s, SERVE_HTTP, "");
    trickle(&s, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 20 * SECOND, 10 * MINUTE);
    assert_false(pump_closed(&s.pump));
    scene_close(&s);
}

/* Who logged in has the time that the RFCs give. */
static void test_after_the_login(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, SERVE_IMAP, "auth { login_time_max = 5m clear_text = true }");
    send(&s, "a LOGIN carolyn@xyz.com vegetables\r\n");
    trickle(&s, "b NOOP\r\n", 29 * MINUTE, 10 * HOUR);
    assert_false(pump_closed(&s.pump));
    scene_close(&s);
    scene_open(&s, SERVE_POP3, "auth { login_time_max = 5m clear_text = true }");
    send(&s, "USER carolyn@xyz.com\r\nPASS vegetables\r\n");
    trickle(&s, "NOOP\r\n", 9 * MINUTE, 10 * HOUR);
    assert_false(pump_closed(&s.pump));
    scene_close(&s);
}

static int quiet(void **state)
{
    (void)state;
    log_capture(log_quiet, NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_command_byte_by_byte),
        cmocka_unit_test(test_commands_without_end),
        cmocka_unit_test(test_data_byte_by_byte),
        cmocka_unit_test(test_a_slow_line),
        cmocka_unit_test(test_time_is_not_hoarded),
        cmocka_unit_test(test_before_the_login),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_after_the_login),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
