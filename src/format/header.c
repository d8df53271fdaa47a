#include "format/header.h"

size_t header_length(struct str message)
{
    size_t line = 0;
    while (line < message.n) {
        if (message.p[line] == '\n')
            return line + 1;
        if (message.p[line] == '\r' && line + 1 < message.n && message.p[line + 1] == '\n')
            return line + 2;
        const char *lf = memchr(message.p + line, '\n', message.n - line);
        if (!lf)
            return message.n;
        line = (size_t)(lf - message.p) + 1;
    }
    return message.n;
}

void header_first(struct header_iter *it, struct str header)
{
    it->header = header;
    it->at = 0;
}

/* The end of the field that begins at `at`: behind its last line end. A line of only white space continues it (RFC 5322 4.2). */
static size_t field_end(struct str h, size_t at)
{
    while (at < h.n) {
        const char *lf = memchr(h.p + at, '\n', h.n - at);
        if (!lf)
            return h.n;
        at = (size_t)(lf - h.p) + 1;
        if (at >= h.n || !ascii_space(h.p[at]))
            return at;
    }
    return h.n;
}

static struct str without_line_end(struct str s)
{
    if (s.n && s.p[s.n - 1] == '\n')
        s.n--;
    if (s.n && s.p[s.n - 1] == '\r')
        s.n--;
    return s;
}

/* Length of the name at the start of a field, 0 if it is none: printable ASCII without colon (RFC 5322 3.6.8), white space before
 * the colon allowed (4.5.8). *colon is where it is. */
static size_t field_name(struct str raw, size_t *colon)
{
    size_t n = 0;
    while (n < raw.n && raw.p[n] > ' ' && raw.p[n] < 127 && raw.p[n] != ':')
        n++;
    size_t at = n;
    while (at < raw.n && ascii_space(raw.p[at]))
        at++;
    *colon = at;
    return at < raw.n && raw.p[at] == ':' ? n : 0;
}

bool header_next(struct header_iter *it, struct header_field *field)
{
    struct str h = it->header;
    if (it->at >= h.n || h.p[it->at] == '\n' || (h.p[it->at] == '\r' && it->at + 1 < h.n && h.p[it->at + 1] == '\n'))
        return false;
    size_t end = field_end(h, it->at), colon;
    field->offset = it->at;
    field->raw = (struct str){h.p + it->at, end - it->at};
    it->at = end;
    size_t name = field_name(field->raw, &colon);
    field->name = str_upto(field->raw, name);
    field->value = without_line_end(name ? str_from(field->raw, colon + 1) : field->raw);
    return true;
}

bool header_find(struct str header, struct str name, struct header_field *field)
{
    struct header_iter it;
    header_first(&it, header);
    while (header_next(&it, field))
        if (str_eq_nocase(field->name, name))
            return true;
    return false;
}

size_t header_count(struct str header, struct str name, size_t max)
{
    struct header_iter it;
    struct header_field field;
    size_t count = 0;
    header_first(&it, header);
    while (count < max && header_next(&it, &field))
        count += str_eq_nocase(field.name, name);
    return count;
}

void header_unfold(struct str value, struct buf *out)
{
    value = str_trim(value);
    while (value.n) {
        size_t lf = str_find_char(value, '\n');
        if (lf == STR_NPOS) {
            buf_add(out, value);
            return;
        }
        size_t keep = lf && value.p[lf - 1] == '\r' ? lf - 1 : lf;
        buf_add(out, str_upto(value, keep));
        value = str_from(value, lf + 1);
    }
}

struct str header_unfolded(struct arena *arena, struct str value)
{
    value = str_trim(value);
    if (value.n == 0)
        return STR("");
    if (str_find_char(value, '\n') == STR_NPOS)
        return value;
    char *to = arena_get(arena, value.n);
    if (!to)
        return STR_NONE;
    size_t n = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '\n' || (value.p[i] == '\r' && i + 1 < value.n && value.p[i + 1] == '\n'))
            continue;
        to[n++] = value.p[i];
    }
    return (struct str){to, n};
}
