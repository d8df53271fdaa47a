/* Text in headers: encoded-words (RFC 2047, RFC 2231 5) both ways. */
#include "base/err.h"
#include "format/base64.h"
#include "format/charset.h"
#include "format/header.h"

enum {
    WORD_MAX = 1000, /* a word longer than the RFC's 75 is common, an endless one is not */
    WORD_PENDING_MAX = 256 << 10
};

static bool is_word_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static bool is_charset_char(char c) { return c > ' ' && c < 127 && c != '?' && c != '='; }

size_t header_word_parse(struct str s, struct header_word *word)
{
    if (s.n < 8 || s.p[0] != '=' || s.p[1] != '?')
        return 0;
    s = str_upto(s, WORD_MAX);
    size_t at = 2;
    while (at < s.n && is_charset_char(s.p[at]))
        at++;
    struct str charset = str_sub(s, 2, at - 2);
    if (at + 3 >= s.n || s.p[at] != '?' || s.p[at + 2] != '?' || charset.n == 0)
        return 0;
    word->encoding = ascii_upper(s.p[at + 1]);
    if (word->encoding != 'B' && word->encoding != 'Q')
        return 0;
    size_t text = at + 3;
    for (at = text; at + 1 < s.n && s.p[at] != '\n'; at++) {
        if (s.p[at] != '?' || s.p[at + 1] != '=')
            continue;
        if (at == text && word->encoding == 'Q' && at + 3 < s.n && ascii_hex_value(s.p[at + 2]) >= 0 &&
            ascii_hex_value(s.p[at + 3]) >= 0)
            continue; /* =?x?Q?=41?= : that "?=" opens the text */
        word->text = str_sub(s, text, at - text);
        size_t star = str_find_char(charset, '*');
        word->charset = str_upto(charset, star == STR_NPOS ? charset.n : star);
        word->language = star == STR_NPOS ? STR_NONE : str_from(charset, star + 1);
        return at + 2;
    }
    return 0;
}

static void q_decode(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        int hi = -1, lo = -1;
        if (s.p[i] == '=' && i + 2 < s.n) {
            hi = ascii_hex_value(s.p[i + 1]);
            lo = ascii_hex_value(s.p[i + 2]);
        }
        bool coded = hi >= 0 && lo >= 0;
        buf_add_c(out, coded ? (char)(hi * 16 + lo) : s.p[i] == '_' ? ' ' : s.p[i]);
        i += coded ? 2 : 0;
    }
}

/* Words of one charset are collected as bytes first: mailers cut multibyte characters in two. */
struct decoding {
    struct buf *out;
    struct buf pending;
    struct str charset; /* of pending */
};

static void pending_flush(struct decoding *d)
{
    charset_to_utf8(d->charset, buf_str(&d->pending), d->out);
    buf_clear(&d->pending);
}

static void word_decode(struct decoding *d, const struct header_word *word)
{
    if (!str_eq_nocase(word->charset, d->charset))
        pending_flush(d);
    d->charset = word->charset;
    if (word->encoding == 'B')
        base64_decode_lenient(word->text, &d->pending);
    else
        q_decode(word->text, &d->pending);
}

static bool all_space(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_word_space(s.p[i]))
            return false;
    return true;
}

static void plain_decode(struct decoding *d, struct str s)
{
    pending_flush(d);
    header_unfold(s, &d->pending); /* takes the white space at both ends off, which is put back here */
    if (s.n && is_word_space(s.p[0]))
        buf_add_c(d->out, ' ');
    charset_to_utf8(STR_NONE, buf_str(&d->pending), d->out);
    if (d->pending.n && is_word_space(s.p[s.n - 1]))
        buf_add_c(d->out, ' ');
    buf_clear(&d->pending);
}

static void controls_to_spaces(struct buf *b, size_t from)
{
    for (size_t i = from; i < b->n; i++)
        if ((unsigned char)b->p[i] < ' ' || b->p[i] == 127)
            b->p[i] = ' ';
}

void header_decode(struct str value, struct buf *out)
{
    value = str_trim(value);
    size_t from = out->n, at = 0, plain = 0;
    struct decoding d = {out, BUF_INIT(WORD_PENDING_MAX), STR_NONE};
    bool behind_word = false;
    while (at < value.n) {
        const char *eq = memchr(value.p + at, '=', value.n - at);
        if (!eq)
            break;
        at = (size_t)(eq - value.p);
        struct header_word word = {0};
        size_t n = header_word_parse(str_from(value, at), &word);
        if (n == 0) {
            at++;
            continue;
        }
        struct str between = str_sub(value, plain, at - plain);
        if (between.n && !(behind_word && all_space(between))) /* RFC 2047 6.2 */
            plain_decode(&d, between);
        word_decode(&d, &word);
        behind_word = true;
        at += n;
        plain = at;
    }
    if (plain < value.n)
        plain_decode(&d, str_from(value, plain));
    pending_flush(&d);
    buf_release(&d.pending);
    controls_to_spaces(out, from);
}

/* ---- encoding ---- */

static bool needs_encoding(struct str s)
{
    if (str_find(s, STR("=?")) != STR_NPOS)
        return true;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || (unsigned char)s.p[i] >= 127)
            return true;
    return s.n && (s.p[0] == ' ' || s.p[s.n - 1] == ' ');
}

/* Folds plain text before a space when the line grows over 76; a run without spaces stays whole. */
static void plain_encode(struct str s, size_t column, struct buf *out)
{
    while (s.n) {
        size_t word = 1;
        while (word < s.n && s.p[word] != ' ')
            word++;
        if (column + word > 76 && s.p[0] == ' ' && word > 1 && column > 1) {
            buf_add_z(out, "\r\n");
            column = 0;
        }
        buf_add(out, str_upto(s, word));
        column += word;
        s = str_from(s, word);
    }
}

static bool q_safe(char c)
{
    return ascii_alpha(c) || ascii_digit(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/';
} /* RFC 2047 5 (3) */

static size_t q_size(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += q_safe(s.p[i]) || s.p[i] == ' ' ? 1 : 3;
    return n;
}

static void q_encode(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == ' ')
            buf_add_c(out, '_');
        else if (q_safe(s.p[i]))
            buf_add_c(out, s.p[i]);
        else
            buf_printf(out, "=%02X", (unsigned char)s.p[i]);
    }
}

void header_encode(struct str utf8, size_t column, struct buf *out)
{
    enum { WORD = 75, FRAME = 12 }; /* =?utf-8?Q??= */
    if (!needs_encoding(utf8)) {
        plain_encode(utf8, column, out);
        return;
    }
    DEFER(buf_release) struct buf clean = BUF_INIT(utf8.n * 3 + 1);
    charset_clean(utf8, &clean);
    struct str s = buf_str(&clean);
    bool q = q_size(s) <= (s.n + 2) / 3 * 4;
    bool first = true;
    while (s.n) {
        size_t room = WORD - FRAME, left = column + WORD > 76 && first ? (column < 40 ? 76 - column - FRAME : 0) : room;
        if (left < 12 && first) {
            buf_add_z(out, "\r\n ");
            left = room;
        }
        size_t n = q ? left : left / 4 * 3;
        struct str piece = charset_cut(s, n);
        while (q && q_size(piece) > left)
            piece = charset_cut(s, piece.n - 1);
        buf_add_z(out, first ? "" : "\r\n ");
        buf_add_z(out, q ? "=?utf-8?Q?" : "=?utf-8?B?");
        if (q)
            q_encode(piece, out);
        else
            base64_encode(piece, out);
        buf_add_z(out, "?=");
        s = str_from(s, piece.n);
        first = false;
    }
}
