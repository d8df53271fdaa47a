#include "queue/smtp_client.h"

#include <stdio.h>

#include "format/dot.h"
#include "format/xtext.h"
#include "rt/clock.h"

enum { COMMANDS_MAX = 2 << 20, STATUS_MAX = 480, HEADER_LOOK_MAX = 64 << 10, ORCPT_ADDRESS_MAX = 2048 };

void smtp_client_init(struct smtp_client *c, const struct smtp_wire *wire, const struct smtp_client_times *times, struct str helo)
{
    *c = (struct smtp_client){.wire = *wire, .times = *times, .helo = helo, .recipients_max = 100};
    smtp_reply_init(&c->reply);
}

void smtp_client_release(struct smtp_client *c) { smtp_reply_release(&c->reply); }

/* ---- replies ---- */

static bool break_with(struct smtp_client *c, const char *code, const char *text)
{
    c->broken = true;
    c->why_smtp = false;
    snprintf(c->why, sizeof c->why, "%s %.400s", code, text);
    return false;
}

/* "550 5.1.1 no such user", one line. */
static void print_reply(const struct smtp_client *c, char *out, size_t size)
{
    const struct smtp_reply *r = &c->reply;
    int n =
        r->enhanced.class ? snprintf(out, size, "%d %u.%u.%u ", r->code, r->enhanced.class, r->enhanced.subject, r->enhanced.detail)
                          : snprintf(out, size, "%d ", r->code);
    size_t at = n > 0 ? (size_t)n : 0;
    struct str text = str_upto(buf_str(&r->text), size - at - 1);
    for (size_t i = 0; i < text.n; i++)
        out[at++] = text.p[i] == '\n' || text.p[i] == '\0' ? ' ' : text.p[i];
    out[at] = '\0';
}

static bool break_by_reply(struct smtp_client *c)
{
    c->broken = true;
    c->why_smtp = true;
    print_reply(c, c->why, STATUS_MAX);
    return false;
}

static unsigned left_of(int64_t end)
{
    int64_t left = end - clock_mono_ms();
    return left > 0 ? (unsigned)left : 0;
}

/* Into c->reply. The whole reply within the time, however many lines it has. 421 means that the other side is about to close. */
static bool read_reply(struct smtp_client *c, unsigned timeout_ms)
{
    int64_t end = clock_mono_ms() + timeout_ms;
    smtp_reply_clear(&c->reply);
    for (unsigned i = 0; i <= SMTP_REPLY_LINES_MAX; i++) {
        struct str line;
        struct err e = {0};
        unsigned left = left_of(end);
        if (i > 0 && left == 0)
            break;
        enum st st = c->wire.read_line(c->wire.context, SMTP_REPLY_LINE_MAX, left, &line, &e);
        if (st != ST_OK)
            return break_with(c, st == ST_LIMIT ? "4.5.0" : "4.4.2", e.text[0] ? e.text : "connection lost");
        switch (smtp_reply_line(&c->reply, line)) {
        case SMTP_REPLY_MORE:
            break;
        case SMTP_REPLY_DONE:
            return c->reply.code == 421 ? break_by_reply(c) : true;
        case SMTP_REPLY_BAD:
            return break_with(c, "4.5.0", "the answer is no SMTP reply");
        }
    }
    return break_with(c, "4.5.0", "the answer has no end");
}

static bool write_all(struct smtp_client *c, struct str bytes, unsigned timeout_ms)
{
    struct err e = {0};
    if (c->wire.write(c->wire.context, bytes, timeout_ms, &e) == ST_OK)
        return true;
    return break_with(c, "4.4.2", e.text[0] ? e.text : "connection lost");
}

static int class_of(const struct smtp_client *c) { return c->reply.code / 100; }

bool smtp_client_command(struct smtp_client *c, struct str line, unsigned timeout_ms)
{
    return !c->broken && write_all(c, line, timeout_ms) && write_all(c, STR("\r\n"), timeout_ms) && read_reply(c, timeout_ms);
}

/* ---- hello ---- */

static enum smtp_hello refused(struct smtp_client *c)
{
    bool final = !c->broken && class_of(c) == 5;
    if (!c->broken) {
        c->why_smtp = true;
        print_reply(c, c->why, STATUS_MAX);
    }
    return final ? SMTP_HELLO_PERM : SMTP_HELLO_TEMP;
}

static bool say_hello(struct smtp_client *c, const char *verb)
{
    char line[300];
    snprintf(line, sizeof line, "%s %.*s", verb, STR_FMT(str_upto(c->helo, 255)));
    return smtp_client_command(c, str_of(line), c->times.command);
}

enum smtp_hello smtp_client_hello(struct smtp_client *c)
{
    c->extended = false;
    c->dirty = false;
    c->ehlo = (struct smtp_ehlo){0};
    if (!say_hello(c, c->lmtp ? "LHLO" : "EHLO"))
        return SMTP_HELLO_TEMP;
    if (class_of(c) == 2) {
        c->extended = true;
        smtp_ehlo_parse(buf_str(&c->reply.text), &c->ehlo);
        return SMTP_HELLO_OK;
    }
    if (class_of(c) != 5 || c->lmtp) /* RFC 5321 3.2: HELO where EHLO is not known */
        return refused(c);
    if (!say_hello(c, "HELO") || class_of(c) != 2)
        return refused(c);
    return SMTP_HELLO_OK;
}

enum smtp_hello smtp_client_greet(struct smtp_client *c)
{
    if (!read_reply(c, c->times.greeting) || class_of(c) != 2)
        return refused(c);
    return smtp_client_hello(c);
}

enum smtp_hello smtp_client_starttls(struct smtp_client *c)
{
    struct err e = {0};
    if (!smtp_client_command(c, STR("STARTTLS"), c->times.command))
        return SMTP_HELLO_TEMP;
    if (c->reply.code != 220) {
        refused(c);
        return SMTP_HELLO_PERM;
    }
    if (c->wire.start_tls(c->wire.context, &e) != ST_OK) {
        break_with(c, "4.7.5", e.text);
        return SMTP_HELLO_TEMP;
    }
    return smtp_client_hello(c); /* RFC 3207 4.2: nothing of before counts */
}

void smtp_client_quit(struct smtp_client *c)
{
    if (!c->broken && c->times.quit > 0)
        smtp_client_command(c, STR("QUIT"), c->times.quit);
    c->broken = true;
}

/* ---- fates ---- */

static void decide(struct smtp_send *s, struct smtp_send_recipient *r, enum smtp_fate fate, struct str status, bool smtp)
{
    struct str copy = arena_str(s->arena, status);
    r->fate = fate;
    r->status = copy.p ? copy : STR_NONE;
    r->status_smtp = smtp;
}

static void decide_by_reply(struct smtp_client *c, struct smtp_send *s, struct smtp_send_recipient *r)
{
    char text[STATUS_MAX];
    int class = class_of(c);
    print_reply(c, text, sizeof text);
    decide(s, r, class == 2 ? SMTP_FATE_SENT : class == 5 ? SMTP_FATE_PERM : SMTP_FATE_TEMP, str_of(text), true);
}

static void decide_open(struct smtp_send *s, enum smtp_fate fate, struct str status)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->recipients[i].fate == SMTP_FATE_OPEN)
            decide(s, &s->recipients[i], fate, status, false);
}

static void decide_named(struct smtp_client *c, struct smtp_send *s, bool accepted_only)
{
    for (size_t i = 0; i < s->count; i++) {
        struct smtp_send_recipient *r = &s->recipients[i];
        if (r->fate == SMTP_FATE_OPEN && r->named && (r->accepted || !accepted_only))
            decide_by_reply(c, s, r);
    }
}

/* ---- what the message needs ---- */

static bool offers(const struct smtp_client *c, unsigned extension) { return c->extended && c->ehlo.extensions & extension; }

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 127)
            return true;
    return false;
}

/* Is there a byte above 127 in the header, or (whole) anywhere? Read errors count as yes. */
static bool has_high_bytes(struct smtp_send *s, bool whole)
{
    struct buf piece = BUF_INIT(SMTP_CLIENT_CHUNK);
    bool found = false;
    for (uint64_t at = 0; at < s->size && !found && (whole || at < HEADER_LOOK_MAX); at += piece.n) {
        buf_clear(&piece);
        if (s->read(s->context, at, SMTP_CLIENT_CHUNK, &piece, NULL) != ST_OK || piece.n == 0) {
            found = true;
            break;
        }
        struct str look = buf_str(&piece);
        size_t end = whole ? STR_NPOS : str_find(look, STR("\r\n\r\n"));
        found = !str_is_ascii(str_upto(look, end));
        if (end != STR_NPOS)
            break;
    }
    buf_release(&piece);
    return found;
}

/* RFC 6531 3.2: what needs SMTPUTF8 must not go where it is not offered. */
static void check_utf8(struct smtp_client *c, struct smtp_send *s)
{
    if (!s->smtputf8 || offers(c, SMTP_EXT_SMTPUTF8))
        return;
    struct str status = STR("5.6.7 The next host does not take internationalised mail");
    if (!str_is_ascii(s->reverse_path) || has_high_bytes(s, false)) {
        decide_open(s, SMTP_FATE_PERM, status);
        return;
    }
    for (size_t i = 0; i < s->count; i++)
        if (s->recipients[i].fate == SMTP_FATE_OPEN && !str_is_ascii(s->recipients[i].address))
            decide(s, &s->recipients[i], SMTP_FATE_PERM, status, false);
}

/* RFC 6152 3, 3030 3: no conversion is made here, so what the next host cannot take goes back. */
static void check_body(struct smtp_client *c, struct smtp_send *s)
{
    bool binary = s->body == SMTP_BODY_BINARYMIME;
    if (binary && !(offers(c, SMTP_EXT_BINARYMIME) && offers(c, SMTP_EXT_CHUNKING)))
        decide_open(s, SMTP_FATE_PERM, STR("5.6.3 The next host does not take binary mail"));
    if (s->body == SMTP_BODY_8BITMIME && !offers(c, SMTP_EXT_8BITMIME) && has_high_bytes(s, true))
        decide_open(s, SMTP_FATE_PERM, STR("5.6.3 The next host does not take 8-bit mail"));
}

static void check_message(struct smtp_client *c, struct smtp_send *s)
{
    if (offers(c, SMTP_EXT_SIZE) && c->ehlo.size_max > 0 && s->size > c->ehlo.size_max) /* RFC 1870 6.2 */
        decide_open(s, SMTP_FATE_PERM, STR("5.3.4 The message is larger than the next host takes"));
    if (has_control(s->reverse_path))
        decide_open(s, SMTP_FATE_PERM, STR("5.1.7 Bad sender address"));
    for (size_t i = 0; i < s->count; i++)
        if (s->recipients[i].fate == SMTP_FATE_OPEN && has_control(s->recipients[i].address))
            decide(s, &s->recipients[i], SMTP_FATE_PERM, STR("5.1.3 Bad address"), false);
    check_utf8(c, s);
    check_body(c, s);
}

/* Chooses the recipients of this transaction; returns how many. */
static size_t name_recipients(struct smtp_client *c, struct smtp_send *s)
{
    size_t n = 0, most = c->recipients_max < SMTP_CLIENT_RECIPIENTS_MAX ? c->recipients_max : SMTP_CLIENT_RECIPIENTS_MAX;
    if (c->ehlo.limit_rcpt > 0 && c->ehlo.limit_rcpt < most)
        most = (size_t)c->ehlo.limit_rcpt;
    for (size_t i = 0; i < s->count; i++) {
        struct smtp_send_recipient *r = &s->recipients[i];
        r->accepted = false;
        r->named = r->fate == SMTP_FATE_OPEN && n < most;
        n += r->named;
    }
    return n;
}

/* ---- commands ---- */

/* high: bytes above 127 were seen. RFC 6152 2 wants them declared, though the client that brought them may not have done so; a host
 * without 8BITMIME gets such a message as we got it. */
static void put_mail(const struct smtp_client *c, const struct smtp_send *s, bool high, struct buf *out)
{
    buf_add_z(out, "MAIL FROM:<");
    buf_add(out, s->reverse_path);
    buf_add_c(out, '>');
    if (offers(c, SMTP_EXT_SIZE))
        buf_printf(out, " SIZE=%llu", (unsigned long long)s->size);
    if ((s->body == SMTP_BODY_8BITMIME || (s->body == SMTP_BODY_7BIT && high)) && offers(c, SMTP_EXT_8BITMIME))
        buf_add_z(out, " BODY=8BITMIME");
    if (s->body == SMTP_BODY_BINARYMIME)
        buf_add_z(out, " BODY=BINARYMIME");
    if (s->smtputf8 && offers(c, SMTP_EXT_SMTPUTF8))
        buf_add_z(out, " SMTPUTF8");
    if (offers(c, SMTP_EXT_DSN)) { /* RFC 3461 5.2.1 */
        if (s->ret != SMTP_RET_NONE)
            buf_add_z(out, s->ret == SMTP_RET_FULL ? " RET=FULL" : " RET=HDRS");
        if (s->envid.n > 0 && !has_control(s->envid))
            buf_printf(out, " ENVID=%.*s", STR_FMT(s->envid));
    }
    buf_add_z(out, "\r\n");
}

static void put_notify(unsigned notify, struct buf *out)
{
    static const struct {
        unsigned bit;
        const char *word;
    } words[] = {{SMTP_NOTIFY_SUCCESS, "SUCCESS"}, {SMTP_NOTIFY_FAILURE, "FAILURE"}, {SMTP_NOTIFY_DELAY, "DELAY"}};
    if (notify == 0)
        return;
    buf_add_z(out, " NOTIFY=");
    if (notify & SMTP_NOTIFY_NEVER) {
        buf_add_z(out, "NEVER");
        return;
    }
    bool first = true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!(notify & words[i].bit))
            continue;
        buf_add_z(out, first ? "" : ",");
        buf_add_z(out, words[i].word);
        first = false;
    }
}

/* RFC 3461 5.2.1 (d): unchanged; but RFC 6533 3: without SMTPUTF8 an address of type utf-8 goes in its 7-bit form. */
static void put_orcpt(struct str orcpt, bool utf8, struct buf *out)
{
    DEFER(buf_release) struct buf address = BUF_INIT(ORCPT_ADDRESS_MAX);
    struct str type;
    if (orcpt.n == 0 || has_control(orcpt))
        return;
    if (utf8 || str_is_ascii(orcpt)) {
        buf_printf(out, " ORCPT=%.*s", STR_FMT(orcpt));
    } else if (xtext_orcpt_decode(orcpt, &type, &address) && str_eq_nocase(type, STR("utf-8"))) {
        buf_add_z(out, " ORCPT=");
        xtext_orcpt_encode(buf_str(&address), out);
    }
}

static void put_rcpt(const struct smtp_client *c, const struct smtp_send *s, const struct smtp_send_recipient *r, struct buf *out)
{
    bool utf8 = s->smtputf8 && offers(c, SMTP_EXT_SMTPUTF8);
    buf_add_z(out, "RCPT TO:<");
    buf_add(out, r->address);
    buf_add_c(out, '>');
    if (offers(c, SMTP_EXT_DSN)) {
        put_notify(r->notify, out);
        put_orcpt(r->orcpt, utf8, out);
    }
    buf_add_z(out, "\r\n");
}

/* ---- the transaction ---- */

struct transaction {
    struct smtp_client *c;
    struct smtp_send *s;
    bool pipelining;
    bool bdat;        /* by BDAT LAST, all of it in `first` */
    struct buf first; /* the beginning of the message */
    size_t accepted;
    bool mail_refused;
};

static bool say(struct transaction *t, struct buf *line)
{
    bool ok = buf_ok(line) ? write_all(t->c, buf_str(line), t->c->times.command) : break_with(t->c, "4.3.0", "out of memory");
    buf_clear(line);
    return ok;
}

/* RFC 5321 4.5.3.1.10: "too many recipients" after some were taken: the others go in a transaction of their own. 552 is an old way
 * to say 452. */
static void judge_rcpt(struct transaction *t, struct smtp_send_recipient *r)
{
    struct smtp_client *c = t->c;
    if (t->mail_refused || r->fate != SMTP_FATE_OPEN)
        return;
    if (class_of(c) == 2) {
        r->accepted = true;
        t->accepted++;
    } else if ((c->reply.code == 452 || c->reply.code == 552) && t->accepted > 0) {
        r->named = false;
    } else if (c->reply.code == 552) {
        char text[STATUS_MAX];
        print_reply(c, text, sizeof text);
        decide(t->s, r, SMTP_FATE_TEMP, str_of(text), true);
    } else {
        decide_by_reply(c, t->s, r);
        if (r->fate == SMTP_FATE_SENT)
            r->fate = SMTP_FATE_TEMP; /* a 3xx: nonsense */
    }
}

static void judge_mail(struct transaction *t)
{
    struct smtp_client *c = t->c;
    if (class_of(c) == 2) {
        c->dirty = true;
        return;
    }
    t->mail_refused = true;
    decide_named(c, t->s, false);
}

static void put_bdat(struct transaction *t, struct buf *out)
{
    buf_printf(out, "BDAT %zu LAST\r\n", t->first.n);
    buf_add(out, buf_str(&t->first));
}

/* MAIL and RCPTs with their replies; with PIPELINING (RFC 2920) all of them, and DATA or BDAT, leave at once. True: go on. */
static bool envelope(struct transaction *t)
{
    struct smtp_client *c = t->c;
    struct smtp_send *s = t->s;
    struct buf out = BUF_INIT(COMMANDS_MAX);
    bool all = t->pipelining, ok = true;
    bool rset = c->dirty;
    if (rset)
        buf_add_z(&out, "RSET\r\n");
    if (rset && !all)
        ok = say(t, &out) && read_reply(c, c->times.command);
    put_mail(c, s, !str_is_ascii(buf_str(&t->first)), &out);
    for (size_t i = 0; i < s->count && all; i++)
        if (s->recipients[i].named)
            put_rcpt(c, s, &s->recipients[i], &out);
    if (all && t->bdat)
        put_bdat(t, &out);
    else if (all && s->body != SMTP_BODY_BINARYMIME)
        buf_add_z(&out, "DATA\r\n");
    ok = ok && say(t, &out);
    if (ok && rset && all)
        ok = read_reply(c, c->times.command);
    if (ok && rset)
        c->dirty = false;
    ok = ok && read_reply(c, c->times.command);
    if (ok)
        judge_mail(t);
    for (size_t i = 0; i < s->count && ok && (all || !t->mail_refused); i++) {
        struct smtp_send_recipient *r = &s->recipients[i];
        if (!r->named)
            continue;
        if (!all) {
            put_rcpt(c, s, r, &out);
            ok = say(t, &out);
        }
        ok = ok && read_reply(c, c->times.command);
        if (ok)
            judge_rcpt(t, r);
    }
    buf_release(&out);
    return ok;
}

/* The message by DATA, after the 354. False: broken; *ended: the end was (or may have been) sent. */
static bool send_data(struct transaction *t, bool *ended)
{
    struct smtp_client *c = t->c;
    struct smtp_send *s = t->s;
    struct dot_encoder dots;
    struct err e = {0};
    struct buf out = BUF_INIT(3 * SMTP_CLIENT_CHUNK);
    bool ok = true;
    dot_encoder_init(&dots, true); /* RFC 5321 2.3.8: no bare CR or LF leaves here */
    *ended = false;
    for (uint64_t at = 0; ok && at < s->size;) {
        if (at > 0) {
            buf_clear(&t->first);
            s->read_failed = s->read(s->context, at, SMTP_CLIENT_CHUNK, &t->first, &e);
            if (s->read_failed == ST_OK && t->first.n == 0)
                s->read_failed = ST_CORRUPT;
            if (s->read_failed != ST_OK) { /* without the end the other side keeps nothing */
                ok = break_with(c, "4.3.0", "the message cannot be read now");
                break;
            }
        }
        at += t->first.n;
        buf_clear(&out);
        dot_encode(&dots, buf_str(&t->first), &out);
        ok = buf_ok(&out) ? write_all(c, buf_str(&out), c->times.data_block) : break_with(c, "4.3.0", "out of memory");
    }
    buf_clear(&out);
    dot_encode_end(&dots, &out);
    *ended = ok;
    ok = ok && write_all(c, buf_str(&out), c->times.data_block);
    buf_release(&out);
    return ok;
}

/* RFC 3030 3: binary mail goes in chunks; each has its reply. */
static bool send_chunks(struct transaction *t, bool *ended)
{
    struct smtp_client *c = t->c;
    struct smtp_send *s = t->s;
    struct err e = {0};
    *ended = false;
    for (uint64_t at = 0; at < s->size || at == 0;) {
        char line[64];
        buf_clear(&t->first);
        s->read_failed = s->read(s->context, at, SMTP_CLIENT_CHUNK, &t->first, &e);
        if (s->read_failed == ST_OK && t->first.n == 0 && s->size > 0)
            s->read_failed = ST_CORRUPT;
        if (s->read_failed != ST_OK)
            return break_with(c, "4.3.0", "the message cannot be read now");
        at += t->first.n;
        bool last = at >= s->size;
        snprintf(line, sizeof line, "BDAT %zu%s\r\n", t->first.n, last ? " LAST" : "");
        *ended = last;
        if (!write_all(c, str_of(line), c->times.data_block) || !write_all(c, buf_str(&t->first), c->times.data_block))
            return false;
        if (last)
            break;
        if (!read_reply(c, c->times.data_end))
            return false;
        if (class_of(c) != 2) {
            decide_named(c, s, true);
            c->dirty = true;
            return true;
        }
    }
    return true;
}

/* The reply, or with LMTP the replies, that say who is responsible now. */
static void final_replies(struct transaction *t)
{
    struct smtp_client *c = t->c;
    struct smtp_send *s = t->s;
    bool each = c->lmtp && t->accepted > 0; /* RFC 2033 4.2 */
    c->dirty = false;
    for (size_t i = 0; i < s->count; i++) {
        struct smtp_send_recipient *r = &s->recipients[i];
        if (!(r->accepted && r->fate == SMTP_FATE_OPEN))
            continue;
        if (c->broken || !read_reply(c, c->times.data_end)) {
            /* Nobody knows whether it was taken: RFC 1047. Not at once, and not elsewhere. */
            for (size_t n = i; n < s->count; n++)
                if (s->recipients[n].accepted && s->recipients[n].fate == SMTP_FATE_OPEN)
                    decide(s, &s->recipients[n], SMTP_FATE_TEMP, str_of(c->why), c->why_smtp);
            return;
        }
        if (each) {
            decide_by_reply(c, s, r);
            continue;
        }
        decide_named(c, s, true);
        return;
    }
}

/* After the envelope: the reply to DATA, then the message. */
static void data_phase(struct transaction *t)
{
    struct smtp_client *c = t->c;
    bool ended = false;
    if (!t->pipelining) {
        if (t->accepted == 0)
            return; /* `dirty`: RSET before the next one */
        if (!write_all(c, STR("DATA\r\n"), c->times.command))
            return;
    }
    if (!read_reply(c, c->times.data_start))
        return;
    if (c->reply.code != 354) {
        if (class_of(c) == 2 || class_of(c) == 3) {
            break_with(c, "4.5.0", "nonsense in answer to DATA");
            return;
        }
        decide_named(c, t->s, true);
        return;
    }
    if (t->accepted == 0) { /* RFC 2920 3.1: nobody is there, but data is expected */
        if (write_all(c, STR(".\r\n"), c->times.data_block))
            read_reply(c, c->times.data_end);
        c->dirty = false;
        return;
    }
    bool sent = send_data(t, &ended);
    if (sent || ended)
        final_replies(t);
}

static void bdat_phase(struct transaction *t)
{
    struct smtp_client *c = t->c;
    bool ended = true, sent = true;
    struct buf out = BUF_INIT(SMTP_CLIENT_CHUNK + 64);
    if (t->s->body == SMTP_BODY_BINARYMIME && t->accepted > 0) {
        sent = send_chunks(t, &ended);
    } else if (!t->pipelining && t->accepted > 0) {
        put_bdat(t, &out);
        sent = say(t, &out);
    } else if (t->accepted == 0) { /* the chunk came for nobody: 503 or 554 */
        if (t->pipelining && t->bdat)
            read_reply(c, c->times.data_end);
        buf_release(&out);
        return;
    }
    buf_release(&out);
    if (sent || ended)
        final_replies(t);
}

/* Ends with a line end; every CR is followed by LF, every LF follows CR. */
static bool line_ends_clean(struct str m)
{
    if (!str_ends(m, STR("\r\n")))
        return false;
    while (m.n > 0) {
        size_t lf = str_find_char(m, '\n');
        if (lf == 0 || str_find_char(m, '\r') != lf - 1)
            return false;
        m = str_from(m, lf + 1);
    }
    return true;
}

/* BDAT saves the round trip of the 354, but needs clean lines, since nothing is encoded. */
static bool bdat_fits(const struct transaction *t)
{
    struct str m = buf_str(&t->first);
    if (t->s->body == SMTP_BODY_BINARYMIME)
        return false;
    if (!t->c->chunking || !offers(t->c, SMTP_EXT_CHUNKING) || m.n != t->s->size || m.n > SMTP_CLIENT_BDAT_MAX)
        return false;
    return line_ends_clean(m);
}

/* Everything left in one flight and the connection broke before the replies: nobody knows whether the message was taken (RFC 1047).
 * Only a 421 says that it was not. */
static void unknown_fate(struct transaction *t)
{
    struct smtp_send *s = t->s;
    for (size_t i = 0; i < s->count && !t->c->why_smtp; i++)
        if (s->recipients[i].named && s->recipients[i].fate == SMTP_FATE_OPEN)
            decide(s, &s->recipients[i], SMTP_FATE_TEMP, str_of(t->c->why), false);
}

/* A message that we cannot read is no better at another host. */
static void keep_reason(struct smtp_client *c, struct smtp_send *s)
{
    for (size_t i = 0; i < s->count && c->broken; i++)
        if (s->recipients[i].fate == SMTP_FATE_OPEN && s->read_failed != ST_OK)
            decide(s, &s->recipients[i], SMTP_FATE_TEMP, str_of(c->why), c->why_smtp);
}

void smtp_client_send(struct smtp_client *c, struct smtp_send *s)
{
    struct transaction t = {.c = c, .s = s, .pipelining = offers(c, SMTP_EXT_PIPELINING), .first = BUF_INIT(SMTP_CLIENT_CHUNK)};
    struct err e = {0};
    check_message(c, s);
    if (name_recipients(c, s) == 0)
        return;
    s->read_failed = s->read(s->context, 0, SMTP_CLIENT_CHUNK, &t.first, &e);
    if (s->read_failed == ST_OK && t.first.n == 0 && s->size > 0)
        s->read_failed = ST_CORRUPT;
    if (s->read_failed != ST_OK) {
        decide_open(s, SMTP_FATE_TEMP, STR("4.3.0 The message cannot be read now"));
        buf_release(&t.first);
        return;
    }
    t.bdat = bdat_fits(&t);
    if (envelope(&t) && (t.pipelining || !t.mail_refused)) {
        if (t.bdat || s->body == SMTP_BODY_BINARYMIME)
            bdat_phase(&t);
        else
            data_phase(&t);
    } else if (c->broken && t.bdat && t.pipelining) {
        unknown_fate(&t);
    }
    keep_reason(c, s);
    buf_release(&t.first);
}
