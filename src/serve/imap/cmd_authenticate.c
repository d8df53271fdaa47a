#include "format/base64.h"
#include "serve/imap/cmd_auth.h"

enum { SASL_BYTES_MAX = 48 << 10 };

static void wipe(struct buf *b)
{
    if (b->p)
        explicit_bzero(b->p, b->cap);
    buf_release(b);
}

static enum imap_next end(struct imap_session *s, enum imap_next next)
{
    sasl_free(s->sasl);
    s->sasl = NULL;
    if (s->text.p)
        explicit_bzero(s->text.p, s->text.n);
    return next;
}

static enum imap_next answer(struct imap_session *s, struct imap_command *c, struct str line);

static enum imap_next challenge(struct imap_session *s, struct imap_command *c, struct str bytes)
{
    DEFER(buf_release) struct buf text = BUF_INIT(2 * SASL_BYTES_MAX);
    base64_encode(bytes, &text);
    if (!buf_ok(&text) || text.n + 100 > imap_room_bytes(s)) {
        struct err e = {.class = ST_TEMP};
        return end(s, imap_auth_failed(s, &e));
    }
    imap_put(s, STR("+ "));
    imap_put(s, buf_str(&text));
    imap_put(s, STR("\r\n"));
    c->line = answer;
    return IMAP_WAIT;
}

/* The exchange succeeded and the mechanism has a last word, which IMAP can only say as a challenge; the client's answer is empty
 * (RFC 4422 3.6). */
static enum imap_next last_word(struct imap_session *s, struct imap_command *c, struct str line)
{
    struct identity *who = c->state;
    if (line.n)
        return end(s, imap_bad(s, "Expected an empty answer"));
    return end(s, imap_auth_done(s, who));
}

static enum imap_next step(struct imap_session *s, struct imap_command *c, bool have_in, struct str in)
{
    DEFER(wipe) struct buf out = BUF_INIT(SASL_BYTES_MAX);
    struct identity who;
    enum sasl_status status;
    struct err e = {0};
    if (sasl_step(s->sasl, have_in, in, &out, &status, &who, &e) != ST_OK)
        return end(s, imap_auth_failed(s, &e));
    if (status == SASL_MORE)
        return challenge(s, c, buf_str(&out));
    if (out.n == 0)
        return end(s, imap_auth_done(s, &who));
    struct identity *kept = ARENA_NEW(&s->arena, struct identity);
    if (!kept)
        return end(s, imap_no(s, "UNAVAILABLE", "Out of memory"));
    *kept = who;
    c->state = kept;
    enum imap_next next = challenge(s, c, buf_str(&out));
    if (next == IMAP_WAIT)
        c->line = last_word;
    return next;
}

static enum imap_next decode_and_step(struct imap_session *s, struct imap_command *c, struct str text)
{
    DEFER(wipe) struct buf in = BUF_INIT(SASL_BYTES_MAX);
    if (!base64_decode(text, &in) || !buf_ok(&in))
        return end(s, imap_bad(s, "Expected base64"));
    return step(s, c, true, buf_str(&in));
}

/* A line of the client. "*" cancels (RFC 9051 6.2.2). */
static enum imap_next answer(struct imap_session *s, struct imap_command *c, struct str line)
{
    if (str_eq(line, STR("*")))
        return end(s, imap_bad(s, "Cancelled"));
    return decode_and_step(s, c, line);
}

/* RFC 9051 6.2.2, 4959 */
enum imap_next imap_cmd_authenticate(struct imap_session *s, struct imap_command *c)
{
    struct str mechanism, initial = STR_NONE;
    struct imap_args *a = &c->args;
    struct err e = {0};
    if (!imap_parse_atom(a, &mechanism))
        return imap_bad_args(s, c);
    bool has_initial = imap_accept(a, ' ');
    if (has_initial) {
        initial = rd_rest(&a->rd);
        if (initial.n == 0)
            return imap_bad(s, "Expected an initial response");
    } else if (!imap_parse_end(a)) {
        return imap_bad_args(s, c);
    }
    if (sasl_begin(s->services->auth, AUTH_IMAP, s->base.peer, mechanism, &s->sasl, &e) != ST_OK)
        return e.class == ST_PERM ? imap_no(s, "CANNOT", "%s", e.text) : imap_auth_failed(s, &e);
    if (!has_initial)
        return step(s, c, false, STR_NONE);
    if (str_eq(initial, STR("="))) /* RFC 4959 3: an empty one */
        return step(s, c, true, STR(""));
    return decode_and_step(s, c, initial);
}
