/* Structured header fields: tokens, quoting, parameters (RFC 5322 3.2, RFC 2045 5.1, RFC 2231). */
#include "base/err.h"
#include "format/charset.h"
#include "format/header.h"

enum { PARAM_BYTES_MAX = 64 << 10, PARAM_PIECES_MAX = 100, LITERAL_MAX = 1000 };

static bool is_space(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* Behind the comment that begins at the cursor. Nesting is counted, not followed. */
static struct str skip_comment(struct rd *r)
{
    size_t depth = 0;
    const char *from = r->p + 1;
    while (r->p < r->end) {
        char c = *r->p++;
        if (c == '\\' && r->p < r->end)
            r->p++;
        else if (c == '(')
            depth++;
        else if (c == ')' && --depth == 0)
            return (struct str){from, (size_t)(r->p - 1 - from)};
    }
    return (struct str){from, (size_t)(r->end - from)};
}

static struct str take_quoted(struct rd *r)
{
    const char *from = ++r->p;
    while (r->p < r->end && *r->p != '"') {
        if (*r->p == '\\' && r->p + 1 < r->end)
            r->p++;
        r->p++;
    }
    struct str s = {from, (size_t)(r->p - from)};
    if (r->p < r->end)
        r->p++;
    return s;
}

struct header_token header_token_next(struct rd *r, struct str specials, struct str *comment)
{
    while (r->p < r->end && (is_space(*r->p) || *r->p == '(')) {
        if (*r->p != '(') {
            r->p++;
            continue;
        }
        struct str text = skip_comment(r);
        if (comment)
            *comment = text;
    }
    if (r->p >= r->end)
        return (struct header_token){HEADER_END, STR_NONE};
    const char *from = r->p;
    if (*r->p == '"')
        return (struct header_token){HEADER_QUOTED, take_quoted(r)};
    if (*r->p == '[') {
        /* a longer one is junk, and looking for its end again and again would not be linear */
        const char *close = memchr(r->p, ']', rd_left(r) < LITERAL_MAX ? rd_left(r) : (size_t)LITERAL_MAX);
        if (close) {
            r->p = close + 1;
            return (struct header_token){HEADER_LITERAL, {from, (size_t)(r->p - from)}};
        }
    }
    if (str_find_char(specials, *r->p) != STR_NPOS) {
        r->p++;
        return (struct header_token){HEADER_SPECIAL, {from, 1}};
    }
    while (r->p < r->end && !is_space(*r->p) && *r->p != '(' && *r->p != '"' && str_find_char(specials, *r->p) == STR_NPOS)
        r->p++;
    if (r->p == from) /* a lone '(' or '"' cannot come here; all else makes progress */
        r->p++;
    return (struct header_token){HEADER_ATOM, {from, (size_t)(r->p - from)}};
}

struct str header_unquoted(struct arena *arena, struct str text)
{
    if (text.n == 0)
        return STR("");
    if (!memchr(text.p, '\\', text.n) && !memchr(text.p, '\n', text.n))
        return text;
    char *to = arena_get(arena, text.n);
    if (!to)
        return STR_NONE;
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\\' && i + 1 < text.n)
            i++;
        else if (text.p[i] == '\n' || (text.p[i] == '\r' && i + 1 < text.n && text.p[i + 1] == '\n'))
            continue;
        to[n++] = text.p[i];
    }
    return (struct str){to, n};
}

void header_quote(struct str s, struct buf *out)
{
    buf_add_c(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\r' || c == '\n' || c == '\0')
            continue;
        if (c == '"' || c == '\\')
            buf_add_c(out, '\\');
        buf_add_c(out, c);
    }
    buf_add_c(out, '"');
}

bool header_is_token(struct str s)
{
    struct str specials = HEADER_SPECIALS_MIME;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 127 || str_find_char(specials, s.p[i]) != STR_NPOS)
            return false;
    return s.n > 0;
}

/* ---- Content-Type and its like ---- */

/* The value behind '=': a token, quoted-string, or whatever stands up to the next ';' (unquoted file names with spaces are common).
 */
static struct str param_value(struct arena *arena, struct rd *r)
{
    while (r->p < r->end && is_space(*r->p))
        r->p++;
    if (rd_peek(r) == '"')
        return header_unquoted(arena, take_quoted(r));
    const char *from = r->p;
    while (r->p < r->end && *r->p != ';' && *r->p != '"')
        r->p++;
    struct str s = str_trim((struct str){from, (size_t)(r->p - from)});
    size_t space = 0;
    while (space < s.n && !is_space(s.p[space]))
        space++;
    struct str behind = str_trim(str_from(s, space));
    if (behind.n && behind.p[0] == '(') /* RFC 2045 5.1: us-ascii (Plain text) */
        s = str_upto(s, space);
    return header_unquoted(arena, s);
}

/* One parameter. False: the text is used up. A parameter without a name or '=' leaves p->name empty. */
static bool param_next(struct arena *arena, struct rd *r, struct header_param *p)
{
    struct str comment;
    struct header_token t = header_token_next(r, HEADER_SPECIALS_MIME, &comment);
    while (t.kind == HEADER_SPECIAL && t.text.p[0] == ';')
        t = header_token_next(r, HEADER_SPECIALS_MIME, &comment);
    if (t.kind == HEADER_END)
        return false;
    p->name = STR_NONE;
    const char *mark = r->p;
    struct header_token eq = header_token_next(r, HEADER_SPECIALS_MIME, &comment);
    if (t.kind == HEADER_ATOM && eq.kind == HEADER_SPECIAL && eq.text.p[0] == '=') {
        p->name = t.text;
        p->value = param_value(arena, r);
        if (!p->value.p)
            p->name = STR_NONE;
    } else {
        r->p = mark;
    }
    while (r->p < r->end && *r->p != ';') { /* junk up to the next one */
        if (*r->p == '"')
            take_quoted(r);
        else if (*r->p == '(')
            skip_comment(r);
        else
            r->p++;
    }
    return true;
}

static void params_parse(struct arena *arena, struct rd *r, size_t max, struct header_content *out)
{
    struct header_param **tail = &out->params, p = {0};
    while (out->param_count < max && param_next(arena, r, &p)) {
        if (p.name.n == 0)
            continue;
        struct header_param *kept = ARENA_NEW(arena, struct header_param);
        if (!kept)
            return;
        *kept = (struct header_param){NULL, p.name, p.value};
        *tail = kept;
        tail = &kept->next;
        out->param_count++;
    }
}

bool header_content_parse(struct arena *arena, struct str value, size_t params_max, struct header_content *out)
{
    *out = (struct header_content){0};
    struct rd r = rd_of(value);
    struct header_token t = header_token_next(&r, HEADER_SPECIALS_MIME, NULL);
    if (t.kind != HEADER_ATOM)
        return false;
    out->type = t.text;
    const char *mark = r.p;
    t = header_token_next(&r, HEADER_SPECIALS_MIME, NULL);
    if (t.kind == HEADER_SPECIAL && t.text.p[0] == '/') {
        t = header_token_next(&r, HEADER_SPECIALS_MIME, NULL);
        if (t.kind == HEADER_ATOM)
            out->subtype = t.text;
    } else {
        r.p = mark;
    }
    params_parse(arena, &r, params_max, out);
    return true;
}

struct str header_param_raw(const struct header_param *params, struct str name)
{
    for (const struct header_param *p = params; p; p = p->next)
        if (str_eq_nocase(p->name, name))
            return p->value;
    return STR_NONE;
}

/* ---- RFC 2231 ---- */

/* Is `attribute` a section of `name`? name*, name*0, name*0*: then *section (0 without a number) and *extended. */
static bool param_section(struct str attribute, struct str name, uint32_t *section, bool *extended)
{
    if (!str_starts_nocase(attribute, name) || attribute.n == name.n || attribute.p[name.n] != '*')
        return false;
    struct str rest = str_from(attribute, name.n + 1);
    *extended = rest.n == 0 || str_ends(rest, STR("*"));
    if (rest.n && *extended)
        rest.n--;
    *section = 0;
    return rest.n == 0 || (rest.n <= 4 && str_to_u32(rest, section));
}

static void percent_decode(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        int hi = -1, lo = -1;
        if (s.p[i] == '%' && i + 2 < s.n) {
            hi = ascii_hex_value(s.p[i + 1]);
            lo = ascii_hex_value(s.p[i + 2]);
        }
        bool coded = hi >= 0 && lo >= 0;
        buf_add_c(out, coded ? (char)(hi * 16 + lo) : s.p[i]);
        i += coded ? 2 : 0;
    }
}

/* charset'language'text of the first extended section. */
static struct str extended_head(struct str value, struct str *charset)
{
    size_t first = str_find_char(value, '\'');
    if (first == STR_NPOS)
        return value;
    size_t second = str_find_char(str_from(value, first + 1), '\'');
    if (second == STR_NPOS)
        return value;
    *charset = str_upto(value, first);
    return str_from(value, first + second + 2);
}

/* Puts the sections 0, 1, ... together; stops at the first that is missing (RFC 2231 3). The list is walked once for each section.
 */
static bool sections_join(const struct header_param *params, struct str name, struct str *charset, struct buf *out)
{
    bool found = false;
    for (uint32_t want = 0; want < PARAM_PIECES_MAX; want++) {
        uint32_t section = 0;
        bool extended = false;
        const struct header_param *p = params;
        while (p && !(param_section(p->name, name, &section, &extended) && section == want))
            p = p->next;
        if (!p)
            return found;
        found = true;
        struct str value = extended && want == 0 ? extended_head(p->value, charset) : p->value;
        if (extended)
            percent_decode(value, out);
        else
            buf_add(out, value);
    }
    return found;
}

struct str header_param_find(struct arena *arena, const struct header_param *params, struct str name)
{
    DEFER(buf_release) struct buf raw = BUF_INIT(PARAM_BYTES_MAX);
    DEFER(buf_release) struct buf text = BUF_INIT(PARAM_BYTES_MAX);
    struct str charset = STR_NONE;
    if (sections_join(params, name, &charset, &raw)) {
        charset_to_utf8(charset, buf_str(&raw), &text);
        return arena_str(arena, buf_str(&text));
    }
    struct str value = header_param_raw(params, name);
    if (!value.p)
        return STR_NONE;
    if (str_is_ascii(value) && str_find(value, STR("=?")) == STR_NPOS)
        return value;
    header_decode(str_upto(value, PARAM_BYTES_MAX / 8), &text); /* wrong by RFC 2047 5 and yet common */
    return arena_str(arena, buf_str(&text));
}

static bool is_attribute_char(char c)
{
    return c > ' ' && c < 127 && str_find_char(STR("*'%()<>@,;:\\\"/[]?="), c) == STR_NPOS; /* RFC 2231 7 */
}

void header_param_print(struct str name, struct str value_utf8, struct buf *out)
{
    enum { LINE = 60 };
    if (str_is_ascii(value_utf8) && value_utf8.n + name.n <= LINE + 10) {
        buf_add_z(out, "; ");
        buf_add(out, name);
        buf_add_c(out, '=');
        if (header_is_token(value_utf8))
            buf_add(out, value_utf8);
        else
            header_quote(value_utf8, out);
        return;
    }
    unsigned section = 0;
    size_t at = 0;
    bool single = value_utf8.n * 3 + name.n <= LINE;
    do {
        buf_add_z(out, ";\r\n ");
        buf_add(out, name);
        if (single)
            buf_add_z(out, "*=");
        else
            buf_printf(out, "*%u*=", section);
        if (section++ == 0)
            buf_add_z(out, "utf-8''");
        for (size_t used = 0; at < value_utf8.n && used < LINE - 12; at++) {
            char c = value_utf8.p[at];
            if (is_attribute_char(c))
                buf_add_c(out, c);
            else
                buf_printf(out, "%%%02X", (unsigned char)c);
            used += is_attribute_char(c) ? 1 : 3;
        }
    } while (at < value_utf8.n);
}

/* ---- message ids ---- */

bool header_msg_id_next(struct str *rest, struct str *id)
{
    size_t close;
    while ((close = str_find_char(*rest, '>')) != STR_NPOS) {
        struct str before = str_upto(*rest, close);
        size_t open = str_rfind_char(before, '<'); /* of "<junk <id@host>" the inner one counts */
        *rest = str_from(*rest, close + 1);
        *id = open == STR_NPOS ? STR_NONE : str_trim(str_from(before, open + 1));
        if (id->n)
            return true;
    }
    *rest = STR_NONE;
    return false;
}
