/* What is told of a client and of a message: the client's name from DNS, and one id in the Received field, the reply, the log and
 * the queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dns/resolver.h"
#include "queue/queue.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "serve/testing/pump.h"
#include "serve/testing/world.h"

#define ZONE                                                                                                                       \
    "1.2.0.192.in-addr.arpa PTR good.example\n"                                                                                    \
    "good.example A 192.0.2.1\n"                                                                                                   \
    "2.2.0.192.in-addr.arpa PTR liar.example\n"                                                                                    \
    "liar.example A 192.0.2.99\n"                                                                                                  \
    "3.2.0.192.in-addr.arpa PTR liar.example\n"                                                                                    \
    "3.2.0.192.in-addr.arpa PTR third.example\n"                                                                                   \
    "third.example A 192.0.2.98\n"                                                                                                 \
    "third.example A 192.0.2.3\n"                                                                                                  \
    "4.2.0.192.in-addr.arpa TEMP\n"                                                                                                \
    "5.2.0.192.in-addr.arpa SILENT\n"                                                                                              \
    "6.2.0.192.in-addr.arpa PTR six.example\n"                                                                                     \
    "six.example SILENT\n"                                                                                                         \
    "7.2.0.192.in-addr.arpa PTR x(y;z.example\n"                                                                                   \
    "x(y;z.example A 192.0.2.7\n"                                                                                                  \
    "8.2.0.192.in-addr.arpa PTR localhost\n"                                                                                       \
    "localhost A 192.0.2.8\n"                                                                                                      \
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six6.example\n"                                  \
    "six6.example AAAA 2001:db8::1\n"

struct scene {
    struct world world;
    struct session_peer peer;
    struct pump pump;
    struct buf credential;
    struct resolver *resolver;
};

/* The fields of the last smtp.transaction. */
struct seen {
    char id[64], client_name[300];
};
static struct seen seen;

static void keep(const struct log_field *fields, size_t count, const char *name, char *out, size_t room)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0 && fields[i].s.n < room) {
            if (fields[i].s.n)
                memcpy(out, fields[i].s.p, fields[i].s.n);
            out[fields[i].s.n] = '\0';
        }
}

static bool log_look(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level;
    if (strcmp(event, "smtp.transaction") == 0) {
        seen = (struct seen){{0}, {0}};
        keep(fields, count, "id", seen.id, sizeof seen.id);
        keep(fields, count, "client_name", seen.client_name, sizeof seen.client_name);
    }
    return true;
}

static void scene_open(struct scene *s, enum serve_profile profile, const char *client, const char *settings_text)
{
    struct err e = {0};
    struct settings *settings;
    *s = (struct scene){.credential = BUF_INIT(4096)};
    assert_int_equal(settings_parse("test", str_of(settings_text), &settings, &e), ST_OK);
    settings_use(&settings);
    assert_int_equal(world_credential(&s->credential, &e), ST_OK);
    assert_int_equal(world_open(&s->world, buf_str(&s->credential), &e), ST_OK);
    assert_int_equal(resolver_static(STR(ZONE), &s->resolver, &e), ST_OK);
    s->world.services.resolver = s->resolver;
    s->world.context.profile = profile;
    snprintf(s->peer.address, sizeof s->peer.address, "%s", client);
    s->peer.loopback = strcmp(client, "127.0.0.1") == 0;
    pump_init(&s->pump, smtp_session_make(&s->world.context, &s->peer), SESSION_OUTPUT_MAX);
    pump_event(&s->pump, SESSION_EV_START);
}

static void scene_close(struct scene *s)
{
    assert_null(s->pump.breach);
    pump_release(&s->pump);
    resolver_close(s->resolver);
    world_close(&s->world);
    buf_release(&s->credential);
}

static void send(struct scene *s, const char *text) { pump_feed(&s->pump, str_of(text), SIZE_MAX); }

static bool said(const struct scene *s, const char *text) { return str_find(buf_str(&s->pump.said), str_of(text)) != STR_NPOS; }

#define MESSAGE "DATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"

static void inbox_has(struct scene *s, const char *text)
{
    DEFER(buf_release) struct buf bytes = BUF_INIT(1 << 20);
    struct err e = {0};
    assert_int_equal(world_inbox_read(&s->world, STR("carolyn@xyz.com"), 1, &bytes, &e), ST_OK);
    if (str_find(buf_str(&bytes), str_of(text)) == STR_NPOS)
        fail_msg("no '%s' in: %.*s", text, STR_FMT(buf_str(&bytes)));
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *client, *name, *field;
    } cases[] = {
        {"192.0.2.1", "good.example", "from c.example (good.example [192.0.2.1])"},
        {"192.0.2.2", "", "from c.example ([192.0.2.2])"}, /* its name leads elsewhere */
        {"192.0.2.3", "third.example", "from c.example (third.example [192.0.2.3])"},
        {"192.0.2.4", "", "from c.example ([192.0.2.4])"},
        {"192.0.2.7", "", "from c.example ([192.0.2.7])"}, /* no host name */
        {"192.0.2.8", "", "from c.example ([192.0.2.8])"},
        {"192.0.2.9", "", "from c.example ([192.0.2.9])"},
        {"2001:db8::1", "six6.example", "from c.example (six6.example [IPv6:2001:db8::1])"},
        {"127.0.0.1", "", "from c.example ([127.0.0.1])"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene s;
        scene_open(&s, SERVE_SMTP, cases[i].client, "");
        assert_true(said(&s, "220 "));
        send(&s, "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<carolyn@xyz.com>\r\n" MESSAGE);
        inbox_has(&s, cases[i].field);
        assert_string_equal(seen.client_name, cases[i].name);
        scene_close(&s);
    }
}

/* DNS that does not answer costs the client_name_timeout, once, and nothing else. */
static void test_silent_dns(void **state)
{
    (void)state;
    static const char *const clients[] = {"192.0.2.5", "192.0.2.6"};
    for (size_t i = 0; i < 2; i++) {
        struct scene s;
        scene_open(&s, SERVE_SMTP, clients[i], "smtp { client_name_timeout = 3s }");
        assert_int_equal(s.pump.said.n, 0);
        assert_int_equal(s.pump.outcome, SESSION_INPUT);
        assert_in_range(s.pump.timeout_ms, 1, 3000);
        send(&s, "EHLO c.ex"); /* too early, but not lost */
        assert_int_equal(s.pump.said.n, 0);
        clock_sim_advance(3000);
        pump_event(&s.pump, SESSION_EV_TIMEOUT);
        assert_true(str_starts(buf_str(&s.pump.said), STR("220 ")));
        send(&s, "ample\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<carolyn@xyz.com>\r\n" MESSAGE);
        assert_true(said(&s, "250 2.0.0 Accepted"));
        scene_close(&s);
    }
}

/* Not asked for, not waited for; ended while it is under way. */
static void test_off_and_early_ends(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, SERVE_SMTP, "192.0.2.5", "smtp { client_names = false }");
    assert_true(said(&s, "220 "));
    scene_close(&s);
    scene_open(&s, SERVE_LMTP, "192.0.2.5", "");
    assert_true(said(&s, "220 "));
    scene_close(&s);
    scene_open(&s, SERVE_SUBMISSION, "192.0.2.5", ""); /* whose address is not told */
    assert_true(said(&s, "220 "));
    scene_close(&s);
    scene_open(&s, SERVE_SUBMISSION, "192.0.2.5", "submission { hide_client = false }");
    assert_int_equal(s.pump.said.n, 0);
    scene_close(&s);
    scene_open(&s, SERVE_SMTP, "192.0.2.5", "");
    pump_event(&s.pump, SESSION_EV_STOPPING);
    assert_true(str_starts(buf_str(&s.pump.said), STR("421 ")));
    assert_true(pump_closed(&s.pump));
    scene_close(&s);
    scene_open(&s, SERVE_SMTP, "192.0.2.5", "");
    pump_event(&s.pump, SESSION_EV_EOF);
    assert_true(pump_closed(&s.pump));
    scene_close(&s);
}

static bool find_id(void *context, const struct queue_info *info)
{
    *(bool *)context = *(bool *)context || str_starts(str_of(info->id), str_of(seen.id));
    return true;
}

static void test_one_id(void **state)
{
    (void)state;
    struct scene s;
    struct err e = {0};
    char text[300];
    bool found = false;
    scene_open(&s, SERVE_SMTP, "127.0.0.1", "");
    s.world.services.demo = true;
    send(&s, "EHLO c.example\r\nMAIL FROM:<elinor@abcd.com>\r\nRCPT TO:<carolyn@xyz.com>\r\nRCPT TO:<bob@far.example>\r\n" MESSAGE);
    assert_int_equal(strlen(seen.id), 18);
    snprintf(text, sizeof text, "250 2.0.0 Accepted as %s\r\n", seen.id);
    assert_true(said(&s, text));
    snprintf(text, sizeof text, "\r\n\tid %s", seen.id);
    inbox_has(&s, text);
    assert_int_equal(queue_list(s.world.queue, NULL, find_id, &found, &e), ST_OK);
    assert_true(found);
    scene_close(&s);
}

static int quiet(void **state)
{
    (void)state;
    log_capture(log_look, NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_silent_dns),
        cmocka_unit_test(test_off_and_early_ends),
        cmocka_unit_test(test_one_id),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
