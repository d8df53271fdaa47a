/* Address lists in headers: RFC 5322 3.4, the obsolete forms of 4.4, and what is out there. Lenient: the same text always gives the
 * same entries, and what is not in the grammar is marked broken. */
#include "base/err.h"
#include "format/address.h"
#include "format/header.h"

enum { LITERAL_MAX = 1000, ROUTE_MAX = 2000 }; /* looking further for an end would not be linear */

struct parser {
    struct arena *arena;
    struct str text;
    size_t at;
    size_t max;
    struct address_list *list;
    struct address_entry **tail;
    struct buf name;    /* of the entry at hand */
    struct str comment; /* the last one */
    bool in_group, broken;
    size_t no_quote, no_paren; /* from there on no closing quote or parenthesis comes: the opening ones are plain characters. Keeps
                                  all linear */
};

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static int peek(const struct parser *p) { return p->at < p->text.n ? (unsigned char)p->text.p[p->at] : -1; }

static size_t quoted_end(struct parser *p, size_t at) /* behind the closing quote, or 0 */
{
    for (size_t i = at + 1; at < p->no_quote && i < p->text.n; i++) {
        if (p->text.p[i] == '\\')
            i++;
        else if (p->text.p[i] == '"')
            return i + 1;
    }
    p->no_quote = p->no_quote < at ? p->no_quote : at;
    return 0;
}

static size_t comment_end(struct parser *p, size_t at)
{
    size_t depth = 0;
    for (size_t i = at; at < p->no_paren && i < p->text.n; i++) {
        if (p->text.p[i] == '\\')
            i++;
        else if (p->text.p[i] == '(')
            depth++;
        else if (p->text.p[i] == ')' && --depth == 0)
            return i + 1;
    }
    p->no_paren = p->no_paren < at ? p->no_paren : at;
    return 0;
}

/* Skips white space and comments. */
static void skip_cfws(struct parser *p)
{
    while (p->at < p->text.n) {
        if (is_blank(p->text.p[p->at])) {
            p->at++;
            continue;
        }
        size_t end = p->text.p[p->at] == '(' ? comment_end(p, p->at) : 0;
        if (end == 0)
            return;
        p->comment = str_sub(p->text, p->at + 1, end - p->at - 2);
        p->at = end;
    }
}

static bool is_special(char c) { return c && strchr("<>@,;:\"(", c); }

/* Behind the run of plain characters at `at` (which is one). An encoded-word is one piece, whatever it holds. */
static size_t atom_end(const struct parser *p, size_t at)
{
    struct header_word word;
    size_t n = p->text.p[at] == '=' ? header_word_parse(str_from(p->text, at), &word) : 0;
    if (n)
        return at + n;
    do
        at++;
    while (at < p->text.n && !is_blank(p->text.p[at]) && !is_special(p->text.p[at]) && p->text.p[at] != '=');
    return at;
}

/* The first of '<' '@' ':' ',' ';' from here on that is not inside a quoted-string or comment; -1 at the end of the text. */
static int look_ahead(struct parser *p)
{
    size_t i = p->at;
    while (i < p->text.n) {
        char c = p->text.p[i];
        if (c && strchr("<@,;", c))
            return c;
        if (c == ':' && !p->in_group)
            return c;
        size_t end = c == '"' ? quoted_end(p, i) : c == '(' ? comment_end(p, i) : 0;
        i = end ? end : is_blank(c) || is_special(c) ? i + 1 : atom_end(p, i);
    }
    return -1;
}

static void name_add(struct parser *p, struct str word, bool quoted, bool gap)
{
    if (gap && p->name.n)
        buf_add_c(&p->name, ' ');
    if (word.n == 0)
        return;
    if (!memchr(word.p, '\n', word.n) && !memchr(word.p, '\r', word.n) && !(quoted && memchr(word.p, '\\', word.n))) {
        buf_add(&p->name, word);
        return;
    }
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] == '\r' || word.p[i] == '\n')
            continue;
        if (quoted && word.p[i] == '\\' && i + 1 < word.n)
            i++;
        buf_add_c(&p->name, word.p[i]);
    }
}

/* Words up to a byte of `stops` or the end of the text, into p->name, one space where there was a gap. */
static void take_words(struct parser *p, const char *stops)
{
    buf_clear(&p->name);
    bool gap = false;
    for (;;) {
        size_t before = p->at;
        skip_cfws(p);
        gap |= p->at != before;
        int c = peek(p);
        if (c < 0 || (c && strchr(stops, c)))
            return;
        size_t end = c == '"' ? quoted_end(p, p->at) : 0;
        if (!end && is_special((char)c)) { /* out of place: left out */
            p->broken = true;
            p->at++;
            continue;
        }
        if (end) {
            name_add(p, str_sub(p->text, p->at + 1, end - p->at - 2), true, gap);
        } else {
            end = atom_end(p, p->at);
            name_add(p, str_sub(p->text, p->at, end - p->at), false, gap);
        }
        p->at = end;
        gap = false;
    }
}

static struct address_entry *entry_add(struct parser *p, enum address_entry_kind kind)
{
    struct address_entry *entry = p->list->count < p->max ? ARENA_NEW(p->arena, struct address_entry) : NULL;
    if (!entry) {
        p->list->truncated = true;
        return NULL;
    }
    entry->kind = kind;
    *p->tail = entry;
    p->tail = &entry->next;
    p->list->count++;
    p->list->mailboxes += kind == ADDRESS_MAILBOX;
    return entry;
}

static struct str kept(struct parser *p, const struct buf *b)
{
    struct str s = arena_str(p->arena, str_trim(buf_str(b)));
    p->list->truncated |= !s.p;
    return s;
}

static struct str comment_name(struct parser *p)
{
    buf_clear(&p->name);
    name_add(p, str_trim(p->comment), true, false);
    return kept(p, &p->name);
}

/* local-part at the cursor, up to '@' or a stop. White space around dots is obsolete syntax, elsewhere junk. */
static struct str take_local(struct parser *p, const char *stops, size_t *end)
{
    DEFER(buf_release) struct buf local = BUF_INIT(p->text.n);
    bool dot = true;
    *end = p->at;
    for (;;) {
        size_t before = p->at;
        skip_cfws(p);
        int c = peek(p);
        if (c < 0 || c == '@' || (c && strchr(stops, c)))
            return kept(p, &local);
        size_t stop = c == '"' ? quoted_end(p, p->at) : 0;
        if (!stop && is_special((char)c)) {
            p->broken = true;
            p->at++;
            continue;
        }
        bool gap = p->at != before && local.n;
        if (gap && !dot && c != '.') {
            p->broken = true;
            buf_add_c(&local, ' ');
        }
        struct str word = stop ? str_sub(p->text, p->at + 1, stop - p->at - 2) : STR_NONE;
        if (stop) {
            for (size_t i = 0; i < word.n; i++)
                if (word.p[i] != '\r' && word.p[i] != '\n' && (word.p[i] != '\\' || ++i < word.n))
                    buf_add_c(&local, word.p[i]);
        } else {
            stop = atom_end(p, p->at);
            buf_add(&local, str_sub(p->text, p->at, stop - p->at));
        }
        p->at = *end = stop;
        dot = p->text.p[stop - 1] == '.';
    }
}

/* domain behind '@', up to a stop. */
static struct str take_domain(struct parser *p, const char *stops)
{
    DEFER(buf_release) struct buf domain = BUF_INIT(p->text.n);
    bool dot = true;
    for (;;) {
        size_t before = p->at;
        skip_cfws(p);
        int c = peek(p);
        if (c < 0 || is_special((char)c) || (c && strchr(stops, c)))
            break;
        if (p->at != before && !dot && c != '.') /* two words: the domain ended */
            break;
        size_t close = c == '[' ? str_find_char(str_sub(p->text, p->at, LITERAL_MAX), ']') : STR_NPOS;
        size_t stop = close != STR_NPOS ? p->at + close + 1 : atom_end(p, p->at);
        for (; p->at < stop; p->at++)
            if (!is_blank(p->text.p[p->at]))
                buf_add_c(&domain, p->text.p[p->at]);
        dot = p->text.p[stop - 1] == '.';
    }
    p->broken |= domain.n == 0;
    return kept(p, &domain);
}

/* "@a,@b:" */
static struct str take_route(struct parser *p)
{
    size_t from = p->at, colon = from;
    while (colon < p->text.n && colon - from < ROUTE_MAX && p->text.p[colon] != ':' && p->text.p[colon] != '>')
        colon++;
    if (colon >= p->text.n || p->text.p[colon] != ':')
        return STR_NONE;
    p->at = colon + 1;
    return str_trim(str_sub(p->text, from, colon - from));
}

/* Behind '<'. */
static void take_angle(struct parser *p, struct address_entry *entry)
{
    p->at += peek(p) == '<';
    skip_cfws(p);
    if (peek(p) == '@')
        entry->route = take_route(p);
    entry->local = take_local(p, ">,;<", &entry->local_end);
    if (peek(p) == '@') {
        p->at++;
        entry->domain = take_domain(p, ">");
    }
    while (p->at < p->text.n && !strchr(">,;<", p->text.p[p->at] ? p->text.p[p->at] : 'x')) { /* user@host@host, a b@c d */
        p->broken = true;
        p->at++;
    }
    if (peek(p) == '>')
        p->at++;
    else
        p->broken = true;
}

/* What stands behind an address up to the separator: comments are welcome, other words are junk. Returns where the junk begins. */
static size_t skip_junk(struct parser *p)
{
    skip_cfws(p);
    size_t from = p->at;
    for (;; skip_cfws(p)) {
        int c = peek(p);
        if (c < 0 || c == ',' || c == ';' || c == '<')
            return from;
        p->broken = true;
        size_t end = c == '"' ? quoted_end(p, p->at) : 0;
        p->at = end ? end : is_special((char)c) ? p->at + 1 : atom_end(p, p->at);
    }
}

/* Behind '>'. In front of another '<' the junk is the next one's name: a comma is missing. */
static void finish_angle(struct parser *p)
{
    size_t from = skip_junk(p);
    if (peek(p) == '<')
        p->at = from;
}

static void take_name_angle(struct parser *p)
{
    take_words(p, "<");
    struct address_entry *entry = entry_add(p, ADDRESS_MAILBOX);
    if (!entry) {
        p->at = p->text.n;
        return;
    }
    entry->name = kept(p, &p->name);
    take_angle(p, entry);
    finish_angle(p);
    entry->broken = p->broken || entry->domain.n == 0 || entry->local.n == 0;
    if (entry->name.n == 0 && p->comment.n)
        entry->name = comment_name(p);
}

/* local@domain without brackets. What turns out to be a display name with an '@' in it starts over. */
static void take_bare(struct parser *p)
{
    size_t from = p->at;
    struct address_entry *entry = entry_add(p, ADDRESS_MAILBOX);
    if (!entry) {
        p->at = p->text.n;
        return;
    }
    entry->local = take_local(p, ",;<", &entry->local_end);
    if (peek(p) == '@') {
        p->at++;
        entry->domain = take_domain(p, ",;<");
    }
    skip_junk(p);
    if (peek(p) == '<') { /* carolyn@xyz.com <carolyn@xyz.com> */
        size_t angle = p->at;
        buf_clear(&p->name);
        name_add(p, str_trim(str_sub(p->text, from, angle - from)), false, false);
        entry->name = kept(p, &p->name);
        entry->domain = STR_NONE;
        take_angle(p, entry);
        finish_angle(p);
        p->broken = true;
    }
    entry->broken = p->broken || entry->domain.n == 0 || entry->local.n == 0;
    if (entry->name.n == 0 && p->comment.n)
        entry->name = comment_name(p);
}

static void take_group(struct parser *p)
{
    take_words(p, ":");
    p->at++;
    struct address_entry *entry = entry_add(p, ADDRESS_GROUP_BEGIN);
    if (entry) {
        entry->name = kept(p, &p->name);
        entry->broken = p->broken;
    }
    p->in_group = true;
}

static void take_separator(struct parser *p)
{
    if (p->text.p[p->at] == ';' && p->in_group) {
        entry_add(p, ADDRESS_GROUP_END);
        p->in_group = false;
    }
    p->at++;
}

void address_list_parse(struct arena *arena, struct str value, size_t max, struct address_list *out)
{
    *out = (struct address_list){0};
    struct parser p = {.arena = arena,
                       .text = value,
                       .max = max,
                       .list = out,
                       .tail = &out->first,
                       .name = BUF_INIT(value.n * 2 + 1),
                       .no_quote = STR_NPOS,
                       .no_paren = STR_NPOS};
    while (!out->truncated) {
        p.comment = STR_NONE;
        p.broken = false;
        skip_cfws(&p);
        int c = peek(&p);
        if (c < 0)
            break;
        if (c == ',' || c == ';') {
            take_separator(&p);
            continue;
        }
        int ahead = look_ahead(&p);
        if (ahead == '<')
            take_name_angle(&p);
        else if (ahead == ':')
            take_group(&p);
        else
            take_bare(&p);
    }
    if (p.in_group && entry_add(&p, ADDRESS_GROUP_END) == NULL)
        out->truncated = true;
    buf_release(&p.name);
}

const struct address_entry *address_list_mailbox(const struct address_list *list)
{
    for (const struct address_entry *a = list->first; a; a = a->next)
        if (a->kind == ADDRESS_MAILBOX)
            return a;
    return NULL;
}

void address_entry_print(const struct address_entry *a, struct buf *out)
{
    struct address as = {.local = a->local, .domain = a->domain};
    address_print(&as, out);
}

static bool is_phrase(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_alpha(s.p[i]) && !ascii_digit(s.p[i]) && !(s.p[i] && strchr(" !#$%&'*+-/=?^_`{|}~", s.p[i])))
            return false;
    return s.n && s.p[0] != ' ' && s.p[s.n - 1] != ' ' && str_find(s, STR("=?")) == STR_NPOS && str_find(s, STR("  ")) == STR_NPOS;
}

void address_mailbox_print(struct str name_utf8, const struct address *a, struct buf *out)
{
    bool controls = false;
    for (size_t i = 0; i < name_utf8.n; i++)
        controls |= (unsigned char)name_utf8.p[i] < ' ' || name_utf8.p[i] == 127;
    if (name_utf8.n == 0) {
        address_print(a, out);
        return;
    }
    if (is_phrase(name_utf8))
        buf_add(out, name_utf8);
    else if (str_is_ascii(name_utf8) && !controls && str_find(name_utf8, STR("=?")) == STR_NPOS)
        header_quote(name_utf8, out);
    else
        header_encode(name_utf8, 20, out);
    buf_add_c(out, ' ');
    address_print_path(a, out);
}
