#include "serve/pop3/pop3.h"

#include <stdlib.h>

#include "base/check.h"
#include "serve/login_time.h"
#include "serve/pop3/report.h"
#include "serve/pop3/table.h"

enum { LEASE_SLACK_MS = 60000 };

/* ---- state ---- */

void pop3_session_forget(struct pop3_session *s)
{
    maildrop_free(s->drop);
    s->drop = NULL;
    sasl_free(s->sasl);
    s->sasl = NULL;
    s->who = (struct identity){0};
    s->user_given = s->utf8 = false;
    s->name_size = 0;
    s->answer = (struct pop3_answer){0};
    s->state = POP3_AUTHORIZATION;
}

bool pop3_session_check(const struct pop3_session *s)
{
    bool drop = s->drop != NULL, sasl = s->sasl != NULL, answer = s->answer.more != NULL;
    switch (s->state) {
    case POP3_AUTHORIZATION:
    case POP3_TLS:
        return !drop && !sasl && !answer;
    case POP3_SASL:
        return !drop && sasl && !answer;
    case POP3_TRANSACTION:
        return drop && !sasl && !answer;
    case POP3_ANSWERING:
        return drop && !sasl && answer;
    case POP3_CLOSED:
        return true;
    }
    return false;
}

static unsigned lease_ms(const struct pop3_session *s) { return (unsigned)s->settings->pop3_timeout_ms + LEASE_SLACK_MS; }

void pop3_session_login(struct pop3_session *s)
{
    struct err e = {0};
    struct pop3_maildrop_how how = {
        .messages_max = (uint32_t)s->settings->pop3_messages_max,
        .exclusive = s->settings->pop3_exclusive,
        .lease_ms = lease_ms(s),
    };
    enum st st = maildrop_open(s->services->store, s->who.account, &how, &s->drop, &e);
    if (st != ST_OK && st != ST_CONFLICT)
        pop3_report_open(s, &e);
    if (st == ST_CONFLICT) {
        pop3_err(s, POP3_CODE_IN_USE, "another session has this maildrop open");
    } else if (st != ST_OK) {
        pop3_err(s, POP3_CODE_SYS_TEMP, "the maildrop cannot be opened at the moment");
    } else {
        s->state = POP3_TRANSACTION;
        pop3_ok(s, "%u messages, %llu octets", s->drop->count, (unsigned long long)s->drop->bytes);
        return;
    }
    s->drop = NULL;
    s->who = (struct identity){0};
}

void pop3_session_answer(struct pop3_session *s, struct pop3_answer answer)
{
    s->answer = answer;
    s->state = POP3_ANSWERING;
}

/* ---- lines ---- */

/* "verb argument"; a secret argument keeps its spaces (RFC 1939 7: PASS). */
static void split(struct str line, struct str *verb, struct str *arg)
{
    size_t space = str_find_char(line, ' ');
    *verb = str_upto(line, space);
    *arg = space == STR_NPOS ? STR_NONE : str_from(line, space + 1);
}

static enum pop3_next refuse(struct pop3_session *s, const char *why)
{
    pop3_err(s, POP3_CODE_NONE, "%s", why);
    return POP3_NEXT_COMMAND;
}

/* The lease of an exclusive maildrop lives as long as the session may be silent. */
static bool lease_lost(struct pop3_session *s)
{
    struct err e = {0};
    return s->drop && maildrop_renew(s->drop, lease_ms(s), &e) == ST_CONFLICT;
}

static enum pop3_next command(struct pop3_session *s, struct str line, size_t wire)
{
    struct str verb, arg;
    size_t index;
    split(line, &verb, &arg);
    const struct pop3_command *c = pop3_table_find(verb, &index);
    pop3_report_command(s);
    if (wire > (c ? c->line_max : (unsigned)POP3_COMMAND_LINE_MAX))
        return refuse(s, "line too long");
    if (!c)
        return refuse(s, "unknown command");
    if (!(c->flags & POP3_SECRET))
        arg = str_trim(arg);
    if (!(c->states & (1u << s->state)))
        return refuse(s, s->state == POP3_TRANSACTION ? "not after the login" : "log in first");
    if ((c->flags & POP3_NO_ARGUMENT) && arg.n)
        return refuse(s, "this command has no argument");
    if ((c->flags & POP3_NEED_ARGUMENT) && !arg.n)
        return refuse(s, "an argument is missing");
    if (lease_lost(s)) {
        pop3_err(s, POP3_CODE_SYS_TEMP, "another session took over the maildrop");
        return POP3_NEXT_CLOSE;
    }
    return c->run(s, arg);
}

/* Lines end with CRLF; a bare LF is taken for one too: here it decides nothing. */
static void line_take(struct pop3_session *s, struct str wire)
{
    struct str line = str_upto(wire, wire.n - 1);
    if (str_ends(line, STR("\r")))
        line = str_upto(line, line.n - 1);
    s->commands++;
    bool sound = str_find_char(line, '\r') == STR_NPOS && str_find_char(line, '\0') == STR_NPOS;
    enum pop3_next next;
    if (s->state == POP3_SASL) /* RFC 5034 4: a broken line ends the exchange; with its LF it is not base64 */
        next = pop3_cmd_auth_line(s, sound ? line : wire);
    else if (!sound)
        next = refuse(s, "CR or NUL in a line");
    else
        next = command(s, line, wire.n);
    if (next == POP3_NEXT_CLOSE)
        s->state = POP3_CLOSED;
    else if (next == POP3_NEXT_TLS)
        s->state = POP3_TLS;
}

static void line_too_long(struct pop3_session *s)
{
    s->skip_line = false;
    s->commands++;
    if (s->state == POP3_SASL) {
        sasl_free(s->sasl);
        s->sasl = NULL;
        s->state = POP3_AUTHORIZATION;
    }
    refuse(s, "line too long");
}

static size_t take_line(struct pop3_session *s, struct str in)
{
    const char *lf = memchr(in.p, '\n', in.n);
    size_t n = lf ? (size_t)(lf - in.p) + 1 : 0;
    if (!lf && in.n <= POP3_LINE_MAX && !s->skip_line)
        return 0;
    if (!lf) {
        s->skip_line = true;
        return in.n;
    }
    if (s->skip_line || n > POP3_LINE_MAX)
        line_too_long(s);
    else
        line_take(s, (struct str){in.p, n});
    return n;
}

/* ---- step ---- */

static void event_take(struct pop3_session *s, enum session_event event)
{
    switch (event) {
    case SESSION_EV_START:
        pop3_ok(s, "%s POP3 Postrider", s->services->hostname); /* RFC 1939 4; no timestamp: no APOP */
        break;
    case SESSION_EV_TLS:
        s->state = POP3_AUTHORIZATION;
        break;
    case SESSION_EV_TIMEOUT:
        s->state = POP3_CLOSED; /* RFC 1939 3: no reply, no update */
        break;
    case SESSION_EV_STOPPING:
        if (s->state == POP3_AUTHORIZATION || s->state == POP3_SASL || s->state == POP3_TRANSACTION)
            pop3_err(s, POP3_CODE_SYS_TEMP, "shutting down, nothing was removed");
        s->state = POP3_CLOSED;
        break;
    case SESSION_EV_EOF:
        s->eof = true;
        break;
    case SESSION_EV_INPUT:
    case SESSION_EV_OUTPUT:
    case SESSION_EV_WAKE:
        break;
    }
}

static void limits_check(struct pop3_session *s)
{
    if (s->state > POP3_TRANSACTION)
        return;
    if (s->errors < s->settings->pop3_errors_max && s->commands < s->settings->pop3_commands_max)
        return;
    pop3_err(s, POP3_CODE_NONE, "too many %s, closing", s->errors < s->settings->pop3_errors_max ? "commands" : "errors");
    s->state = POP3_CLOSED;
}

/* More of the answer under way; false: the output buffer is full. */
static bool answer(struct pop3_session *s)
{
    switch (s->answer.more(s)) {
    case POP3_MORE:
        return false;
    case POP3_DONE:
        s->answer = (struct pop3_answer){0};
        s->state = POP3_TRANSACTION;
        return true;
    case POP3_BROKEN: /* in the middle of an answer there is no way to say so */
        s->state = POP3_CLOSED;
        return true;
    }
    return true;
}

static enum session_outcome run(struct pop3_session *s, struct session_io *io)
{
    for (;;) {
        if (s->state == POP3_CLOSED)
            return SESSION_CLOSE;
        if (s->state == POP3_TLS) {
            if (s->eof)
                return SESSION_CLOSE;
            io->used = io->in.n; /* plain text behind STLS never existed */
            return SESSION_TLS;
        }
        if (buf_room(s->out) < SESSION_OUTPUT_LOW)
            return SESSION_OUTPUT;
        if (s->state == POP3_ANSWERING) {
            if (!answer(s))
                return SESSION_OUTPUT;
            continue;
        }
        struct str in = str_from(io->in, io->used);
        size_t n = in.n ? take_line(s, in) : 0;
        io->used += n;
        if (n == 0) {
            if (!s->eof)
                return SESSION_INPUT;
            s->state = POP3_CLOSED; /* a lost connection removes nothing (RFC 1939 6) */
        }
        limits_check(s);
    }
}

static enum session_outcome session_step(struct session *base, struct session_io *io)
{
    struct pop3_session *s = (struct pop3_session *)base;
    s->out = io->out;
    bool late = io->event == SESSION_EV_INPUT && !s->drop && login_time_over(s->settings, s->began_ms);
    event_take(s, late ? SESSION_EV_TIMEOUT : io->event);
    enum session_outcome outcome = run(s, io);
    io->timeout_ms = s->drop ? (unsigned)s->settings->pop3_timeout_ms
                             : login_time_left(s->settings, s->began_ms, s->settings->pop3_login_timeout_ms);
    s->out = NULL;
    return always(pop3_session_check(s)) ? outcome : SESSION_CLOSE;
}

static void session_free(struct session *base)
{
    struct pop3_session *s = (struct pop3_session *)base;
    pop3_report_end(s);
    maildrop_free(s->drop);
    sasl_free(s->sasl);
    settings_unref(s->settings);
    explicit_bzero(s, sizeof *s);
    free(s);
}

struct session *pop3_session_make(void *context, const struct session_peer *peer)
{
    static const struct session_class class = {"pop3", session_step, session_free};
    const struct serve_context *c = context;
    struct pop3_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->base.class = &class;
    s->base.peer = peer;
    s->services = c->services;
    s->tls_available = c->tls_available;
    s->settings = settings_current();
    s->began_ms = clock_mono_ms();
    return &s->base;
}
