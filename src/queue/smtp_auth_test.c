/* SMTP AUTH of the client against GNU SASL's own server side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <gsasl.h>

#include "queue/smtp_auth.h"

#define USER     "elinor@abcd.com"
#define PASSWORD "vege tables"

struct server {
    Gsasl *gsasl;
    Gsasl_session *session;
    struct buf in, out, transcript;
    size_t out_at;
    const char *mechanisms, *used; /* used: what the client asked for */
    bool lies;                     /* says 235 without any proof */
    bool endless;                  /* asks on and on */
};

static int callback(Gsasl *g, Gsasl_session *session, Gsasl_property property)
{
    (void)g;
    switch ((int)property) {
    case GSASL_PASSWORD:
        gsasl_property_set(session, GSASL_PASSWORD, PASSWORD);
        return GSASL_OK;
    case GSASL_VALIDATE_SIMPLE: {
        const char *user = gsasl_property_fast(session, GSASL_AUTHID), *password = gsasl_property_fast(session, GSASL_PASSWORD);
        return user && password && strcmp(user, USER) == 0 && strcmp(password, PASSWORD) == 0 ? GSASL_OK
                                                                                              : GSASL_AUTHENTICATION_ERROR;
    }
    default:
        return GSASL_NO_CALLBACK;
    }
}

static void step(struct server *s, const char *in)
{
    char *out = NULL;
    int rc = gsasl_step64(s->session, in, &out);
    if (rc == GSASL_NEEDS_MORE || (rc == GSASL_OK && out && out[0]))
        buf_printf(&s->out, "334 %s\r\n", out);
    else
        buf_add_z(&s->out, rc == GSASL_OK ? "235 2.7.0 welcome\r\n" : "535 5.7.8 no\r\n");
    if (rc == GSASL_OK || rc == GSASL_NEEDS_MORE)
        gsasl_free(out);
}

static void begin(struct server *s, char *line)
{
    char *mechanism = line + 5, *initial = strchr(mechanism, ' ');
    if (initial)
        *initial++ = '\0';
    s->used = strstr(s->mechanisms, mechanism);
    if (gsasl_server_start(s->gsasl, mechanism, &s->session) != GSASL_OK) {
        buf_add_z(&s->out, "504 5.5.4 what\r\n");
        return;
    }
    step(s, initial && strcmp(initial, "=") != 0 ? initial : "");
}

static enum st wire_write(void *context, struct str bytes, unsigned timeout_ms, struct err *e)
{
    struct server *s = context;
    size_t at;
    (void)timeout_ms;
    (void)e;
    buf_add(&s->in, bytes);
    while ((at = str_find(buf_str(&s->in), STR("\r\n"))) != STR_NPOS) {
        char line[4096];
        snprintf(line, sizeof line, "%.*s", (int)at, s->in.p);
        buf_drop_front(&s->in, at + 2);
        buf_add_z(&s->transcript, line);
        buf_add_c(&s->transcript, '\n');
        if (strncmp(line, "EHLO", 4) == 0)
            buf_printf(&s->out, "250-mx\r\n250 AUTH %s\r\n", s->mechanisms);
        else if (s->lies)
            buf_add_z(&s->out, "235 2.7.0 welcome\r\n");
        else if (s->endless)
            buf_add_z(&s->out, "334 \r\n");
        else if (strncmp(line, "AUTH ", 5) == 0)
            begin(s, line);
        else if (line[0] == '\0' && s->session) /* the answer to the server's proof */
            buf_add_z(&s->out, "235 2.7.0 welcome\r\n");
        else
            step(s, line);
    }
    return ST_OK;
}

static enum st wire_read_line(void *context, size_t max, unsigned timeout_ms, struct str *line, struct err *e)
{
    struct server *s = context;
    struct str rest = str_from(buf_str(&s->out), s->out_at);
    size_t at = str_find(rest, STR("\r\n"));
    (void)timeout_ms;
    ENSURE(at != STR_NPOS && at <= max, e, ST_TEMP, "closed");
    *line = str_upto(rest, at);
    s->out_at += at + 2;
    return ST_OK;
}

static enum st wire_start_tls(void *context, struct err *e)
{
    (void)context;
    return ERR_PUBLIC(e, ST_TEMP, "no TLS here");
}

static const struct {
    const char *mechanisms, *user, *password;
    bool clear_text, lies, endless;
    enum st want;
    const char *used;
} cases[] = {
    {"PLAIN LOGIN SCRAM-SHA-256", USER, PASSWORD, true, false, false, ST_OK, "SCRAM-SHA-256"},
    {"SCRAM-SHA-1 PLAIN", USER, PASSWORD, false, false, false, ST_OK, "SCRAM-SHA-1"},
    {"LOGIN PLAIN", USER, PASSWORD, true, false, false, ST_OK, "PLAIN"},
    {"LOGIN", USER, PASSWORD, true, false, false, ST_OK, "LOGIN"},
    {"LOGIN PLAIN", USER, PASSWORD, false, false, false, ST_PERM, NULL},
    {"", USER, PASSWORD, true, false, false, ST_PERM, NULL},
    {"XOAUTH2", USER, PASSWORD, true, false, false, ST_PERM, NULL},
    {"PLAIN", USER, "wrong", true, false, false, ST_DENIED, "PLAIN"},
    {"LOGIN", USER, "wrong", true, false, false, ST_DENIED, "LOGIN"},
    {"SCRAM-SHA-256", USER, "wrong", true, false, false, ST_DENIED, "SCRAM-SHA-256"},
    {"SCRAM-SHA-256", USER, PASSWORD, true, true, false, ST_DENIED, NULL}, /* a server that does not know the password */
    {"SCRAM-SHA-256", USER, PASSWORD, true, false, true, ST_DENIED, NULL},
    {"PLAIN", USER, PASSWORD, true, false, true, ST_PERM, NULL},
};

static void test_auth(void **state)
{
    static const struct smtp_client_times times = {1000, 1000, 1000, 1000, 1000, 1000};
    Gsasl *gsasl;
    (void)state;
    assert_int_equal(gsasl_init(&gsasl), GSASL_OK);
    gsasl_callback_set(gsasl, callback);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server s = {.gsasl = gsasl,
                           .in = BUF_INIT(1 << 16),
                           .out = BUF_INIT(1 << 16),
                           .transcript = BUF_INIT(1 << 16),
                           .mechanisms = cases[i].mechanisms,
                           .lies = cases[i].lies,
                           .endless = cases[i].endless};
        struct smtp_wire wire = {&s, wire_write, wire_read_line, wire_start_tls};
        struct smtp_client client;
        struct err e = {0};
        smtp_client_init(&client, &wire, &times, STR("me.test"));
        buf_add_z(&s.out, "220 mx\r\n");
        assert_int_equal(smtp_client_greet(&client), SMTP_HELLO_OK);
        enum st got = smtp_auth(&client, cases[i].user, cases[i].password, cases[i].clear_text, &e);
        if (got != cases[i].want || (cases[i].used && (!s.used || strncmp(s.used, cases[i].used, strlen(cases[i].used)) != 0)))
            fail_msg("case %zu (%s): got %s (%s), used %s", i, cases[i].mechanisms, st_name(got), e.text,
                     s.used ? s.used : "nothing");
        if (s.session)
            gsasl_finish(s.session);
        smtp_client_release(&client);
        buf_release(&s.in);
        buf_release(&s.out);
        buf_release(&s.transcript);
    }
    gsasl_done(gsasl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_auth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
