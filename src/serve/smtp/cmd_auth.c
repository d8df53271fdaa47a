/* AUTH (RFC 4954): base64, cancelling, challenges. Mechanisms, passwords and throttling are auth/login.h. */
#include "format/base64.h"
#include "serve/smtp/table.h"

bool smtp_cmd_auth_offered(const struct smtp_session *s)
{
    return s->profile == SERVE_SUBMISSION || (s->profile == SERVE_SMTP && s->settings->smtp_auth);
}

void smtp_cmd_auth_keywords(struct smtp_session *s)
{
    DEFER(buf_release) struct buf names = BUF_INIT(512);
    if (!smtp_cmd_auth_offered(s) || s->authenticated)
        return;
    auth_mechanisms(s->services->auth, s->base.peer, "", " ", &names);
    if (buf_ok(&names) && names.n)
        smtp_keyword(s, "AUTH %.*s", STR_FMT(str_trim(buf_str(&names))));
}

/* The exchange is over without success. Too many of them end the session. */
static enum smtp_next failed(struct smtp_session *s, enum smtp_say what)
{
    sasl_free(s->sasl);
    s->sasl = NULL;
    s->state = SMTP_READY;
    smtp_say(s, what);
    if (++s->auth_failures < s->settings->smtp_auth_failures_max)
        return SMTP_NEXT_COMMAND;
    smtp_say(s, SMTP_SAY_TOO_MANY_ERRORS);
    return SMTP_NEXT_CLOSE;
}

static enum smtp_say say_of(enum st st)
{
    switch (st) {
    case ST_DENIED:
    case ST_NOTFOUND:
        return SMTP_SAY_AUTH_FAILED;
    case ST_PERM:
        return SMTP_SAY_AUTH_BAD_EXCHANGE;
    case ST_OK:
    case ST_TEMP:
    case ST_EXISTS:
    case ST_CONFLICT:
    case ST_LIMIT:
    case ST_CORRUPT:
    case ST_BUG:
        return SMTP_SAY_AUTH_TEMPORARY;
    }
    return SMTP_SAY_AUTH_TEMPORARY;
}

static enum smtp_next succeeded(struct smtp_session *s)
{
    sasl_free(s->sasl);
    s->sasl = NULL;
    s->state = SMTP_READY;
    s->authenticated = true;
    s->auth_failures = 0;
    smtp_say(s, SMTP_SAY_AUTHENTICATED);
    return SMTP_NEXT_COMMAND;
}

static enum smtp_next exchange(struct smtp_session *s, bool have_in, struct str in)
{
    DEFER(buf_release) struct buf challenge = BUF_INIT(SMTP_SASL_OUT_MAX);
    DEFER(buf_release) struct buf text = BUF_INIT(SMTP_SASL_OUT_MAX * 2);
    enum sasl_status status = SASL_MORE;
    struct err e = {0};
    enum st st = sasl_step(s->sasl, have_in, in, &challenge, &status, &s->who, &e);
    if (st != ST_OK) {
        return failed(s, say_of(st));
    }
    if (status == SASL_DONE)
        return succeeded(s); /* RFC 4954 4: additional data with success does not exist in SMTP; sasl_step sees to that */
    base64_encode(buf_str(&challenge), &text);
    if (!buf_ok(&challenge) || !buf_ok(&text))
        return failed(s, SMTP_SAY_AUTH_TEMPORARY);
    s->state = SMTP_SASL;
    buf_add(s->out, STR("334 "));
    buf_add(s->out, buf_str(&text));
    buf_add(s->out, STR("\r\n"));
    return SMTP_NEXT_COMMAND;
}

static enum smtp_next response(struct smtp_session *s, struct str text)
{
    DEFER(buf_release) struct buf in = BUF_INIT(SMTP_LINE_MAX);
    if (!base64_decode(text, &in) || !buf_ok(&in))
        return failed(s, SMTP_SAY_AUTH_BAD_BASE64);
    enum smtp_next next = exchange(s, true, in.p ? buf_str(&in) : STR(""));
    if (in.p)
        explicit_bzero(in.p, in.n);
    return next;
}

enum smtp_next smtp_cmd_auth_line(struct smtp_session *s, struct str line)
{
    if (str_eq(line, STR("*")))
        return failed(s, SMTP_SAY_AUTH_CANCELLED);
    return response(s, line);
}

/* Why the mechanism is not on offer. */
static enum smtp_say refusal(const struct smtp_session *s, struct str mechanism)
{
    bool clear = str_eq_nocase(mechanism, STR("PLAIN")) || str_eq_nocase(mechanism, STR("LOGIN"));
    return clear && !auth_clear_text_allowed(s->base.peer) ? SMTP_SAY_AUTH_NEEDS_TLS : SMTP_SAY_AUTH_MECHANISM;
}

enum smtp_next smtp_cmd_auth(struct smtp_session *s, struct str arg)
{
    struct str mechanism, initial;
    struct err e = {0};
    enum smtp_say no = SMTP_SAY_NONE;
    if (s->authenticated)
        no = SMTP_SAY_BAD_SEQUENCE; /* RFC 4954 4: once */
    else if (!smtp_cmd_auth_offered(s))
        no = SMTP_SAY_NOT_IMPLEMENTED;
    else if (smtp_auth_parse(arg, &mechanism, &initial, &e) != ST_OK)
        no = SMTP_SAY_SYNTAX;
    if (no != SMTP_SAY_NONE) {
        smtp_say(s, no);
        return SMTP_NEXT_COMMAND;
    }
    enum st st = sasl_begin(s->services->auth, AUTH_SMTP, s->base.peer, mechanism, &s->sasl, &e);
    if (st != ST_OK) {
        s->sasl = NULL;
        smtp_say(s, st == ST_PERM ? refusal(s, mechanism) : say_of(st));
        return SMTP_NEXT_COMMAND;
    }
    if (!initial.p)
        return exchange(s, false, STR_NONE);
    return response(s, str_eq(initial, STR("=")) ? STR("") : initial);
}
