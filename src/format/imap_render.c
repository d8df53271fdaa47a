#include "format/imap_render.h"

#include "format/address.h"

enum { QUOTED_MAX = 1000, /* longer strings go as literals */ LANGUAGES_MAX = 50 };

/* Can it be a quoted string, of the ASCII ones that every client takes (RFC 9051 QUOTED-CHAR)? *escapes: quotes and backslashes in
 * it. */
static bool is_quotable(struct str s, size_t *escapes)
{
    *escapes = 0;
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] >= 127 || ((unsigned char)s.p[i] < ' ' && s.p[i] != '\t'))
            return false;
        *escapes += s.p[i] == '"' || s.p[i] == '\\';
    }
    return true;
}

static void add_quoted(struct str s, size_t escapes, struct buf *out)
{
    char *start = buf_reserve(out, s.n + escapes + 2), *to = start;
    if (!start)
        return;
    *to++ = '"';
    if (escapes == 0 && s.n) {
        memcpy(to, s.p, s.n);
        to += s.n;
    }
    for (size_t i = 0; escapes && i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            *to++ = '\\';
        *to++ = s.p[i];
    }
    *to++ = '"';
    buf_grew(out, (size_t)(to - start));
}

void imap_render_string(struct str s, struct buf *out)
{
    size_t escapes;
    if (s.n <= QUOTED_MAX && is_quotable(s, &escapes)) {
        add_quoted(s, escapes, out);
        return;
    }
    buf_add_c(out, '{');
    buf_add_u64(out, s.n);
    buf_add_z(out, "}\r\n");
    char *to = buf_reserve(out, s.n);
    if (!to)
        return;
    for (size_t i = 0; i < s.n; i++)
        to[i] = s.p[i] ? s.p[i] : '?'; /* a literal holds no NUL */
    buf_grew(out, s.n);
}

void imap_render_nstring(struct str s, struct buf *out)
{
    if (s.p)
        imap_render_string(s, out);
    else
        buf_add_z(out, "NIL");
}

static struct str or_nil(struct str s) { return s.n ? s : STR_NONE; }

/* ---- ENVELOPE ---- */

static void render_unfolded(struct arena *scratch, struct str value, struct buf *out)
{
    if (value.p)
        value = header_unfolded(scratch, value);
    imap_render_nstring(value, out);
}

/* (name adl mailbox host); a group is opened by (NIL NIL name NIL) and closed by (NIL NIL NIL NIL). A mailbox without a domain
 * has the empty host, since NIL would make it a group. */
static void render_address(const struct address_entry *a, struct buf *out)
{
    bool mailbox = a->kind == ADDRESS_MAILBOX;
    struct str local = mailbox ? a->local : a->kind == ADDRESS_GROUP_BEGIN ? a->name : STR_NONE;
    buf_add_c(out, '(');
    imap_render_nstring(mailbox ? or_nil(a->name) : STR_NONE, out);
    buf_add_c(out, ' ');
    imap_render_nstring(mailbox ? or_nil(a->route) : STR_NONE, out);
    buf_add_c(out, ' ');
    if (a->kind == ADDRESS_GROUP_END)
        imap_render_nstring(STR_NONE, out);
    else
        imap_render_string(local, out);
    buf_add_c(out, ' ');
    if (mailbox)
        imap_render_string(a->domain, out);
    else
        imap_render_nstring(STR_NONE, out);
    buf_add_c(out, ')');
}

static void render_list(const struct address_list *list, struct buf *out)
{
    if (!list->first) {
        buf_add_z(out, "NIL");
        return;
    }
    buf_add_c(out, '(');
    for (const struct address_entry *a = list->first; a; a = a->next)
        render_address(a, out);
    buf_add_c(out, ')');
}

static void render_field(struct arena *scratch, struct str value, const struct address_list *otherwise, struct buf *out)
{
    struct address_list list;
    address_list_parse(scratch, value, IMAP_RENDER_ADDRESSES_MAX, &list);
    render_list(list.first || !otherwise ? &list : otherwise, out);
}

void imap_render_envelope(struct arena *scratch, const struct mime_envelope *envelope, struct buf *out)
{
    static const struct mime_envelope none;
    const struct mime_envelope *v = envelope ? envelope : &none;
    struct address_list from;
    buf_add_c(out, '(');
    render_unfolded(scratch, v->date, out);
    buf_add_c(out, ' ');
    render_unfolded(scratch, v->subject, out);
    buf_add_c(out, ' ');
    address_list_parse(scratch, v->from, IMAP_RENDER_ADDRESSES_MAX, &from);
    render_list(&from, out);
    buf_add_c(out, ' ');
    render_field(scratch, v->sender, &from, out); /* absent or empty: as From (RFC 9051 7.5.2) */
    buf_add_c(out, ' ');
    render_field(scratch, v->reply_to, &from, out);
    buf_add_c(out, ' ');
    render_field(scratch, v->to, NULL, out);
    buf_add_c(out, ' ');
    render_field(scratch, v->cc, NULL, out);
    buf_add_c(out, ' ');
    render_field(scratch, v->bcc, NULL, out);
    buf_add_c(out, ' ');
    render_unfolded(scratch, v->in_reply_to, out);
    buf_add_c(out, ' ');
    render_unfolded(scratch, v->message_id, out);
    buf_add_c(out, ')');
}

/* ---- BODY, BODYSTRUCTURE ---- */

static void render_params(const struct header_param *params, struct buf *out)
{
    if (!params) {
        buf_add_z(out, "NIL");
        return;
    }
    buf_add_c(out, '(');
    for (const struct header_param *p = params; p; p = p->next) {
        imap_render_string(p->name, out);
        buf_add_c(out, ' ');
        imap_render_string(p->value, out);
        if (p->next)
            buf_add_c(out, ' ');
    }
    buf_add_c(out, ')');
}

static void render_languages(struct str value, struct buf *out)
{
    struct rd r = rd_of(value);
    size_t count = 0;
    for (;;) {
        struct header_token t = header_token_next(&r, HEADER_SPECIALS_MIME, NULL);
        if (t.kind == HEADER_END || count >= LANGUAGES_MAX)
            break;
        if (t.kind != HEADER_ATOM)
            continue;
        buf_add_c(out, count++ ? ' ' : '(');
        imap_render_string(t.text, out);
    }
    buf_add_z(out, count ? ")" : "NIL");
}

/* body-fld-dsp SP body-fld-lang SP body-fld-loc, with a space in front */
static void render_extension(const struct mime_part *part, struct buf *out)
{
    buf_add_c(out, ' ');
    if (part->disposition.n) {
        buf_add_c(out, '(');
        imap_render_string(part->disposition, out);
        buf_add_c(out, ' ');
        render_params(part->disposition_params, out);
        buf_add_c(out, ')');
    } else {
        buf_add_z(out, "NIL");
    }
    buf_add_c(out, ' ');
    render_languages(part->languages, out);
    buf_add_c(out, ' ');
    imap_render_nstring(or_nil(part->location), out);
}

static void render_empty_text(bool extended, struct buf *out)
{
    buf_add_z(out, "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0");
    buf_add_z(out, extended ? " NIL NIL NIL NIL)" : ")");
}

static void render_part(struct arena *scratch, const struct mime_part *part, bool extended, struct buf *out);

static void render_multipart(struct arena *scratch, const struct mime_part *part, bool extended, struct buf *out)
{
    buf_add_c(out, '(');
    for (const struct mime_part *child = part->first_child; child; child = child->next)
        render_part(scratch, child, extended, out);
    if (!part->first_child) /* the grammar wants one */
        render_empty_text(extended, out);
    buf_add_c(out, ' ');
    imap_render_string(part->subtype, out);
    if (extended) {
        buf_add_c(out, ' ');
        render_params(part->params, out);
        render_extension(part, out);
    }
    buf_add_c(out, ')');
}

static void render_single(struct arena *scratch, const struct mime_part *part, bool extended, struct buf *out)
{
    buf_add_c(out, '(');
    imap_render_string(part->type, out);
    buf_add_c(out, ' ');
    imap_render_string(part->subtype, out);
    buf_add_c(out, ' ');
    render_params(part->params, out);
    buf_add_c(out, ' ');
    imap_render_nstring(or_nil(part->id), out);
    buf_add_c(out, ' ');
    imap_render_nstring(or_nil(part->description), out);
    buf_add_c(out, ' ');
    bool known = part->encoding != TRANSFER_UNKNOWN;
    imap_render_string(known ? transfer_encoding_name(part->encoding) : part->encoding_text, out);
    buf_add_c(out, ' ');
    buf_add_u64(out, part->body_length);
    if (part->kind == MIME_MESSAGE) {
        buf_add_c(out, ' ');
        imap_render_envelope(scratch, part->first_child ? part->first_child->envelope : NULL, out);
        buf_add_c(out, ' ');
        if (part->first_child)
            render_part(scratch, part->first_child, extended, out);
        else
            render_empty_text(extended, out);
    }
    if (part->kind == MIME_MESSAGE || mime_is(part, STR("text"), STR_NONE)) {
        buf_add_c(out, ' ');
        buf_add_u64(out, part->lines);
    }
    if (extended) {
        buf_add_c(out, ' ');
        imap_render_nstring(or_nil(part->md5), out);
        render_extension(part, out);
    }
    buf_add_c(out, ')');
}

/* Recursion is as deep as the tree, which mime_parse() limits. */
static void render_part(struct arena *scratch, const struct mime_part *part, bool extended, struct buf *out)
{
    if (!buf_ok(out))
        return;
    if (part->kind == MIME_MULTIPART)
        render_multipart(scratch, part, extended, out);
    else
        render_single(scratch, part, extended, out);
}

void imap_render_body(struct arena *scratch, const struct mime_part *root, bool extended, struct buf *out)
{
    render_part(scratch, root, extended, out);
}
