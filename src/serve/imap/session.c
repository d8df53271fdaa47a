/* One session in steps: runs what the framer collected, tells news, writes the reply, goes on. */
#include "serve/imap/imap.h"

#include <stdlib.h>

#include "base/check.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "rt/settings.h"
#include "serve/imap/frame.h"
#include "serve/imap/table.h"
#include "serve/login_time.h"

/* ---- ending ---- */

void imap_say_bye(struct imap_session *s, const char *text)
{
    if (!s->said_bye && s->out)
        imap_putf(s, "* BYE %s\r\n", text);
    s->said_bye = true;
    s->state = IMAP_CLOSING;
    s->phase = IMAP_PHASE_CLOSED;
}

/* What a command leaves: nothing. */
static void command_end(struct imap_session *s)
{
    struct imap_command *c = &s->command;
    if (c->release)
        c->release(c->state);
    *c = (struct imap_command){0};
    s->info = NULL;
    arena_release(&s->arena);
    buf_clear(&s->text);
    buf_clear(&s->tagged);
    s->tag[0] = '\0';
    s->text_begun = false;
    s->say_modseq = false;
    s->reply_begun = false;
    s->after = IMAP_DONE;
    s->args_at = 0;
}

static void trim(struct imap_session *s)
{
    buf_release(&s->text);
    buf_release(&s->tagged);
    arena_release(&s->arena);
    s->info = NULL;
}

/* ---- running a command ---- */

static bool arguments_fit(struct imap_session *s)
{
    struct imap_command *c = &s->command;
    unsigned flags = c->verb->flags;
    c->args = imap_args_of(str_from(buf_str(&s->text), s->args_at), &s->arena, imap_utf8(s));
    bool none = imap_at_end(&c->args);
    if (!(flags & IMAP_VERB_ARGS))
        return none || (imap_bad(s, "%s has no arguments", c->verb->name), false);
    if (none && (flags & IMAP_VERB_OPTIONAL_ARGS))
        return true;
    return imap_parse_space(&c->args) || (imap_bad_args(s, c), false);
}

static void run(struct imap_session *s)
{
    s->commands++;
    metrics_one(METRIC_IMAP_COMMANDS);
    s->phase = IMAP_PHASE_RUN;
    imap_session_finish(s, s->command.verb->run(s, &s->command));
}

void imap_session_start(struct imap_session *s)
{
    bool streamed = s->command.verb->literal && s->command.state; /* then the rest is the handler's to judge */
    if (streamed) {
        s->command.args = imap_args_of(buf_str(&s->text), &s->arena, imap_utf8(s));
    } else if (!arguments_fit(s)) {
        imap_session_finish(s, IMAP_DONE);
        return;
    }
    if ((s->command.verb->flags & IMAP_VERB_NEWS_BEFORE) && s->state == IMAP_SELECTED) {
        imap_sync_begin(s, false);
        s->phase = s->phase == IMAP_PHASE_CLOSED ? s->phase : IMAP_PHASE_BEFORE;
        return;
    }
    run(s);
}

void imap_session_finish(struct imap_session *s, enum imap_next next)
{
    const struct imap_verb *v = s->command.verb;
    if (s->phase == IMAP_PHASE_CLOSED)
        return;
    switch (next) {
    case IMAP_MORE:
        s->phase = IMAP_PHASE_RUN;
        return;
    case IMAP_WAIT:
        s->phase = IMAP_PHASE_WAIT;
        return;
    case IMAP_DONE:
    case IMAP_TLS:
    case IMAP_CLOSE:
        break;
    }
    s->after = next;
    s->phase = IMAP_PHASE_NEWS;
    if (s->state == IMAP_SELECTED && v && !(v->flags & IMAP_VERB_NO_NEWS))
        imap_sync_begin(s, !(v->flags & IMAP_VERB_NO_EXPUNGE) || (s->command.uid && !s->command.keep_expunges));
}

/* While an EXPUNGE may not be told yet, higher mod-sequences may have been: the client must know that it does not know all up to
 * there (RFC 7162 3.2, 6). */
static void put_safe_modseq(struct imap_session *s)
{
    if (s->state == IMAP_SELECTED && imap_qresync(s) && !uidset_empty(&s->selected.expunged))
        imap_putf(s, "* OK [HIGHESTMODSEQ %llu] Expunges are not told yet\r\n", (unsigned long long)s->selected.safe_modseq);
}

/* Writes the tagged reply, in pieces if need be; true when it is out. */
static bool write_reply(struct imap_session *s)
{
    if (!s->reply_begun) {
        struct str reply = buf_str(&s->tagged);
        put_safe_modseq(s);
        imap_put(s, s->tag[0] ? str_of(s->tag) : STR("*"));
        if (s->say_modseq && str_starts(reply, STR("OK ")) && s->selected.id) {
            imap_putf(s, " OK [HIGHESTMODSEQ %llu]", (unsigned long long)s->selected.safe_modseq);
            buf_drop_front(&s->tagged, 2);
        } else {
            imap_put(s, STR(" "));
        }
        s->reply_begun = true;
    }
    size_t n = s->tagged.n < buf_room(s->out) - 2 ? s->tagged.n : buf_room(s->out) - 2;
    imap_put(s, str_upto(buf_str(&s->tagged), n));
    buf_drop_front(&s->tagged, n);
    if (s->tagged.n > 0)
        return false;
    imap_put(s, STR("\r\n"));
    return true;
}

static void end_of_command(struct imap_session *s)
{
    enum imap_next after = s->after;
    command_end(s);
    s->phase = IMAP_PHASE_LINE;
    if (after == IMAP_TLS)
        s->phase = IMAP_PHASE_TLS;
    if (after == IMAP_CLOSE)
        s->phase = IMAP_PHASE_CLOSED;
    if (s->phase == IMAP_PHASE_LINE && s->bad_commands >= (unsigned)s->settings->imap_errors_max)
        imap_say_bye(s, "Too many errors");
    if (s->phase == IMAP_PHASE_LINE && s->auth_failures >= (unsigned)s->settings->imap_auth_failures_max)
        imap_say_bye(s, "Too many failed logins");
}

/* Phases in which the session has something to say. False: it must wait for room. */
static bool speak(struct imap_session *s)
{
    if (s->phase == IMAP_PHASE_RUN) {
        enum imap_next next = s->command.resume(s, &s->command);
        imap_session_finish(s, next);
        return next != IMAP_MORE;
    }
    if (imap_sync_step(s) == IMAP_MORE)
        return false;
    if (s->phase == IMAP_PHASE_BEFORE) {
        run(s);
        return s->phase != IMAP_PHASE_RUN;
    }
    if (s->phase == IMAP_PHASE_NEWS && !write_reply(s))
        return false;
    if (s->phase == IMAP_PHASE_NEWS)
        end_of_command(s);
    return true;
}

/* ---- events ---- */

static void greet(struct imap_session *s)
{
    DEFER(buf_release) struct buf capabilities = BUF_INIT(4096);
    imap_table_capabilities(s, &capabilities);
    imap_put(s, s->preauth ? STR("* PREAUTH [CAPABILITY ") : STR("* OK [CAPABILITY "));
    imap_put(s, buf_str(&capabilities));
    imap_putf(s, "] %.200s Postrider ready\r\n", s->services->hostname);
}

static void event_take(struct imap_session *s, enum session_event event)
{
    bool mid_answer = s->phase == IMAP_PHASE_RUN; /* perhaps inside a literal: then nothing can be said */
    switch (event) {
    case SESSION_EV_START:
        greet(s);
        break;
    case SESSION_EV_TLS:
        s->phase = IMAP_PHASE_LINE;
        s->enabled = 0;
        break;
    case SESSION_EV_TIMEOUT:
        s->said_bye = s->said_bye || mid_answer;
        imap_say_bye(s, s->state == IMAP_NOT_AUTHENTICATED ? "Nobody logged in" : "Nothing was said for too long");
        break;
    case SESSION_EV_STOPPING:
        s->said_bye = s->said_bye || mid_answer || s->phase == IMAP_PHASE_TLS;
        imap_say_bye(s, "[UNAVAILABLE] The server stops, come back later");
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

/* ---- step ---- */

static bool has_news(const struct imap_session *s)
{
    return s->phase == IMAP_PHASE_WAIT && s->command.news && atomic_load(&s->news);
}

/* Nothing to do until more comes. */
static enum session_outcome rest(struct imap_session *s)
{
    if (s->eof) {
        s->phase = IMAP_PHASE_CLOSED;
        return SESSION_CLOSE;
    }
    if (s->phase == IMAP_PHASE_WAIT && s->command.news) {
        trim(s);
        return SESSION_PARKED;
    }
    if (s->phase == IMAP_PHASE_LINE && !s->text_begun)
        trim(s);
    return SESSION_INPUT;
}

static enum session_outcome go(struct imap_session *s, struct session_io *io)
{
    for (;;) {
        if (s->phase == IMAP_PHASE_CLOSED)
            return SESSION_CLOSE;
        if (s->phase == IMAP_PHASE_TLS && s->eof)
            return SESSION_CLOSE;
        if (s->phase == IMAP_PHASE_TLS) {
            io->used = io->in.n; /* plain text behind STARTTLS never existed (CVE-2011-0411) */
            return SESSION_TLS;
        }
        if (!imap_room(s))
            return SESSION_OUTPUT;
        if (s->phase == IMAP_PHASE_RUN || s->phase == IMAP_PHASE_BEFORE || s->phase == IMAP_PHASE_NEWS) {
            if (!speak(s))
                return SESSION_OUTPUT;
            continue;
        }
        if (has_news(s)) {
            imap_session_finish(s, s->command.news(s, &s->command));
            continue;
        }
        struct str in = str_from(io->in, io->used);
        size_t n = in.n ? imap_frame_take(s, in) : 0;
        io->used += n;
        s->bytes_in += n;
        if (n == 0)
            return rest(s);
    }
}

static enum session_outcome session_step(struct session *base, struct session_io *io)
{
    struct imap_session *s = (struct imap_session *)base;
    size_t before = io->out->n;
    s->out = io->out;
    bool late = io->event == SESSION_EV_INPUT && s->state == IMAP_NOT_AUTHENTICATED && login_time_over(s->settings, s->started_ms);
    event_take(s, late ? SESSION_EV_TIMEOUT : io->event);
    enum session_outcome outcome = go(s, io);
    s->bytes_out += io->out->n - before;
    io->timeout_ms = s->state == IMAP_NOT_AUTHENTICATED
                         ? login_time_left(s->settings, s->started_ms, s->settings->imap_login_timeout_ms)
                         : (unsigned)s->settings->imap_timeout_ms;
    s->out = NULL;
    return outcome;
}

/* ---- the selected mailbox ---- */

void imap_deselect(struct imap_session *s)
{
    struct imap_selected *m = &s->selected;
    if (m->id)
        account_unwatch(s->account, &s->watch);
    uidset_release(&m->uids);
    uidset_release(&m->expunged);
    uidset_release(&m->saved);
    uidset_release(&m->recent);
    uidset_release(&s->sync.changed);
    uidset_release(&s->sync.own);
    *m = (struct imap_selected){0};
    s->sync = (struct imap_sync){0};
    s->info = NULL;
    atomic_store(&s->news, false);
    if (s->state == IMAP_SELECTED)
        s->state = IMAP_AUTHENTICATED;
}

/* ---- life ---- */

enum st imap_session_login(struct imap_session *s, const struct identity *who, struct err *e)
{
    struct account *account;
    TRY(account_open(s->services->store, who->account, &account, e));
    s->account = account;
    s->who = *who;
    s->state = IMAP_AUTHENTICATED;
    return ST_OK;
}

static void session_free(struct session *base)
{
    struct imap_session *s = (struct imap_session *)base;
    if (s->command.release)
        s->command.release(s->command.state);
    imap_deselect(s);
    if (s->account)
        account_unref(s->account);
    sasl_free(s->sasl);
    log_event(LOG_INFO, "imap.session", LOG_UINT("session", s->base.id), LOG_Z("client", s->base.peer->address),
              LOG_Z("user", s->who.address), LOG_UINT("commands", s->commands), LOG_UINT("in", s->bytes_in),
              LOG_UINT("out", s->bytes_out), LOG_MS("took", clock_mono_ms() - s->started_ms));
    settings_unref(s->settings);
    trim(s);
    explicit_bzero(s, sizeof *s);
    free(s);
}

static const struct session_class imap_class = {"imap", session_step, session_free};

struct session *imap_session_make(void *context, const struct session_peer *peer)
{
    const struct serve_context *c = context;
    struct imap_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->base.class = &imap_class;
    s->base.peer = peer;
    s->services = c->services;
    s->settings = settings_current();
    s->tls_available = c->tls_available;
    s->state = IMAP_NOT_AUTHENTICATED;
    s->phase = IMAP_PHASE_LINE;
    s->started_ms = clock_mono_ms();
    arena_init(&s->arena, IMAP_ARENA_MAX);
    buf_init(&s->text, (size_t)s->settings->imap_command_max + IMAP_LINE_MAX);
    buf_init(&s->tagged, IMAP_TAGGED_MAX);
    atomic_init(&s->news, false);
    atomic_init(&s->idling, false);
    return &s->base;
}

struct session *imap_session_make_preauth(void *context, const struct session_peer *peer, const struct identity *who)
{
    struct session *base = imap_session_make(context, peer);
    struct imap_session *s = (struct imap_session *)base;
    struct err e = {0};
    if (!s)
        return NULL;
    if (imap_session_login(s, who, &e) != ST_OK) {
        log_event(LOG_WARN, "imap.preauth", LOG_Z("user", who->address), LOG_ERR(&e));
        session_free(base);
        return NULL;
    }
    s->preauth = true;
    return base;
}
