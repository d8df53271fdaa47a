#include "format/transfer.h"

enum { LINE = 76 /* RFC 2045 6.7 (5), 6.8 */ };

static const struct {
    enum transfer_encoding encoding;
    struct str name;
} names[] = {
    {TRANSFER_7BIT, {"7bit", 4}},     {TRANSFER_8BIT, {"8bit", 4}},
    {TRANSFER_BINARY, {"binary", 6}}, {TRANSFER_QP, {"quoted-printable", 16}},
    {TRANSFER_BASE64, {"base64", 6}},
};

enum transfer_encoding transfer_encoding_find(struct str value)
{
    value = str_trim(value);
    if (value.n && value.p[0] == '"') /* not RFC 2045, but seen */
        value = str_from(value, 1);
    size_t n = 0;
    while (n < value.n && (ascii_alpha(value.p[n]) || ascii_digit(value.p[n]) || value.p[n] == '-'))
        n++;
    value = str_upto(value, n);
    if (n == 0)
        return TRANSFER_7BIT;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq_nocase(value, names[i].name))
            return names[i].encoding;
    return TRANSFER_UNKNOWN;
}

struct str transfer_encoding_name(enum transfer_encoding e)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (e == names[i].encoding)
            return names[i].name;
    return STR("binary");
}

/* ---- decoding ---- */

void transfer_decoder_init(struct transfer_decoder *d, enum transfer_encoding encoding)
{
    *d = (struct transfer_decoder){.encoding = encoding};
}

/* 0..63; PAD; SPACE (white space between lines); JUNK. */
enum { PAD = -2, SPACE = -3, JUNK = -1 };
static int base64_value(unsigned char c)
{
    /* clang-format off */
    static const signed char table[256] = {
        ['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
        ['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
        ['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, ['+'] = 63, ['/'] = 64,
        ['='] = PAD + 1, ['\r'] = SPACE + 1, ['\n'] = SPACE + 1, [' '] = SPACE + 1, ['\t'] = SPACE + 1,
    };
    /* clang-format on */
    return table[c] - 1;
}

/* What an unfinished group holds: 0 to 2 bytes. */
static size_t base64_flush(struct transfer_decoder *d, char *to)
{
    size_t n = d->count > 1 ? d->count - 1 : 0;
    uint32_t bits = d->count == 2 ? d->bits << 4 : d->bits >> 2;
    if (n > 0)
        to[0] = (char)(bits >> 8);
    if (n > 1)
        to[1] = (char)bits;
    d->damage += d->count == 1;
    d->count = 0;
    d->bits = 0;
    return n;
}

/* One byte; gives 0 to 3. */
static size_t base64_byte(struct transfer_decoder *d, unsigned char c, char *to)
{
    int v = base64_value(c);
    if (v == PAD) /* what follows begins a new group: concatenated texts exist */
        return base64_flush(d, to);
    if (v < 0) {
        d->damage += v == JUNK;
        return 0;
    }
    d->bits = d->bits << 6 | (uint32_t)v;
    if (++d->count < 4)
        return 0;
    to[0] = (char)(d->bits >> 16);
    to[1] = (char)(d->bits >> 8);
    to[2] = (char)d->bits;
    d->count = 0;
    d->bits = 0;
    return 3;
}

static void base64_feed(struct transfer_decoder *d, struct str in, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)in.p, *end = p + in.n;
    char run[1024];
    size_t n = 0;
    while (p < end) {
        if (n + 3 > sizeof run) {
            buf_add(out, (struct str){run, n});
            n = 0;
        }
        if (d->count == 0 && end - p >= 4) {
            int a = base64_value(p[0]), b = base64_value(p[1]), c = base64_value(p[2]), e = base64_value(p[3]);
            if ((a | b | c | e) >= 0) {
                run[n++] = (char)(a << 2 | b >> 4);
                run[n++] = (char)(b << 4 | c >> 2);
                run[n++] = (char)(c << 6 | e);
                p += 4;
                continue;
            }
        }
        n += base64_byte(d, *p++, run + n);
    }
    buf_add(out, (struct str){run, n});
}

static void qp_emit_held(struct transfer_decoder *d, struct buf *out)
{
    buf_add(out, (struct str){d->held, d->count});
    d->count = 0;
}

static void qp_hold(struct transfer_decoder *d, char c, struct buf *out)
{
    if (d->count == sizeof d->held) { /* white space without end: no text ends like that */
        d->damage += d->held[0] == '=';
        qp_emit_held(d, out);
    }
    d->held[d->count++] = c;
}

/* c behind held bytes that begin with '='. True: c is dealt with. */
static bool qp_after_equals(struct transfer_decoder *d, char c, struct buf *out)
{
    char last = d->held[d->count - 1];
    if (c == '\n' && (last == '=' || last == '\r' || ascii_space(last))) { /* soft line break */
        d->count = 0;
        return true;
    }
    if (last == '=' && d->count == 1 && ascii_hex_value(c) >= 0) {
        qp_hold(d, c, out);
        return true;
    }
    if (d->count == 2 && ascii_hex_value(last) >= 0 && ascii_hex_value(c) >= 0) {
        buf_add_c(out, (char)(ascii_hex_value(last) * 16 + ascii_hex_value(c)));
        d->count = 0;
        return true;
    }
    if ((ascii_space(c) || c == '\r') && (last == '=' || ascii_space(last))) {
        qp_hold(d, c, out);
        return true;
    }
    d->damage++;
    qp_emit_held(d, out);
    return false;
}

/* c behind held white space, which goes away at the end of a line (RFC 2045 6.7 (3)). */
static bool qp_after_space(struct transfer_decoder *d, char c, struct buf *out)
{
    bool cr = d->held[d->count - 1] == '\r';
    if (c == '\n') {
        d->count = 0;
        buf_add_z(out, cr ? "\r\n" : "\n");
        return true;
    }
    if (!cr && (ascii_space(c) || c == '\r')) {
        qp_hold(d, c, out);
        return true;
    }
    qp_emit_held(d, out);
    return false;
}

static void qp_feed(struct transfer_decoder *d, struct str in, struct buf *out)
{
    size_t i = 0;
    while (i < in.n) {
        char c = in.p[i];
        if (d->count) {
            if (d->held[0] == '=' ? qp_after_equals(d, c, out) : qp_after_space(d, c, out))
                i++;
            continue;
        }
        size_t run = i;
        while (run < in.n && in.p[run] != '=' && in.p[run] != '\r' && in.p[run] != '\n')
            run++;
        size_t text = run;
        while (text > i && ascii_space(in.p[text - 1]))
            text--;
        buf_add(out, str_sub(in, i, text - i));
        for (i = text; i < run; i++)
            qp_hold(d, in.p[i], out);
        if (i == in.n || d->count)
            continue;
        if (in.p[i] == '=')
            qp_hold(d, in.p[i], out);
        else
            buf_add_c(out, in.p[i]);
        i++;
    }
}

void transfer_decode(struct transfer_decoder *d, struct str in, struct buf *out)
{
    switch (d->encoding) {
    case TRANSFER_BASE64:
        base64_feed(d, in, out);
        return;
    case TRANSFER_QP:
        qp_feed(d, in, out);
        return;
    case TRANSFER_7BIT:
    case TRANSFER_8BIT:
    case TRANSFER_BINARY:
    case TRANSFER_UNKNOWN:
        buf_add(out, in);
        return;
    }
}

void transfer_decode_end(struct transfer_decoder *d, struct buf *out)
{
    char rest[2];
    if (d->encoding == TRANSFER_BASE64)
        buf_add(out, (struct str){rest, base64_flush(d, rest)});
    bool coded = d->count == 2 && d->held[0] == '=' && ascii_hex_value(d->held[1]) >= 0;
    if (d->encoding == TRANSFER_QP && coded) { /* else white space or a soft break at the end: both go away */
        d->damage++;
        qp_emit_held(d, out);
    }
    d->count = 0;
}

bool transfer_decode_all(enum transfer_encoding encoding, struct str in, struct buf *out)
{
    struct transfer_decoder d;
    transfer_decoder_init(&d, encoding);
    transfer_decode(&d, in, out);
    transfer_decode_end(&d, out);
    return d.damage == 0;
}

/* ---- encoding ---- */

void transfer_encoder_init(struct transfer_encoder *t, enum transfer_encoding encoding, bool text)
{
    *t = (struct transfer_encoder){.encoding = encoding, .text = text};
}

static void base64_group(struct transfer_encoder *t, struct buf *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *h = (const unsigned char *)t->held;
    uint32_t v = (uint32_t)h[0] << 16 | (t->count > 1 ? (uint32_t)h[1] << 8 : 0) | (t->count > 2 ? h[2] : 0);
    char group[6] = {alphabet[v >> 18], alphabet[v >> 12 & 63], '=', '=', '\r', '\n'};
    if (t->count > 1)
        group[2] = alphabet[v >> 6 & 63];
    if (t->count > 2)
        group[3] = alphabet[v & 63];
    t->column += 4;
    bool full = t->column == LINE;
    buf_add(out, (struct str){group, full ? 6 : 4});
    t->count = 0;
    t->column = full ? 0 : t->column;
}

static void qp_room(struct transfer_encoder *t, size_t n, struct buf *out)
{
    if (t->column + n >= LINE) {
        buf_add_z(out, "=\r\n");
        t->column = 0;
    }
    t->column += n;
}

static void qp_coded(struct transfer_encoder *t, char c, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    qp_room(t, 3, out);
    char coded[3] = {'=', digits[(unsigned char)c >> 4], digits[c & 15]};
    buf_add(out, (struct str){coded, 3});
}

static void qp_plain(struct transfer_encoder *t, char c, struct buf *out)
{
    qp_room(t, 1, out);
    buf_add_c(out, c);
}

/* A held byte is a space, tab or CR whose meaning the next byte decides. */
static void qp_byte(struct transfer_encoder *t, char c, struct buf *out)
{
    if (t->count && t->held[0] == '\r') {
        t->count = 0;
        if (c == '\n') {
            buf_add_z(out, "\r\n");
            t->column = 0;
            return;
        }
        qp_coded(t, '\r', out);
    } else if (t->count) {
        t->count = 0;
        if (c == '\r')
            qp_coded(t, t->held[0], out);
        else
            qp_plain(t, t->held[0], out);
    }
    if (ascii_space(c) || (c == '\r' && t->text)) {
        t->held[0] = c;
        t->count = 1;
    } else if (c > ' ' && c < 127 && c != '=') {
        qp_plain(t, c, out);
    } else {
        qp_coded(t, c, out);
    }
}

void transfer_encode(struct transfer_encoder *t, struct str in, struct buf *out)
{
    if (t->encoding != TRANSFER_BASE64 && t->encoding != TRANSFER_QP) {
        buf_add(out, in);
        return;
    }
    for (size_t i = 0; i < in.n; i++) {
        if (t->encoding == TRANSFER_QP) {
            qp_byte(t, in.p[i], out);
            continue;
        }
        t->held[t->count++] = in.p[i];
        if (t->count == 3)
            base64_group(t, out);
    }
}

void transfer_encode_end(struct transfer_encoder *t, struct buf *out)
{
    if (t->encoding == TRANSFER_BASE64) {
        if (t->count)
            base64_group(t, out);
        if (t->column)
            buf_add_z(out, "\r\n");
    } else if (t->encoding == TRANSFER_QP && t->count) { /* white space at the very end would be taken off */
        qp_coded(t, t->held[0], out);
    }
    t->count = 0;
    t->column = 0;
}
