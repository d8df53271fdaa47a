/* The wording of answers: tagged replies with the response codes of RFC 9051 7.1 and RFC 5530, and strings in untagged data. */
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "format/utf7.h"
#include "rt/log.h"
#include "serve/imap/table.h"

enum { TEXT_MAX = 400 };

/* ---- the tagged reply ---- */

static void keep(struct imap_session *s, const char *condition, const char *code, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));
static void keep(struct imap_session *s, const char *condition, const char *code, const char *fmt, va_list ap)
{
    char text[TEXT_MAX];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    struct str shown = str_make(text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    for (size_t i = 0; i < shown.n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = '?';
    buf_clear(&s->tagged);
    buf_add_z(&s->tagged, condition);
    if (code)
        buf_printf(&s->tagged, " [%s]", code);
    buf_add_c(&s->tagged, ' ');
    buf_add(&s->tagged, shown);
}

enum imap_next imap_ok(struct imap_session *s, const char *code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    keep(s, "OK", code, fmt, ap);
    va_end(ap);
    s->bad_commands = 0;
    return IMAP_DONE;
}

enum imap_next imap_ok_code(struct imap_session *s, struct str code, const char *text)
{
    buf_clear(&s->tagged);
    buf_add_z(&s->tagged, "OK [");
    buf_add(&s->tagged, code);
    buf_add_z(&s->tagged, "] ");
    buf_add_z(&s->tagged, text);
    if (!buf_ok(&s->tagged)) /* too long a code: the command succeeded all the same */
        return imap_ok(s, NULL, "%s", text);
    s->bad_commands = 0;
    return IMAP_DONE;
}

enum imap_next imap_no(struct imap_session *s, const char *code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    keep(s, "NO", code, fmt, ap);
    va_end(ap);
    return IMAP_DONE;
}

enum imap_next imap_bad(struct imap_session *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    keep(s, "BAD", NULL, fmt, ap);
    va_end(ap);
    s->bad_commands++;
    return IMAP_DONE;
}

enum imap_next imap_bad_args(struct imap_session *s, const struct imap_command *c)
{
    return imap_bad(s, "Expected %s", c->args.wrong ? c->args.wrong : "other arguments");
}

static const char *code_of(enum st class)
{
    switch (class) { /* RFC 5530 3 */
    case ST_OK:
        return NULL;
    case ST_TEMP:
        return "UNAVAILABLE";
    case ST_PERM:
        return "CANNOT";
    case ST_NOTFOUND:
        return "NONEXISTENT";
    case ST_EXISTS:
        return "ALREADYEXISTS";
    case ST_CONFLICT:
        return "INUSE";
    case ST_LIMIT:
        return "LIMIT";
    case ST_DENIED:
        return "NOPERM";
    case ST_CORRUPT:
        return "CORRUPTION";
    case ST_BUG:
        return "SERVERBUG";
    }
    return NULL;
}

enum imap_next imap_fail(struct imap_session *s, const struct err *e)
{
    if (e->class == ST_TEMP || e->class == ST_CORRUPT || e->class == ST_BUG)
        log_event(LOG_WARN, "imap.error", LOG_UINT("session", s->base.id), LOG_Z("user", s->who.address),
                  LOG_Z("command", s->command.verb ? s->command.verb->name : ""), LOG_ERR(e));
    return imap_no(s, code_of(e->class), "%s", e->text[0] ? e->text : "It did not work");
}

enum imap_next imap_fail_set(struct imap_session *s, const struct err *e)
{
    return e->class == ST_PERM ? imap_bad(s, "%s", e->text) : imap_fail(s, e);
}

void imap_ok_highest_modseq(struct imap_session *s) { s->say_modseq = imap_condstore(s); }

/* ---- untagged data ---- */

void imap_putf(struct imap_session *s, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (always(n >= 0 && (size_t)n < sizeof text))
        buf_add(s->out, str_make(text, (size_t)n));
}

static bool can_be_quoted(const struct imap_session *s, struct str text)
{
    if (text.n > 1000)
        return false;
    bool ascii = true;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < ' ' || c == 0x7f)
            return false;
        ascii = ascii && c < 0x80;
    }
    return ascii || (imap_utf8(s) && str_is_utf8(text));
}

void imap_put_string(struct imap_session *s, struct str text)
{
    if (!can_be_quoted(s, text)) {
        imap_putf(s, "{%zu}\r\n", text.n);
        imap_put(s, text);
        return;
    }
    buf_add_c(s->out, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            buf_add_c(s->out, '\\');
        buf_add_c(s->out, text.p[i]);
    }
    buf_add_c(s->out, '"');
}

void imap_put_nstring(struct imap_session *s, struct str text)
{
    if (text.p)
        imap_put_string(s, text);
    else
        imap_put(s, STR("NIL"));
}

void imap_put_astring(struct imap_session *s, struct str text)
{
    bool atom = text.n > 0 && !str_eq_nocase(text, STR("NIL"));
    for (size_t i = 0; atom && i < text.n; i++)
        atom = text.p[i] > ' ' && text.p[i] < 0x7f && !strchr("(){%*\"\\]", text.p[i]);
    if (atom)
        imap_put(s, text);
    else
        imap_put_string(s, text);
}

void imap_put_mailbox(struct imap_session *s, struct str name)
{
    if (imap_utf8(s)) {
        imap_put_astring(s, name);
        return;
    }
    DEFER(buf_release) struct buf utf7 = BUF_INIT(4 * MAILBOX_NAME_MAX); /* RFC 3501 5.1.3 */
    bool ok = utf7_encode(name, &utf7) && buf_ok(&utf7);
    imap_put_astring(s, ok ? buf_str(&utf7) : name);
}

void imap_put_list_name(struct imap_session *s, const char *attributes, struct str name, struct str given)
{
    imap_putf(s, "* LIST (%s) \"/\" ", attributes);
    imap_put_mailbox(s, name);
    if (!str_eq(name, given)) {
        imap_put(s, STR(" (\"OLDNAME\" ("));
        imap_put_mailbox(s, given);
        imap_put(s, STR("))"));
    }
    imap_put(s, STR("\r\n"));
}

void imap_tell_old_name(struct imap_session *s, const char *attributes, struct str name, struct str given)
{
    if (imap_is_rev2(s) && !str_eq(name, given))
        imap_put_list_name(s, attributes, name, given);
}

/* ---- flags ---- */

_Static_assert((int)IMAP_FLAG_SEEN == (int)MESSAGE_SEEN && (int)IMAP_FLAG_ANSWERED == (int)MESSAGE_ANSWERED &&
                   (int)IMAP_FLAG_FLAGGED == (int)MESSAGE_FLAGGED && (int)IMAP_FLAG_DELETED == (int)MESSAGE_DELETED &&
                   (int)IMAP_FLAG_DRAFT == (int)MESSAGE_DRAFT,
               "the grammar's flags are the store's");
_Static_assert((int)IMAP_STORE_SET == (int)MESSAGE_STORE_SET && (int)IMAP_STORE_ADD == (int)MESSAGE_STORE_ADD &&
                   (int)IMAP_STORE_REMOVE == (int)MESSAGE_STORE_REMOVE,
               "the grammar's modes are the store's");
