#include "serve/smtp/smtp.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "serve/smtp/client.h"
#include "serve/smtp/report.h"
#include "serve/smtp/table.h"
#include "serve/smtp/transaction.h"

/* ---- state ---- */

void smtp_session_reset(struct smtp_session *s)
{
    smtp_transaction_end(s);
    s->state = s->helo_size ? SMTP_READY : SMTP_NEW;
}

void smtp_session_forget(struct smtp_session *s)
{
    s->helo_size = 0;
    s->extended = false;
    s->authenticated = false;
    s->who = (struct identity){0};
    sasl_free(s->sasl);
    s->sasl = NULL;
    smtp_session_reset(s);
}

bool smtp_session_check(const struct smtp_session *s)
{
    bool transaction = s->transaction != NULL, sasl = s->sasl != NULL;
    switch (s->state) {
    case SMTP_NEW:
        return !transaction && !sasl && s->helo_size == 0 && !s->authenticated;
    case SMTP_READY:
        return !transaction && !sasl && s->helo_size > 0;
    case SMTP_MAIL:
    case SMTP_BDAT:
    case SMTP_DATA:
    case SMTP_ANSWERS:
        return transaction && !sasl && s->helo_size > 0;
    case SMTP_SASL:
        return !transaction && sasl && !s->authenticated;
    case SMTP_CHUNK:
        return !sasl && s->chunk.left > 0;
    case SMTP_LOOKUP:
        return !transaction && !sasl && s->helo_size == 0 && s->naming;
    case SMTP_TLS:
        return !transaction && !sasl;
    case SMTP_CLOSED:
        return true;
    }
    return false;
}

static void session_close(struct smtp_session *s) { s->state = SMTP_CLOSED; }

/* Says 421 and the like, and ends the session. An unfinished transaction is dropped: nothing was acknowledged. */
static void close_with(struct smtp_session *s, enum smtp_say what)
{
    if (s->transaction)
        s->transaction->result = what;
    if (s->state == SMTP_CLOSED || s->state == SMTP_TLS)
        what = SMTP_SAY_NONE; /* in the middle of a handshake nobody would hear plain text */
    smtp_say(s, what);
    session_close(s);
}

/* ---- lines ---- */

static enum smtp_next unknown(struct smtp_session *s)
{
    s->errors++; /* counts twice: guessing commands is not what mail clients do */
    smtp_say(s, SMTP_SAY_UNKNOWN_COMMAND);
    return SMTP_NEXT_COMMAND;
}

static enum smtp_next out_of_order(struct smtp_session *s)
{
    smtp_say(s, s->state == SMTP_NEW ? SMTP_SAY_HELLO_FIRST : SMTP_SAY_BAD_SEQUENCE);
    return SMTP_NEXT_COMMAND;
}

static enum smtp_next say(struct smtp_session *s, enum smtp_say what)
{
    smtp_say(s, what);
    return SMTP_NEXT_COMMAND;
}

static enum smtp_next command(struct smtp_session *s, struct str line, size_t wire)
{
    struct str verb, arg;
    size_t index;
    smtp_command_split(line, &verb, &arg);
    const struct smtp_command *c = smtp_table_find(verb, s->profile, &index);
    smtp_report_command(s);
    if (wire > (c ? c->line_max : (unsigned)SMTP_COMMAND_LINE_MAX))
        return say(s, SMTP_SAY_LINE_TOO_LONG);
    if (!c)
        return unknown(s);
    if (!(c->states & (1u << s->state)))
        return out_of_order(s);
    if ((c->flags & SMTP_NO_ARGUMENT) && arg.n)
        return say(s, SMTP_SAY_NO_PARAMETERS);
    if ((c->flags & SMTP_NEED_ARGUMENT) && !arg.n)
        return say(s, SMTP_SAY_SYNTAX);
    if (c->flags & SMTP_IDLE)
        s->idle_commands++;
    return c->run(s, arg);
}

/* A line with its CRLF, or what stood in for one. */
static void line_take(struct smtp_session *s, struct str wire)
{
    struct str line = str_upto(wire, wire.n - 1);
    bool crlf = str_ends(line, STR("\r"));
    if (crlf)
        line = str_upto(line, line.n - 1);
    s->commands++;
    s->pace.moved = true;
    bool sound = str_find_char(line, '\r') == STR_NPOS && str_find_char(line, '\0') == STR_NPOS;
    sound = sound && (crlf || s->settings->smtp_command_lf);
    enum smtp_next next;
    if (s->state == SMTP_SASL) /* RFC 4954 4: a broken line ends the exchange; with its CR or LF it is not base64 */
        next = smtp_cmd_auth_line(s, sound ? line : wire);
    else if (!sound)
        next = say(s, SMTP_SAY_BAD_LINE_END); /* RFC 5321 2.3.8 */
    else
        next = command(s, line, wire.n);
    if (next == SMTP_NEXT_CLOSE)
        session_close(s);
    else if (next == SMTP_NEXT_TLS)
        s->state = SMTP_TLS;
}

/* A line that is too long is thrown away up to its end; only then it is answered, so that it does not matter how it arrived. */
static void line_too_long(struct smtp_session *s)
{
    s->skip_line = false;
    s->commands++;
    s->pace.moved = true;
    if (s->state == SMTP_SASL) {
        sasl_free(s->sasl);
        s->sasl = NULL;
        s->state = SMTP_READY;
        smtp_say(s, SMTP_SAY_AUTH_TOO_LONG); /* RFC 4954 4 */
    } else {
        smtp_say(s, SMTP_SAY_LINE_TOO_LONG);
    }
}

/* Takes one line off the input; the number of bytes taken, 0: more input is needed. */
static size_t take_line(struct smtp_session *s, struct str in)
{
    const char *lf = memchr(in.p, '\n', in.n);
    size_t n = lf ? (size_t)(lf - in.p) + 1 : 0;
    if (!lf && in.n <= SMTP_LINE_MAX && !s->skip_line)
        return 0;
    if (!lf) {
        s->skip_line = true;
        return in.n;
    }
    if (s->skip_line || n > SMTP_LINE_MAX)
        line_too_long(s);
    else
        line_take(s, (struct str){in.p, n});
    return n;
}

/* ---- message data ---- */

/* Data that nobody wants is read to its end all the same (RFC 5321 4.1.1.4), but not without limit: a client that goes on and on
 * has been told what it needs to know in the reply before the close. */
static bool over_budget(struct smtp_session *s, uint64_t unwanted)
{
    if (unwanted <= smtp_size_max(s) + SESSION_INPUT_MAX)
        return false;
    close_with(s, SMTP_SAY_TOO_BIG);
    return true;
}

static size_t take_data(struct smtp_session *s, struct str in)
{
    struct smtp_transaction *t = s->transaction;
    struct str rest = in, piece;
    while (dot_decode_next(&t->dot, &rest, &piece))
        smtp_transaction_write(s, piece);
    s->pace.bytes += in.n - rest.n;
    s->pace.moved |= t->dot.done;
    if (t->dot.done)
        smtp_transaction_finish(s);
    else
        over_budget(s, t->size > smtp_size_max(s) ? t->size - smtp_size_max(s) : 0);
    return in.n - rest.n;
}

static void chunk_end(struct smtp_session *s)
{
    struct smtp_transaction *t = s->transaction;
    enum smtp_say verdict = (enum smtp_say)s->chunk.verdict;
    s->state = s->chunk.back;
    if (verdict == SMTP_SAY_NONE && t && s->chunk.last) {
        smtp_transaction_finish(s);
        return;
    }
    if (verdict == SMTP_SAY_NONE && t) {
        s->state = SMTP_BDAT;
        if (t->verdict == SMTP_SAY_NONE)
            smtp_sayf(s, SMTP_SAY_CHUNK_OK, "%llu bytes taken", (unsigned long long)t->size);
        else
            smtp_say(s, t->verdict);
        return;
    }
    /* RFC 2033 4.3: as many replies to LAST as recipients, here none */
    if (!(s->profile == SERVE_LMTP && s->chunk.last && verdict == SMTP_SAY_NO_RECIPIENTS))
        smtp_say(s, verdict);
    if (s->chunk.last && t)
        smtp_session_reset(s);
}

static size_t take_chunk(struct smtp_session *s, struct str in)
{
    struct str piece = str_upto(in, s->chunk.left < in.n ? (size_t)s->chunk.left : in.n);
    s->chunk.left -= piece.n;
    s->pace.bytes += piece.n;
    s->pace.moved |= s->chunk.left == 0;
    if (s->chunk.verdict == SMTP_SAY_NONE && s->transaction)
        smtp_transaction_write(s, piece);
    if (s->chunk.left == 0)
        chunk_end(s);
    return piece.n;
}

/* Why the bytes of the chunk are not wanted; SMTP_SAY_NONE: they are. */
static enum smtp_say chunk_unwanted(const struct smtp_session *s)
{
    if (s->chunk.verdict != SMTP_SAY_NONE || !s->transaction)
        return (enum smtp_say)s->chunk.verdict;
    return s->transaction->verdict;
}

void smtp_session_chunk(struct smtp_session *s)
{
    enum smtp_say unwanted = chunk_unwanted(s);
    if (unwanted != SMTP_SAY_NONE && s->chunk.left > smtp_size_max(s) + SESSION_INPUT_MAX)
        close_with(s, unwanted); /* more than will be read in vain */
    else if (s->chunk.left == 0)
        chunk_end(s);
    else
        s->state = SMTP_CHUNK;
}

/* ---- step ---- */

static void greet(struct smtp_session *s)
{
    s->state = SMTP_NEW;
    s->pace.moved = true;
    char text[300];
    int n = snprintf(text, sizeof text, "%.200s %s Postrider", s->services->hostname, s->profile == SERVE_LMTP ? "LMTP" : "ESMTP");
    smtp_say_line(s, SMTP_SAY_GREETING, false, str_make(text, n > 0 ? (size_t)n : 0));
}

/* RFC 5321 3.1; with the client's name, if it can be had. */
static void begin(struct smtp_session *s)
{
    smtp_pace_begin(s);
    if (smtp_client_begin(s))
        s->state = SMTP_LOOKUP;
    else
        greet(s);
}

/* In LOOKUP: true when the session went on. What a client sends before the greeting is left for later, as long as it fits. */
static bool lookup_over(struct smtp_session *s, const struct session_io *io)
{
    if (!smtp_client_ready(s) && io->event != SESSION_EV_TIMEOUT && !io->in_full && !s->eof)
        return false;
    smtp_client_end(s);
    greet(s);
    return true;
}

/* What an event does before input is looked at. */
static void event_take(struct smtp_session *s, enum session_event event)
{
    switch (event) {
    case SESSION_EV_START:
        begin(s);
        break;
    case SESSION_EV_TLS:
        s->pace.moved = true;
        s->state = SMTP_NEW; /* RFC 3207 4.2: as after the greeting; STARTTLS already forgot the rest */
        break;
    case SESSION_EV_TIMEOUT:
        if (s->state != SMTP_LOOKUP)
            close_with(s, smtp_pace_over(s) ? SMTP_SAY_TOO_LONG : SMTP_SAY_TIMEOUT);
        break;
    case SESSION_EV_STOPPING:
        if (s->state == SMTP_ANSWERS)
            s->stopping = true; /* what was taken is told before */
        else
            close_with(s, SMTP_SAY_STOPPING); /* RFC 5321 3.8 */
        break;
    case SESSION_EV_EOF:
        s->eof = true;
        break;
    case SESSION_EV_OUTPUT:
        s->pace.moved = true; /* how long the peer may take to read is the owner's */
        break;
    case SESSION_EV_INPUT:
    case SESSION_EV_WAKE:
        break;
    }
}

/* Takes some input; 0: it needs more. */
static size_t advance(struct smtp_session *s, struct str in)
{
    switch (s->state) {
    case SMTP_DATA:
        return take_data(s, in);
    case SMTP_CHUNK:
        return take_chunk(s, in);
    case SMTP_NEW:
    case SMTP_READY:
    case SMTP_MAIL:
    case SMTP_BDAT:
    case SMTP_SASL:
        return take_line(s, in);
    case SMTP_LOOKUP:
    case SMTP_ANSWERS:
    case SMTP_TLS:
    case SMTP_CLOSED:
        break;
    }
    return 0;
}

/* Is the session's budget used up? Asked after each command, never in the middle of data. */
static void limits_check(struct smtp_session *s)
{
    if (s->state > SMTP_SASL)
        return;
    if (s->errors >= s->settings->smtp_errors_max)
        close_with(s, SMTP_SAY_TOO_MANY_ERRORS);
    else if (s->commands >= s->settings->smtp_commands_max || s->idle_commands >= s->settings->smtp_idle_commands_max)
        close_with(s, SMTP_SAY_TOO_MANY_COMMANDS);
    else if (s->pace.moved && smtp_pace_over(s))
        close_with(s, SMTP_SAY_TOO_LONG);
}

static enum session_outcome run(struct smtp_session *s, struct session_io *io)
{
    for (;;) {
        if (s->state == SMTP_CLOSED)
            return SESSION_CLOSE;
        if (s->state == SMTP_TLS) {
            if (s->eof)
                return SESSION_CLOSE;
            io->used = io->in.n; /* what came behind STARTTLS in plain text never existed (CVE-2011-0411) */
            return SESSION_TLS;
        }
        if (buf_room(s->out) < SESSION_OUTPUT_LOW)
            return SESSION_OUTPUT;
        if (s->state == SMTP_LOOKUP) {
            if (!lookup_over(s, io))
                return SESSION_INPUT;
            continue;
        }
        if (s->state == SMTP_ANSWERS) {
            if (!smtp_transaction_answer(s))
                return SESSION_OUTPUT;
            if (s->stopping)
                close_with(s, SMTP_SAY_STOPPING);
            continue;
        }
        struct str in = str_from(io->in, io->used);
        size_t n = in.n ? advance(s, in) : 0;
        io->used += n;
        if (n == 0) {
            if (!s->eof)
                return SESSION_INPUT;
            session_close(s);
        }
        limits_check(s);
    }
}

static enum session_outcome session_step(struct session *base, struct session_io *io)
{
    struct smtp_session *s = (struct smtp_session *)base;
    s->out = io->out;
    bool late = io->event == SESSION_EV_INPUT && smtp_pace_late(s);
    event_take(s, late ? SESSION_EV_TIMEOUT : io->event);
    enum session_outcome outcome = run(s, io);
    io->timeout_ms = smtp_pace_end(s);
    s->out = NULL;
    return always(smtp_session_check(s)) ? outcome : SESSION_CLOSE;
}

static void session_free(struct session *base)
{
    struct smtp_session *s = (struct smtp_session *)base;
    smtp_transaction_end(s);
    sasl_free(s->sasl);
    smtp_client_end(s);
    smtp_report_end(s);
    free(s->client_name);
    settings_unref(s->settings);
    explicit_bzero(s, sizeof *s);
    free(s);
}

static const struct session_class classes[] = {
    [SERVE_SMTP] = {"smtp", session_step, session_free},
    [SERVE_SUBMISSION] = {"submission", session_step, session_free},
    [SERVE_LMTP] = {"lmtp", session_step, session_free},
};

struct session *smtp_session_make(void *context, const struct session_peer *peer)
{
    const struct serve_context *c = context;
    if (!always((unsigned)c->profile < sizeof classes / sizeof classes[0]))
        return NULL;
    struct smtp_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->base.class = &classes[c->profile];
    s->base.peer = peer;
    s->services = c->services;
    s->profile = c->profile;
    s->tls_available = c->tls_available;
    s->state = SMTP_NEW;
    s->settings = settings_current();
    return &s->base;
}
