/* APPEND (RFC 9051 6.3.12, 3502, 3516): the literals go straight into spools, the command is answered after one commit for all of
 * them. */
#include <stdlib.h>

#include "base/check.h"
#include "rt/settings.h"
#include "rt/spool.h"
#include "serve/imap/table.h"

struct message {
    struct spool spool;
    struct imap_flags flags;
    int64_t internal_ms; /* 0: now */
    struct message *next;
};

struct append {
    struct mailbox_info *mailbox;
    struct message *first, *last;
    size_t count;
    uint64_t bytes;
    bool utf8_open; /* inside "UTF8 (" (RFC 9755): ")" must follow the literal */
    bool binary;    /* the literal that comes is a binary one */
    bool has_nul;   /* a binary one had NUL bytes */
    struct err err; /* the first thing that went wrong while receiving */
};

static void release(void *state)
{
    struct append *a = state;
    for (struct message *m = a->first; m; m = m->next)
        spool_release(&m->spool);
}

/* ---- arguments before a literal ---- */

/* "[SP flags] [SP date-time] SP" up to where the literal begins; for UTF8 the parenthesis too. */
static bool message_args(struct imap_command *c, struct append *a, struct message *m)
{
    struct imap_args *args = &c->args;
    struct date date;
    if (a->utf8_open && !imap_parse_char(args, ')'))
        return false;
    a->utf8_open = false;
    if (!imap_parse_space(args))
        return false;
    if (imap_peek_is(args, '(') && (!imap_parse_flag_list(args, &m->flags) || !imap_parse_space(args)))
        return false;
    if (imap_peek_is(args, '"')) {
        if (!imap_parse_date_time(args, &date) || !imap_parse_space(args))
            return false;
        m->internal_ms = date.epoch_s * 1000;
    }
    if (imap_accept_word(args, "UTF8")) {
        a->utf8_open = true;
        if (!imap_parse_space(args) || !imap_parse_char(args, '('))
            return false;
    }
    return imap_parse_end(args);
}

/* Flags and keywords outlive the text of the command, which the literals replace. */
static bool keep_flags(struct imap_session *s, struct imap_flags *f)
{
    for (size_t i = 0; i < f->count; i++) {
        f->keywords[i] = arena_str(&s->arena, f->keywords[i]);
        if (!f->keywords[i].p)
            return false;
    }
    return true;
}

/* ---- may it come? ---- */

static enum imap_next refuse_mailbox(struct imap_session *s, const struct err *e)
{
    return e->class == ST_NOTFOUND ? imap_no(s, "TRYCREATE", "%s", e->text) : imap_fail(s, e);
}

static bool over_quota(struct imap_session *s, const struct append *a, uint64_t size)
{
    struct account_quota q;
    account_quota(s->account, &q);
    uint64_t bytes = a->bytes + size;
    return (q.bytes_max != UINT64_MAX && (q.bytes_used >= q.bytes_max || bytes > q.bytes_max - q.bytes_used)) ||
           (q.messages_max != UINT64_MAX && q.messages_used + a->count >= q.messages_max);
}

static bool may_come(struct imap_session *s, const struct append *a, const struct imap_literal *l)
{
    uint64_t max = (uint64_t)s->settings->message_size_max;
    if (l->size == 0)
        (void)imap_no(s, NULL, "An empty message cancels APPEND"); /* RFC 3502 6.3.11 */
    else if (l->size > max)
        (void)imap_no(s, "TOOBIG", "The message is too big"); /* RFC 7889 4, 4469 */
    else if (a->count >= (size_t)s->settings->imap_append_max || a->bytes + l->size > 4 * max)
        (void)imap_no(s, "LIMIT", "Too many messages in one APPEND");
    else if (over_quota(s, a, l->size))
        (void)imap_no(s, "OVERQUOTA", "The mailbox is full");
    else if (!l->synchronizing && s->settings->imap_literal_minus && l->size > 4096)
        (void)imap_no(s, "TOOBIG", "A literal of this size needs a continuation request"); /* RFC 7888 5 */
    else
        return true;
    return false;
}

/* ---- the first literal: which mailbox ---- */

static struct append *begin(struct imap_session *s, struct imap_command *c, struct str name)
{
    struct err e = {0};
    struct append *a = ARENA_NEW(&s->arena, struct append);
    struct mailbox_info *info = ARENA_NEW(&s->arena, struct mailbox_info);
    if (!a || !info) {
        (void)imap_no(s, "LIMIT", "Out of memory");
        return NULL;
    }
    if (imap_find_mailbox(s, name, ACCESS_INSERT, info, &e) != ST_OK) {
        (void)refuse_mailbox(s, &e);
        return NULL;
    }
    imap_tell_old_name(s, "", info->name, name); /* RFC 9051 6.3.12 */
    a->mailbox = info;
    c->state = a;
    c->release = release;
    return a;
}

enum imap_literal_verdict imap_cmd_append_literal(struct imap_session *s, struct imap_command *c, const struct imap_literal *l)
{
    struct append *a = c->state;
    if (!a) {
        struct str name;
        if (!imap_parse_space(&c->args) || imap_at_end(&c->args))
            return IMAP_LITERAL_COLLECT; /* the mailbox's name is a literal; or what it is will turn out to be wrong */
        if (!imap_parse_mailbox(&c->args, &name)) {
            (void)imap_bad_args(s, c);
            return IMAP_LITERAL_REFUSE;
        }
        a = begin(s, c, name);
        if (!a)
            return IMAP_LITERAL_REFUSE;
    }
    struct message *m = ARENA_NEW(&s->arena, struct message);
    if (!m || !message_args(c, a, m) || !keep_flags(s, &m->flags)) {
        (void)(c->args.wrong ? imap_bad_args(s, c) : imap_no(s, "LIMIT", "Out of memory"));
        return IMAP_LITERAL_REFUSE;
    }
    if (a->utf8_open != l->literal8 && a->utf8_open) {
        (void)imap_bad(s, "Expected a binary literal after UTF8");
        return IMAP_LITERAL_REFUSE;
    }
    if (!may_come(s, a, l))
        return IMAP_LITERAL_REFUSE;
    spool_init(&m->spool, s->services->spool_dir, (uint64_t)s->settings->message_size_max,
               (size_t)s->settings->message_spool_memory);
    *(a->last ? &a->last->next : &a->first) = m;
    a->last = m;
    a->count++;
    a->bytes += l->size;
    a->binary = l->literal8;
    return IMAP_LITERAL_STREAM;
}

/* NUL cannot come back in a literal (RFC 9051 9, CHAR8), and a message comes back byte for byte or not at all: one that has NUL
 * bytes is not taken. In a binary literal they are allowed, and refusing them has a code of its own (RFC 3516 4.4). */
void imap_cmd_append_stream(struct imap_session *s, struct imap_command *c, struct str piece)
{
    (void)s;
    struct append *a = c->state;
    if (a->err.class != ST_OK)
        return;
    if (piece.n && memchr(piece.p, '\0', piece.n)) {
        a->has_nul = a->binary;
        (void)ERR_PUBLIC(&a->err, ST_PERM, "The message contains NUL bytes");
    } else if (spool_append(&a->last->spool, piece, &a->err) != ST_OK) {
        a->err.class = a->err.class == ST_OK ? ST_TEMP : a->err.class;
    }
}

/* ---- the commit ---- */

static enum st commit(struct imap_session *s, struct append *a, struct message_append *list, struct err *e)
{
    size_t i = 0;
    for (struct message *m = a->first; m; m = m->next, i++) {
        TRY(spool_view(&m->spool, &list[i].bytes, e));
        list[i].flags = m->flags.flags;
        list[i].keywords = m->flags.keywords;
        list[i].keyword_count = m->flags.count;
        list[i].internal_ms = m->internal_ms;
    }
    return message_append(s->account, a->mailbox->id, list, a->count, e);
}

static enum imap_next appended(struct imap_session *s, const struct append *a, const struct message_append *list)
{
    DEFER(uidset_release) struct uidset uids = UIDSET_EMPTY;
    DEFER(buf_release) struct buf code = BUF_INIT(16 << 10);
    bool may_read = access_allowed(&s->who, ACCESS_READ, account_id_of(s->account), a->mailbox->id);
    for (size_t i = 0; i < a->count; i++)
        if (uidset_add(&uids, list[i].uid) != ST_OK)
            may_read = false;
    buf_printf(&code, "APPENDUID %u ", list[0].uidvalidity);
    uidset_print(&uids, &code);
    if (!may_read || !buf_ok(&code)) /* RFC 9051 11.4 */
        return imap_ok(s, NULL, "APPEND completed");
    return imap_ok_code(s, buf_str(&code), "APPEND completed");
}

enum imap_next imap_cmd_append(struct imap_session *s, struct imap_command *c)
{
    struct append *a = c->state;
    struct err e = {0};
    if (!a)
        return imap_bad(s, "Expected a message as a literal");
    if ((a->utf8_open && !imap_parse_char(&c->args, ')')) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (a->has_nul)
        return imap_no(s, "UNKNOWN-CTE", "%s", a->err.text);
    if (a->err.class != ST_OK)
        return imap_fail(s, &a->err);
    struct message_append *list = ARENA_ARRAY(&s->arena, a->count, struct message_append);
    if (!list)
        return imap_no(s, "LIMIT", "Out of memory");
    if (commit(s, a, list, &e) != ST_OK)
        return e.class == ST_LIMIT ? imap_no(s, "OVERQUOTA", "%s", e.text) : refuse_mailbox(s, &e);
    return appended(s, a, list);
}
