/* AUTH (RFC 5034). */
#include "format/base64.h"
#include "serve/pop3/table.h"

static void mechanisms(struct pop3_session *s, const char *between, struct buf *out)
{
    auth_mechanisms(s->services->auth, s->base.peer, "", between, out);
}

void pop3_cmd_auth_capability(struct pop3_session *s)
{
    DEFER(buf_release) struct buf names = BUF_INIT(400);
    mechanisms(s, " ", &names);
    if (names.n && buf_ok(&names))
        pop3_line(s, "SASL %.*s", STR_FMT(str_trim(buf_str(&names))));
}

static void sasl_end(struct pop3_session *s)
{
    sasl_free(s->sasl);
    s->sasl = NULL;
    s->state = POP3_AUTHORIZATION;
}

static enum pop3_next failed(struct pop3_session *s, const char *text)
{
    struct err e = {0};
    sasl_end(s);
    return ERR_PUBLIC(&e, ST_PERM, "%s", text) == ST_OK ? POP3_NEXT_CLOSE : pop3_login_failed(s, &e);
}

static enum pop3_next exchange(struct pop3_session *s, bool have_in, struct str in)
{
    DEFER(buf_release) struct buf challenge = BUF_INIT(POP3_SASL_OUT_MAX);
    DEFER(buf_release) struct buf text = BUF_INIT(POP3_SASL_OUT_MAX * 2);
    enum sasl_status status = SASL_MORE;
    struct err e = {0};
    if (sasl_step(s->sasl, have_in, in, &challenge, &status, &s->who, &e) != ST_OK) {
        sasl_end(s);
        return pop3_login_failed(s, &e);
    }
    if (status == SASL_DONE) {
        sasl_end(s);
        pop3_session_login(s);
        return POP3_NEXT_COMMAND;
    }
    base64_encode(buf_str(&challenge), &text);
    if (!buf_ok(&challenge) || !buf_ok(&text))
        return failed(s, "the exchange is too long");
    s->state = POP3_SASL;
    buf_add(s->out, STR("+ "));
    buf_add(s->out, buf_str(&text));
    buf_add(s->out, STR("\r\n"));
    return POP3_NEXT_COMMAND;
}

static enum pop3_next response(struct pop3_session *s, struct str text)
{
    DEFER(buf_release) struct buf in = BUF_INIT(POP3_LINE_MAX);
    if (!base64_decode(text, &in) || !buf_ok(&in))
        return failed(s, "not base64");
    enum pop3_next next = exchange(s, true, in.p ? buf_str(&in) : STR(""));
    if (in.p)
        explicit_bzero(in.p, in.n);
    return next;
}

enum pop3_next pop3_cmd_auth_line(struct pop3_session *s, struct str line)
{
    if (str_eq(line, STR("*")))
        return failed(s, "authentication cancelled");
    return response(s, line);
}

/* AUTH alone lists the mechanisms, one a line: older than CAPA, and still asked for. */
static enum pop3_next list(struct pop3_session *s)
{
    DEFER(buf_release) struct buf names = BUF_INIT(400);
    struct str rest, name;
    mechanisms(s, " ", &names);
    rest = buf_str(&names);
    pop3_ok(s, "mechanisms follow");
    while (str_split(&rest, ' ', &name))
        if (name.n)
            pop3_line(s, "%.*s", STR_FMT(name));
    pop3_end(s);
    return POP3_NEXT_COMMAND;
}

enum pop3_next pop3_cmd_auth(struct pop3_session *s, struct str arg)
{
    struct err e = {0};
    arg = str_trim(arg);
    if (arg.n == 0)
        return list(s);
    size_t space = str_find_char(arg, ' ');
    struct str mechanism = str_upto(arg, space);
    struct str initial = space == STR_NPOS ? STR_NONE : str_trim(str_from(arg, space + 1));
    if (sasl_begin(s->services->auth, AUTH_POP3, s->base.peer, mechanism, &s->sasl, &e) != ST_OK) {
        s->sasl = NULL;
        pop3_err_of(s, &e);
        return POP3_NEXT_COMMAND;
    }
    s->user_given = false;
    if (space == STR_NPOS)
        return exchange(s, false, STR_NONE);
    return response(s, str_eq(initial, STR("=")) ? STR("") : initial);
}
