#include "queue/smtp_auth.h"

#include <gsasl.h>
#include <stdlib.h>

#include "base/buf.h"

enum { STEPS_MAX = 10 };

static const struct {
    const char *name;
    bool clear_text; /* shows the password to the other side */
    bool mutual;     /* the other side must prove that it knows it, too */
} mechanisms[] = {
    {"SCRAM-SHA-256", false, true},
    {"SCRAM-SHA-1", false, true},
    {"PLAIN", true, false},
    {"LOGIN", true, false},
};

static enum st refused(const struct smtp_client *c, struct err *e)
{
    if (c->broken)
        return ERR_PUBLIC(e, ST_TEMP, "%s", c->why);
    return ERR_PUBLIC(e, c->reply.code / 100 == 5 ? ST_DENIED : ST_TEMP, "%d login refused", c->reply.code);
}

static bool say(struct smtp_client *c, struct buf *line)
{
    bool ok = buf_ok(line) && smtp_client_command(c, buf_str(line), c->times.command);
    buf_clear(line);
    return ok;
}

/* The server's challenge in, our answer out, until it says 235. */
static enum st converse(struct smtp_client *c, Gsasl_session *session, const char *mechanism, bool mutual, struct err *e)
{
    DEFER(buf_release) struct buf line = BUF_INIT(SMTP_AUTH_LINE_MAX);
    DEFER(buf_release) struct buf challenge = BUF_INIT(SMTP_AUTH_LINE_MAX);
    int rc = GSASL_NEEDS_MORE;
    buf_printf(&line, "AUTH %s", mechanism);
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        char *out = NULL;
        bool first = i == 0;
        if (!first || mechanism[0] != 'L') { /* LOGIN waits for the server */
            rc = gsasl_step64(session, first ? NULL : buf_z(&challenge), &out);
            ENSURE(rc == GSASL_OK || rc == GSASL_NEEDS_MORE, e, ST_DENIED, "The server's proof is wrong");
            if (first)
                buf_add_c(&line, ' ');
            buf_add_z(&line, first && !out[0] ? "=" : out);
            gsasl_free(out);
        }
        if (!say(c, &line))
            return refused(c, e);
        if (c->reply.code == 235) {
            ENSURE(!mutual || rc == GSASL_OK, e, ST_DENIED, "The server gave no proof");
            return ST_OK;
        }
        if (c->reply.code != 334)
            return refused(c, e);
        buf_clear(&challenge);
        buf_add(&challenge, buf_str(&c->reply.text));
    }
    return ERR_PUBLIC(e, ST_PERM, "The login has no end");
}

static enum st run(struct smtp_client *c, Gsasl *gsasl, size_t which, const char *user, const char *password, struct err *e)
{
    Gsasl_session *session;
    ENSURE(gsasl_client_start(gsasl, mechanisms[which].name, &session) == GSASL_OK, e, ST_TEMP, "Out of memory");
    bool ok = gsasl_property_set(session, GSASL_AUTHID, user) == GSASL_OK &&
              gsasl_property_set(session, GSASL_PASSWORD, password) == GSASL_OK;
    enum st st =
        ok ? converse(c, session, mechanisms[which].name, mechanisms[which].mutual, e) : ERR_PUBLIC(e, ST_TEMP, "Out of memory");
    gsasl_finish(session);
    return st;
}

enum st smtp_auth(struct smtp_client *c, const char *user, const char *password, bool clear_text, struct err *e)
{
    Gsasl *gsasl;
    ENSURE(gsasl_init(&gsasl) == GSASL_OK, e, ST_TEMP, "Out of memory");
    enum st st = ERR_PUBLIC(e, ST_PERM, "No way to log in that is safe on this connection");
    for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++) {
        if (!smtp_ehlo_has_auth(&c->ehlo, str_of(mechanisms[i].name)) || (mechanisms[i].clear_text && !clear_text) ||
            !gsasl_client_support_p(gsasl, mechanisms[i].name))
            continue;
        st = run(c, gsasl, i, user, password, e);
        break;
    }
    gsasl_done(gsasl);
    return st;
}
