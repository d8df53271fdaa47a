#include "format/imap_parse.h"

#include "base/err.h"
#include "format/utf7.h"

struct imap_args imap_args_of(struct str text, struct arena *arena, bool utf8)
{
    return (struct imap_args){.rd = rd_of(text), .arena = arena, .utf8 = utf8};
}

bool imap_args_fail(struct imap_args *a, const char *expected)
{
    if (!a->wrong)
        a->wrong = expected;
    rd_fail(&a->rd);
    return false;
}

/* ---- characters (RFC 9051 9) ---- */

static bool is_atom_char(char c) { return c > ' ' && c < 0x7f && !strchr("(){%*\"\\]", c); }
static bool is_astring_char(char c) { return is_atom_char(c) || c == ']'; }
static bool is_tag_char(char c) { return is_astring_char(c) && c != '+'; }
static bool is_list_char(char c) { return is_astring_char(c) || c == '%' || c == '*'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word_char(char c)
{
    return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || is_digit(c) || c == '.' || c == '-' || c == '_';
}
static bool is_set_char(char c) { return is_digit(c) || c == ':' || c == ',' || c == '*'; }

bool imap_parse_char(struct imap_args *a, char c)
{
    if (rd_accept(&a->rd, c))
        return true;
    return imap_args_fail(a, c == ' ' ? "one space" : c == '(' ? "\"(\"" : c == ')' ? "\")\"" : "another character");
}
bool imap_parse_space(struct imap_args *a) { return imap_parse_char(a, ' '); }
bool imap_accept(struct imap_args *a, char c) { return rd_accept(&a->rd, c); }
bool imap_peek_is(const struct imap_args *a, char c) { return rd_peek(&a->rd) == (unsigned char)c; }
bool imap_at_end(const struct imap_args *a) { return rd_end(&a->rd); }

bool imap_parse_end(struct imap_args *a)
{
    if (!imap_args_ok(a))
        return false;
    return rd_end(&a->rd) || imap_args_fail(a, "the end of the command");
}

bool imap_accept_word(struct imap_args *a, const char *word)
{
    struct rd probe = a->rd;
    if (!str_eq_nocase(rd_while(&probe, is_word_char), str_of(word)))
        return false;
    a->rd.p = probe.p;
    return true;
}

/* ---- strings ---- */

static bool token(struct imap_args *a, bool (*is)(char c), const char *expected, struct str *out)
{
    *out = rd_while(&a->rd, is);
    return out->n > 0 || imap_args_fail(a, expected);
}

bool imap_parse_tag(struct imap_args *a, struct str *out) { return token(a, is_tag_char, "a tag", out); }
bool imap_parse_atom(struct imap_args *a, struct str *out) { return token(a, is_atom_char, "an atom", out); }

/* A quoted string; the usual one, without escapes, is a view. */
static bool quoted(struct imap_args *a, struct str *out)
{
    struct rd *r = &a->rd;
    const char *from = ++r->p;
    size_t escapes = 0;
    for (; r->p < r->end && *r->p != '"'; r->p++) {
        if (*r->p == '\\' && r->p + 1 < r->end) {
            escapes++;
            r->p++;
        }
        if (*r->p == '\r' || *r->p == '\n' || *r->p == '\0')
            return imap_args_fail(a, "a quoted string without line ends");
    }
    if (r->p >= r->end)
        return imap_args_fail(a, "a closing quote");
    *out = (struct str){from, (size_t)(r->p++ - from)};
    if (escapes == 0)
        return true;
    char *to = arena_get(a->arena, out->n);
    if (!to)
        return imap_args_fail(a, "a shorter command");
    size_t n = 0;
    for (size_t i = 0; i < out->n; i++) {
        if (out->p[i] == '\\')
            i++; /* what follows is there: escapes were counted in pairs above */
        to[n++] = out->p[i];
    }
    *out = (struct str){to, n};
    return true;
}

/* "{5}" or "{5+}" (RFC 7888), CRLF, the bytes. The framer has made sure that they are all there. */
static bool literal(struct imap_args *a, struct str *out)
{
    a->rd.p++;
    uint64_t n = rd_decimal(&a->rd);
    rd_accept(&a->rd, '+');
    rd_expect(&a->rd, '}');
    rd_accept(&a->rd, '\r');
    rd_expect(&a->rd, '\n');
    if (n > rd_left(&a->rd))
        rd_fail(&a->rd);
    *out = rd_bytes(&a->rd, (size_t)n);
    if (a->rd.failed)
        return imap_args_fail(a, "a literal");
    if (out->n && memchr(out->p, '\0', out->n))
        return imap_args_fail(a, "a literal without NUL"); /* RFC 9051 9: CHAR8 */
    return true;
}

bool imap_parse_string(struct imap_args *a, struct str *out)
{
    *out = STR_NONE;
    if (imap_peek_is(a, '"'))
        return quoted(a, out);
    if (imap_peek_is(a, '{'))
        return literal(a, out);
    return imap_args_fail(a, "a string");
}

static bool string_is_next(const struct imap_args *a) { return imap_peek_is(a, '"') || imap_peek_is(a, '{'); }

bool imap_parse_astring(struct imap_args *a, struct str *out)
{
    return string_is_next(a) ? imap_parse_string(a, out) : token(a, is_astring_char, "an atom or a string", out);
}

bool imap_parse_nstring(struct imap_args *a, struct str *out)
{
    *out = STR_NONE;
    return imap_accept_word(a, "NIL") || imap_parse_string(a, out);
}

/* ---- numbers ---- */

static bool number(struct imap_args *a, uint64_t least, uint64_t most, const char *expected, uint64_t *out)
{
    *out = 0;
    if (!imap_args_ok(a) || !is_digit((char)rd_peek(&a->rd)))
        return imap_args_fail(a, expected);
    *out = rd_decimal(&a->rd);
    return (!a->rd.failed && *out >= least && *out <= most) || imap_args_fail(a, expected);
}

bool imap_parse_number(struct imap_args *a, uint32_t *out)
{
    uint64_t v;
    bool ok = number(a, 0, UINT32_MAX, "a number", &v);
    *out = (uint32_t)v;
    return ok;
}

bool imap_parse_nz_number(struct imap_args *a, uint32_t *out)
{
    uint64_t v;
    bool ok = number(a, 1, UINT32_MAX, "a number from 1", &v);
    *out = (uint32_t)v;
    return ok;
}

bool imap_parse_number64(struct imap_args *a, uint64_t *out) { return number(a, 0, INT64_MAX, "a number of 63 bits", out); }

/* ---- mailbox names ---- */

/* The name as UTF-8 (RFC 9051 5.1). Without UTF-8 mode it is modified UTF-7 (RFC 3501 5.1.3), but what comes in UTF-8 all the same
 * is taken for what it is. */
static bool name_to_utf8(struct imap_args *a, struct str *name)
{
    bool ascii = str_is_ascii(*name);
    if (!ascii && !str_is_utf8(*name))
        return imap_args_fail(a, "a mailbox name in UTF-8");
    if (!ascii || a->utf8 || str_find_char(*name, '&') == STR_NPOS)
        return true;
    DEFER(buf_release) struct buf utf8 = BUF_INIT(name->n + 4);
    if (!utf7_decode(*name, &utf8) || !buf_ok(&utf8))
        return imap_args_fail(a, "a mailbox name in modified UTF-7");
    *name = arena_str(a->arena, buf_str(&utf8));
    return name->p || imap_args_fail(a, "a shorter command");
}

bool imap_parse_mailbox(struct imap_args *a, struct str *out)
{
    if (!imap_parse_astring(a, out) || !name_to_utf8(a, out))
        return false;
    if (str_eq_nocase(*out, STR("INBOX")))
        *out = STR("INBOX");
    return true;
}

bool imap_parse_list_mailbox(struct imap_args *a, struct str *out)
{
    bool ok = string_is_next(a) ? imap_parse_string(a, out) : token(a, is_list_char, "a mailbox name or pattern", out);
    return ok && name_to_utf8(a, out);
}

/* ---- dates ---- */

bool imap_parse_date(struct imap_args *a, int32_t *day)
{
    struct str s;
    *day = 0;
    if (!imap_parse_astring(a, &s))
        return false;
    return date_parse_imap_day(s, day) || imap_args_fail(a, "a date like 1-Feb-1994");
}

bool imap_parse_date_time(struct imap_args *a, struct date *out)
{
    struct str s;
    *out = (struct date){0};
    if (!imap_peek_is(a, '"') || !quoted(a, &s) || !date_parse_imap(s, out))
        return imap_args_fail(a, "a date-time like \"17-Jul-1996 02:44:25 -0700\"");
    return true;
}

/* ---- flags ---- */

static const struct {
    const char *name;
    uint32_t bit;
} system_flags[] = {{"Seen", IMAP_FLAG_SEEN},
                    {"Answered", IMAP_FLAG_ANSWERED},
                    {"Flagged", IMAP_FLAG_FLAGGED},
                    {"Deleted", IMAP_FLAG_DELETED},
                    {"Draft", IMAP_FLAG_DRAFT}};

static bool system_flag(struct imap_args *a, struct str name, struct imap_flags *out)
{
    for (size_t i = 0; i < sizeof system_flags / sizeof *system_flags; i++)
        if (str_eq_nocase(name, str_of(system_flags[i].name))) {
            out->flags |= system_flags[i].bit;
            return true;
        }
    return imap_args_fail(a, "a flag that exists");
}

static bool flag(struct imap_args *a, struct imap_flags *out)
{
    struct str s;
    bool system = imap_accept(a, '\\');
    if (!imap_parse_atom(a, &s))
        return imap_args_fail(a, "a flag");
    if (system)
        return system_flag(a, s, out);
    for (size_t i = 0; i < out->count; i++)
        if (str_eq_nocase(out->keywords[i], s))
            return true;
    if (out->count == IMAP_PARSE_ITEMS_MAX)
        return imap_args_fail(a, "fewer flags");
    out->keywords[out->count++] = s;
    return true;
}

static bool flags_begin(struct imap_args *a, struct imap_flags *out)
{
    *out = (struct imap_flags){.keywords = ARENA_ARRAY(a->arena, IMAP_PARSE_ITEMS_MAX, struct str)};
    return out->keywords || imap_args_fail(a, "a shorter command");
}

bool imap_parse_flags_bare(struct imap_args *a, struct imap_flags *out)
{
    if (!flags_begin(a, out))
        return false;
    do
        if (!flag(a, out))
            return false;
    while (imap_accept(a, ' '));
    return true;
}

bool imap_parse_flag_list(struct imap_args *a, struct imap_flags *out)
{
    if (!flags_begin(a, out) || !imap_parse_char(a, '('))
        return false;
    if (imap_accept(a, ')'))
        return true;
    do
        if (!flag(a, out))
            return false;
    while (imap_accept(a, ' '));
    return imap_parse_char(a, ')');
}

/* ---- sets ---- */

static bool set_number(struct imap_args *a, struct rd *r, uint32_t *out)
{
    *out = 0;
    if (rd_accept(r, '*'))
        return true;
    uint64_t v = rd_decimal(r);
    if (r->failed || v == 0 || v > UINT32_MAX)
        return imap_args_fail(a, "a set of numbers like 1:4,7,9:*");
    *out = (uint32_t)v;
    return true;
}

static bool set_range(struct imap_args *a, struct rd *r, struct imap_range *out)
{
    if (!set_number(a, r, &out->first))
        return false;
    out->last = out->first;
    if (!rd_accept(r, ':'))
        return true;
    if (!set_number(a, r, &out->last))
        return false;
    /* 4:2 is 2:4 (RFC 9051 9, seq-range); '*' stays where it is, since it may be smaller than the other */
    if (out->first && out->last && out->first > out->last) {
        uint32_t first = out->last;
        out->last = out->first;
        out->first = first;
    }
    return true;
}

bool imap_parse_set(struct imap_args *a, struct imap_set *out)
{
    *out = (struct imap_set){0};
    if (imap_accept(a, '$')) {
        out->saved = true;
        return true;
    }
    struct str s;
    if (!token(a, is_set_char, "a set of numbers like 1:4,7,9:*", &s))
        return false;
    size_t ranges = 1;
    for (size_t i = 0; i < s.n; i++)
        ranges += s.p[i] == ',';
    if (ranges > IMAP_PARSE_RANGES_MAX)
        return imap_args_fail(a, "a set of fewer ranges");
    out->ranges = ARENA_ARRAY(a->arena, ranges, struct imap_range);
    if (!out->ranges)
        return imap_args_fail(a, "a shorter command");
    struct rd r = rd_of(s);
    do
        if (!set_range(a, &r, &out->ranges[out->count++]))
            return false;
    while (rd_accept(&r, ','));
    return rd_end(&r) || imap_args_fail(a, "a set of numbers like 1:4,7,9:*");
}

bool imap_parse_known_set(struct imap_args *a, struct imap_set *out)
{
    if (!imap_parse_set(a, out))
        return false;
    for (size_t i = 0; i < out->count; i++)
        if (!out->ranges[i].first || !out->ranges[i].last)
            return imap_args_fail(a, "a set without *"); /* RFC 7162 7 */
    return !out->saved || imap_args_fail(a, "a set of numbers");
}

/* ---- what nobody knows ---- */

bool imap_parse_skip(struct imap_args *a)
{
    struct str s;
    if (!imap_accept(a, '('))
        return string_is_next(a) ? imap_parse_string(a, &s) : token(a, is_list_char, "a value", &s);
    if (imap_accept(a, ')'))
        return true;
    if (++a->depth > IMAP_PARSE_DEPTH_MAX)
        return imap_args_fail(a, "fewer parentheses");
    do
        if (!imap_parse_skip(a))
            return false;
    while (imap_accept(a, ' '));
    a->depth--;
    return imap_parse_char(a, ')');
}
