#include "serve/imap/frame.h"

#include <stdio.h>

#include "base/check.h"
#include "rt/settings.h"
#include "serve/imap/table.h"

enum { LITERAL_MINUS_MAX = 4096 /* RFC 7888 5 */, DISCARD_SLACK = 1 << 20 };

static bool is_authenticated(const struct imap_session *s) { return s->state != IMAP_NOT_AUTHENTICATED; }

static size_t text_max(const struct imap_session *s)
{
    return is_authenticated(s) ? (size_t)s->settings->imap_command_max : IMAP_PREAUTH_MAX;
}

/* ---- the announcement of a literal ---- */

/* "{n}", "{n+}" or "~{n}" at the end of a line: true, and *rest is the line without it. */
static bool literal_at_end(struct str line, struct imap_literal *l, struct str *rest)
{
    *l = (struct imap_literal){.synchronizing = true};
    size_t end = line.n, at;
    if (end < 3 || line.p[--end] != '}')
        return false;
    if (line.p[end - 1] == '+') {
        l->synchronizing = false;
        end--;
    }
    for (at = end; at > 0 && line.p[at - 1] >= '0' && line.p[at - 1] <= '9'; at--)
        ;
    if (at == 0 || line.p[at - 1] != '{' || !str_to_u64(str_sub(line, at, end - at), &l->size))
        return false;
    at--;
    if (at > 0 && line.p[at - 1] == '~') {
        l->literal8 = true;
        at--;
    }
    *rest = str_upto(line, at);
    return true;
}

static void go_on(struct imap_session *s, enum imap_phase phase, uint64_t left)
{
    s->phase = phase;
    s->left = left;
}

/* ---- refusing ---- */

/* What follows the refusal of a command whose line ended like this. The reply is kept. */
static void refuse_after(struct imap_session *s, struct str line)
{
    struct imap_literal l;
    struct str rest;
    s->text_begun = true;
    if (!literal_at_end(line, &l, &rest) || l.synchronizing) {
        imap_session_finish(s, IMAP_DONE); /* the client waits for "+", or for the reply: it gets the reply */
        return;
    }
    if (l.size > (uint64_t)s->settings->message_size_max + DISCARD_SLACK) {
        imap_say_bye(s, "[TOOBIG] The literal is too big"); /* RFC 7888 4: nobody reads that much in vain */
        return;
    }
    go_on(s, l.size ? IMAP_PHASE_DISCARD : IMAP_PHASE_SKIP, l.size);
}

/* ---- tag and command name ---- */

static void copy_tag(struct imap_session *s, struct str tag)
{
    memcpy(s->tag, tag.p, tag.n);
    s->tag[tag.n] = '\0';
}

/* Reads "tag SP [UID SP] name". False: the reply is kept. */
static bool begin(struct imap_session *s, struct str text)
{
    struct imap_command *c = &s->command;
    struct imap_args a = imap_args_of(text, &s->arena, false);
    struct str tag, name = STR_NONE;
    s->text_begun = true;
    if (!imap_parse_tag(&a, &tag) || tag.n >= IMAP_TAG_MAX) {
        imap_bad(s, "Expected a tag");
        return false;
    }
    copy_tag(s, tag);
    if (!imap_parse_space(&a) || !imap_parse_atom(&a, &name)) {
        imap_bad(s, "Expected a command");
        return false;
    }
    c->uid = str_eq_nocase(name, STR("UID"));
    if (c->uid && (!imap_parse_space(&a) || !imap_parse_atom(&a, &name))) {
        imap_bad(s, "Expected a command after UID");
        return false;
    }
    c->verb = imap_table_find(name);
    if (!c->verb || (c->uid && !(c->verb->flags & IMAP_VERB_UID))) {
        c->verb = NULL;
        imap_bad(s, "Unknown command");
        return false;
    }
    s->args_at = (uint32_t)rd_offset(&a.rd);
    if (c->verb->states & s->state)
        return true;
    imap_bad(s, s->state == IMAP_NOT_AUTHENTICATED          ? "Log in first"
                : c->verb->states == IMAP_NOT_AUTHENTICATED ? "Already logged in"
                                                            : "Select a mailbox first");
    return false;
}

/* ---- literals ---- */

static void begin_literal(struct imap_session *s, const struct imap_literal *l, enum imap_phase phase)
{
    if (l->synchronizing)
        imap_put(s, STR("+ Go ahead\r\n"));
    if (phase == IMAP_PHASE_STREAM)
        buf_clear(&s->text); /* what stood before is with the command */
    if (phase == IMAP_PHASE_STREAM)
        s->args_at = 0;
    go_on(s, l->size ? phase : IMAP_PHASE_LINE, l->size);
}

static void collect_literal(struct imap_session *s, const struct imap_literal *l, struct str line)
{
    size_t room = text_max(s) > s->text.n ? text_max(s) - s->text.n : 0;
    if (l->literal8) {
        imap_bad(s, "No binary literal is taken here");
    } else if (l->size > room) {
        imap_no(s, "TOOBIG", "The literal is too big");
    } else if (!l->synchronizing && s->settings->imap_literal_minus && l->size > LITERAL_MINUS_MAX) {
        imap_bad(s, "A literal of this size needs a continuation request");
    } else {
        buf_add(&s->text, STR("\r\n"));
        begin_literal(s, l, IMAP_PHASE_LITERAL);
        return;
    }
    refuse_after(s, line);
}

/* The line in s->text ends by announcing a literal; `rest` is the length without the announcement. */
static void announce(struct imap_session *s, const struct imap_literal *l, struct str line, size_t rest)
{
    struct imap_command *c = &s->command;
    enum imap_literal_verdict verdict = IMAP_LITERAL_COLLECT;
    if (c->verb->literal) {
        c->args = imap_args_of(str_sub(buf_str(&s->text), s->args_at, rest - s->args_at), &s->arena, imap_utf8(s));
        verdict = c->verb->literal(s, c, l);
    }
    switch (verdict) {
    case IMAP_LITERAL_COLLECT:
        collect_literal(s, l, line);
        return;
    case IMAP_LITERAL_STREAM:
        begin_literal(s, l, IMAP_PHASE_STREAM);
        return;
    case IMAP_LITERAL_REFUSE:
        refuse_after(s, line);
        return;
    }
}

/* ---- lines ---- */

static void take_line(struct imap_session *s, struct str line)
{
    struct imap_literal l;
    struct str rest;
    size_t before = s->text.n;
    if (before + line.n > text_max(s)) {
        if (!s->text_begun && !begin(s, str_upto(line, IMAP_TAG_MAX + 40)))
            buf_clear(&s->tagged);
        imap_bad(s, "The command is too long");
        refuse_after(s, line);
        return;
    }
    buf_add(&s->text, line);
    if (!buf_ok(&s->text)) {
        imap_no(s, "UNAVAILABLE", "Out of memory");
        refuse_after(s, line);
        return;
    }
    if (!s->text_begun && !begin(s, buf_str(&s->text))) {
        refuse_after(s, line);
        return;
    }
    if (literal_at_end(line, &l, &rest) && before + rest.n >= s->args_at)
        announce(s, &l, line, before + rest.n);
    else
        imap_session_start(s);
}

/* More than any line may have, and no end in sight: the tag is remembered, the rest thrown away (RFC 7888 3 wants to know how the
 * line ends). */
static size_t line_too_long(struct imap_session *s, struct str in)
{
    if (!s->text_begun && !begin(s, str_upto(in, IMAP_TAG_MAX + 40)))
        buf_clear(&s->tagged);
    imap_bad(s, "The line is too long");
    go_on(s, IMAP_PHASE_SKIP, 0);
    s->tail_size = 0;
    s->scanned = 0;
    return 0;
}

static void remember_tail(struct imap_session *s, struct str piece)
{
    size_t keep = piece.n < sizeof s->tail ? sizeof s->tail - piece.n : 0;
    if (keep > s->tail_size)
        keep = s->tail_size;
    memmove(s->tail, s->tail + s->tail_size - keep, keep);
    struct str last = piece.n > sizeof s->tail ? str_from(piece, piece.n - sizeof s->tail) : piece;
    memcpy(s->tail + keep, last.p, last.n);
    s->tail_size = (uint8_t)(keep + last.n);
}

static size_t skip(struct imap_session *s, struct str in)
{
    const char *lf = memchr(in.p, '\n', in.n);
    size_t n = lf ? (size_t)(lf - in.p) : in.n;
    remember_tail(s, str_upto(in, n));
    if (!lf)
        return n;
    struct str line = str_make(s->tail, s->tail_size);
    if (str_ends(line, STR("\r")))
        line.n--;
    s->tail_size = 0;
    refuse_after(s, line);
    return n + 1;
}

/* A whole line, for the framer or for the command that waits for it. */
static size_t line(struct imap_session *s, struct str in)
{
    const char *lf = in.n > s->scanned ? memchr(in.p + s->scanned, '\n', in.n - s->scanned) : NULL;
    size_t n = lf ? (size_t)(lf - in.p) + 1 : in.n;
    bool waiting = s->phase == IMAP_PHASE_WAIT;
    if (n > IMAP_LINE_MAX && waiting) {
        imap_say_bye(s, "The line is too long");
        return in.n;
    }
    if (n > IMAP_LINE_MAX) {
        line_too_long(s, in);
        return skip(s, in);
    }
    if (!lf) {
        s->scanned = (uint32_t)in.n;
        return 0;
    }
    s->scanned = 0;
    struct str text = {in.p, n - 1};
    if (str_ends(text, STR("\r")))
        text.n--; /* a bare LF ends a line too: what people type by hand */
    if (waiting)
        imap_session_finish(s, s->command.line(s, &s->command, text));
    else
        take_line(s, text);
    return n;
}

static size_t literal(struct imap_session *s, struct str in)
{
    struct str piece = str_upto(in, s->left < in.n ? (size_t)s->left : in.n);
    s->left -= piece.n;
    enum imap_phase next = IMAP_PHASE_LINE;
    if (s->phase == IMAP_PHASE_LITERAL)
        buf_add(&s->text, piece);
    else if (s->phase == IMAP_PHASE_STREAM)
        s->command.verb->stream(s, &s->command, piece);
    else
        next = IMAP_PHASE_SKIP;
    if (s->left == 0)
        go_on(s, next, 0);
    return piece.n;
}

size_t imap_frame_take(struct imap_session *s, struct str in)
{
    switch (s->phase) {
    case IMAP_PHASE_LINE:
    case IMAP_PHASE_WAIT:
        return line(s, in);
    case IMAP_PHASE_LITERAL:
    case IMAP_PHASE_STREAM:
    case IMAP_PHASE_DISCARD:
        return literal(s, in);
    case IMAP_PHASE_SKIP:
        return skip(s, in);
    case IMAP_PHASE_RUN:
    case IMAP_PHASE_BEFORE:
    case IMAP_PHASE_NEWS:
    case IMAP_PHASE_TLS:
    case IMAP_PHASE_CLOSED:
        break;
    }
    return 0;
}
