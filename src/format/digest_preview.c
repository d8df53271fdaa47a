/* The preview line and what counts as an attachment. */
#include "base/err.h"
#include "format/charset.h"
#include "format/digest_internal.h"

enum { TEXT_MAX = 16 << 10, /* of a text part that are looked at */ PARTS_MAX = 200 };

bool digest_is_attachment(const struct mime_part *part)
{
    static const char *const never[][2] = {{"application", "pgp-signature"},     {"application", "pkcs7-signature"},
                                           {"application", "x-pkcs7-signature"}, {"application", "pgp-encrypted"},
                                           {"message", "delivery-status"},       {"message", "disposition-notification"}};
    if (part->kind == MIME_MULTIPART)
        return false;
    if (str_eq_nocase(part->disposition, STR("attachment")))
        return true;
    bool named = header_param_raw(part->disposition_params, STR("filename")).n || header_param_raw(part->params, STR("name")).n;
    if (mime_is(part, STR("text"), STR_NONE))
        return named && !str_eq_nocase(part->disposition, STR("inline"));
    bool in_related = part->parent && mime_is(part->parent, STR("multipart"), STR("related"));
    if (str_eq_nocase(part->disposition, STR("inline")) || (in_related && part->id.n))
        return false;
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (mime_is(part, str_of(never[i][0]), str_of(never[i][1])))
            return false;
    return true;
}

/* The next part in the order of the message, but none inside nested messages. */
static const struct mime_part *part_after(const struct mime_part *part)
{
    if (part->kind == MIME_MULTIPART && part->first_child)
        return part->first_child;
    while (part && !part->next)
        part = part->parent;
    return part ? part->next : NULL;
}

/* The first text/plain part that is no attachment, else the first other text part. */
static const struct mime_part *text_part(const struct mime_part *root)
{
    const struct mime_part *other = NULL;
    size_t count = 0;
    for (const struct mime_part *part = root; part && count < PARTS_MAX; part = part_after(part), count++) {
        if (part->kind != MIME_LEAF || !mime_is(part, STR("text"), STR_NONE) || digest_is_attachment(part))
            continue;
        if (mime_is(part, STR("text"), STR("plain")))
            return part;
        other = other ? other : part;
    }
    return other;
}

/* ---- text/html ---- */

static struct str entity_text(struct str name)
{
    static const struct {
        const char *name, *text;
    } entities[] = {{"amp", "&"},
                    {"lt", "<"},
                    {"gt", ">"},
                    {"quot", "\""},
                    {"apos", "'"},
                    {"nbsp", " "},
                    {"ndash", "\xe2\x80\x93"},
                    {"mdash", "\xe2\x80\x94"},
                    {"rsquo", "\xe2\x80\x99"},
                    {"hellip", "\xe2\x80\xa6"},
                    {"copy", "\xc2\xa9"},
                    {"auml", "\xc3\xa4"},
                    {"ouml", "\xc3\xb6"},
                    {"uuml", "\xc3\xbc"},
                    {"szlig", "\xc3\x9f"},
                    {"zwnj", ""},
                    {"shy", ""}};
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
        if (str_eq_nocase(name, str_of(entities[i].name)))
            return str_of(entities[i].text);
    return STR(" ");
}

/* s begins with '&'; returns how many bytes are used. */
static size_t add_entity(struct str s, struct buf *out)
{
    enum { NAME_MAX_BYTES = 12 };
    size_t end = 1;
    while (end < s.n && end < NAME_MAX_BYTES && (ascii_alpha(s.p[end]) || ascii_digit(s.p[end]) || s.p[end] == '#'))
        end++;
    if (end == s.n || s.p[end] != ';' || end == 1) {
        buf_add_c(out, '&');
        return 1;
    }
    buf_add(out, entity_text(str_sub(s, 1, end - 1)));
    return end + 1;
}

/* Length of the tag at the start of s; of <style> and <script> with what they enclose. */
static size_t tag_length(struct str s)
{
    const struct str hidden[][2] = {{STR("<style"), STR("</style>")},
                                    {STR("<script"), STR("</script>")},
                                    {STR("<!--"), STR("-->")},
                                    {STR("<head"), STR("</head>")}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        if (!str_starts_nocase(s, hidden[i][0]) || str_starts_nocase(s, STR("<header")))
            continue;
        size_t at = str_find_nocase(s, hidden[i][1]);
        return at == STR_NPOS ? s.n : at + hidden[i][1].n;
    }
    size_t close = str_find_char(s, '>');
    return close == STR_NPOS ? s.n : close + 1;
}

static void html_to_text(struct str s, struct buf *out)
{
    while (s.n) {
        if (s.p[0] == '<') {
            s = str_from(s, tag_length(s));
            buf_add_c(out, ' ');
        } else if (s.p[0] == '&') {
            s = str_from(s, add_entity(s, out));
        } else {
            buf_add_c(out, s.p[0]);
            s = str_from(s, 1);
        }
    }
}

/* ---- one line ---- */

/* Appends the line's words, each with a space in front. */
static void add_words(struct str line, struct buf *out)
{
    size_t at = 0;
    while (at < line.n) {
        while (at < line.n && (unsigned char)line.p[at] <= ' ')
            at++;
        size_t from = at;
        while (at < line.n && (unsigned char)line.p[at] > ' ')
            at++;
        if (at == from)
            return;
        if (out->n)
            buf_add_c(out, ' ');
        buf_add(out, str_sub(line, from, at - from));
    }
}

/* Quoted lines and rules say little; behind a signature mark nothing follows. */
static bool is_dull(struct str line)
{
    line = str_trim(line);
    if (line.n == 0 || line.p[0] == '>')
        return true;
    for (size_t i = 0; i < line.n; i++)
        if (!strchr("-_=*#~+ ", line.p[i] ? line.p[i] : 'x'))
            return false;
    return true;
}

void digest_preview(struct str message, const struct mime_tree *tree, struct buf *out)
{
    DEFER(buf_release) struct buf text = BUF_INIT(TEXT_MAX);
    DEFER(buf_release) struct buf plain = BUF_INIT(TEXT_MAX);
    DEFER(buf_release) struct buf words = BUF_INIT(TEXT_MAX);
    const struct mime_part *part = tree->root ? text_part(tree->root) : NULL;
    if (!part)
        return;
    mime_text(message, part, &text);
    struct str rest = buf_str(&text), line;
    if (mime_is(part, STR("text"), STR("html"))) {
        html_to_text(rest, &plain);
        rest = buf_str(&plain);
    }
    while (words.n < DIGEST_PREVIEW_MAX && str_split(&rest, '\n', &line) && !str_eq(line, STR("-- \r")) &&
           !str_eq(line, STR("-- ")))
        if (!is_dull(line))
            add_words(line, &words);
    buf_add(out, charset_cut(buf_str(&words), DIGEST_PREVIEW_MAX));
}
