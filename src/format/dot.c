#include "format/dot.h"

/* The decoder's states. A dot that begins a line is never data: it is stuffing, or the end (RFC 5321 4.5.2). Only the CR behind
 * such a dot has to be held back.
 *
 *              other              CR            LF             '.'
 *   START      TEXT               CR            (bare) TEXT    DOT, drops it
 *   TEXT       TEXT               CR            (bare) TEXT    TEXT
 *   CR         (bare CR) TEXT     (bare) CR     START          (bare CR) TEXT
 *   DOT        TEXT               DOT_CR        (bare) TEXT    TEXT
 *   DOT_CR     gives CR, as CR    as CR         the end        as CR  */
enum { START, TEXT, CR, DOT, DOT_CR };

void dot_decoder_init(struct dot_decoder *d, size_t line_max) { *d = (struct dot_decoder){.state = START, .line_max = line_max}; }

static void fault(struct dot_decoder *d, enum dot_fault f, uint64_t at)
{
    if (d->faults & f)
        return;
    d->faults |= f;
    for (int bit = 0; bit < DOT_FAULTS; bit++)
        if (f == (enum dot_fault)(1 << bit))
            d->fault_at[bit] = at;
}

/* n more bytes in the line, the first at decoded offset `at`. */
static void line_grow(struct dot_decoder *d, size_t n, uint64_t at)
{
    if (d->line <= d->line_max && n > d->line_max - d->line)
        fault(d, DOT_LONG_LINE, at + (d->line_max - d->line));
    d->line += n;
}

static bool has_8bit(struct str s)
{
    uint64_t all = 0, word;
    size_t i = 0;
    for (; s.n - i >= sizeof word; i += sizeof word) {
        memcpy(&word, s.p + i, sizeof word);
        all |= word;
    }
    for (; i < s.n; i++)
        all |= (uint64_t)(unsigned char)s.p[i];
    return all & 0x8080808080808080u;
}

/* Where CR and LF are next; looked for once, so that input full of the one or the other stays linear. */
struct ends {
    size_t cr, lf;
};

static size_t next_of(struct str in, size_t at, char c)
{
    const char *p = at < in.n ? memchr(in.p + at, c, in.n - at) : NULL;
    return p ? (size_t)(p - in.p) : in.n;
}

/* From `at`, inside a line, to behind its CRLF or to the end of the input. base: decoded offset of in.p. */
static size_t scan_text(struct dot_decoder *d, struct str in, size_t at, struct ends *ends, uint64_t base)
{
    if (ends->cr < at)
        ends->cr = next_of(in, at, '\r');
    if (ends->lf < at)
        ends->lf = next_of(in, at, '\n');
    size_t stop = ends->cr < ends->lf ? ends->cr : ends->lf;
    bool at_end = stop == in.n;
    line_grow(d, stop - at + !at_end, base + at);
    d->state = TEXT;
    if (at_end)
        return stop;
    if (stop == ends->lf)
        fault(d, DOT_BARE_LF, base + stop);
    else
        d->state = CR;
    return stop + 1;
}

static size_t scan_behind_cr(struct dot_decoder *d, struct str in, size_t at, uint64_t base)
{
    if (in.p[at] != '\n') {
        fault(d, DOT_BARE_CR, base + at - 1);
        d->state = TEXT;
        return at;
    }
    line_grow(d, 1, base + at);
    d->line = 0;
    d->lines++;
    d->state = START;
    return at + 1;
}

/* Scans data bytes from in.p up to a dot that begins a line, or the end of the input. */
static size_t scan(struct dot_decoder *d, struct str in)
{
    struct ends ends = {next_of(in, 0, '\r'), next_of(in, 0, '\n')};
    size_t at = 0;
    while (at < in.n) {
        if (d->state == CR)
            at = scan_behind_cr(d, in, at, d->size);
        else if (d->state == START && in.p[at] == '.')
            return at;
        else
            at = scan_text(d, in, at, &ends, d->size);
    }
    return at;
}

static void give(struct dot_decoder *d, struct str piece)
{
    const char *nul = memchr(piece.p, 0, piece.n);
    if (nul)
        fault(d, DOT_NUL, d->size + (uint64_t)(nul - piece.p));
    d->eight_bit = d->eight_bit || has_8bit(piece);
    d->size += piece.n;
}

bool dot_decode_next(struct dot_decoder *d, struct str *in, struct str *piece)
{
    while (in->n && !d->done) {
        char c = in->p[0];
        if (d->state == DOT) {
            d->state = c == '\r' ? DOT_CR : TEXT;
            *in = str_from(*in, c == '\r');
        } else if (d->state == DOT_CR && c == '\n') {
            d->done = true;
            *in = str_from(*in, 1);
        } else if (d->state == DOT_CR) {
            *piece = STR("\r");
            line_grow(d, 1, d->size);
            d->state = CR;
            give(d, *piece);
            return true;
        } else if (d->state == START && c == '.') {
            d->state = DOT;
            *in = str_from(*in, 1);
        } else {
            size_t n = scan(d, *in);
            *piece = str_upto(*in, n);
            *in = str_from(*in, n);
            give(d, *piece);
            return true;
        }
    }
    *piece = STR_NONE;
    return false;
}

size_t dot_decode(struct dot_decoder *d, struct str in, struct buf *out)
{
    struct str rest = in, piece;
    while (dot_decode_next(d, &rest, &piece))
        buf_add(out, piece);
    return in.n - rest.n;
}

const char *dot_fault_name(enum dot_fault f)
{
    switch (f) {
    case DOT_BARE_CR:
        return "bare CR";
    case DOT_BARE_LF:
        return "bare LF";
    case DOT_NUL:
        return "NUL";
    case DOT_LONG_LINE:
        return "line too long";
    }
    return "fault";
}

/* ---- encoding ---- */

void dot_encoder_init(struct dot_encoder *e, bool normalise)
{
    *e = (struct dot_encoder){.line_start = true, .normalise = normalise};
}

/* Does a line start at `at`? Only CRLF ends a line: what follows a bare LF is not unstuffed by the peer either. */
static bool starts_line(const struct dot_encoder *e, struct str in, size_t at)
{
    if (at == 0)
        return e->line_start;
    return in.p[at - 1] == '\n' && (at > 1 ? in.p[at - 2] == '\r' : e->cr);
}

/* Lines are short, so that looking for the end of each, or for each dot, costs several times as much as comparing whole blocks. */
typedef char vector __attribute__((vector_size(16)));
enum { BLOCK = 4 * sizeof(vector) };

/* All ones in each byte that is an LF before a dot. */
static vector dots_behind_lf(const char *p)
{
    vector first, second;
    memcpy(&first, p, sizeof first);
    memcpy(&second, p + 1, sizeof second);
    return (first == '\n') & (second == '.');
}

/* Is there a dot behind an LF in p[0..BLOCK]? */
static bool block_has_dot(const char *p)
{
    enum { V = sizeof(vector) };
    uint64_t half[2];
    vector any = (dots_behind_lf(p) | dots_behind_lf(p + V)) | (dots_behind_lf(p + 2 * V) | dots_behind_lf(p + 3 * V));
    memcpy(half, &any, sizeof half);
    return (half[0] | half[1]) != 0;
}

/* The next dot at the start of a line, from `at` on. */
static size_t next_stuffed(const struct dot_encoder *e, struct str in, size_t at)
{
    if (at == 0 && in.n && in.p[0] == '.' && e->line_start)
        return 0;
    for (size_t i = at ? at - 1 : 0; i + 1 < in.n;) { /* i: where the LF would be */
        size_t end = in.n - i > BLOCK ? i + BLOCK : in.n - 1;
        if (end - i == BLOCK && !block_has_dot(in.p + i))
            i = end;
        for (; i < end; i++)
            if (in.p[i] == '\n' && in.p[i + 1] == '.' && starts_line(e, in, i + 1))
                return i + 1;
    }
    return in.n;
}

/* The state behind `in`. */
static void raw_end(struct dot_encoder *e, struct str in)
{
    bool line_start = starts_line(e, in, in.n); /* before e->cr changes */
    e->cr = in.n ? in.p[in.n - 1] == '\r' : e->cr;
    e->line_start = line_start;
}

/* From the back: each stuffed dot, and what follows it up to the next, moves by the number of dots up to it. */
static void insert_dots(const struct dot_encoder *e, struct str in, char *to, size_t dots)
{
    size_t end = in.n;
    for (size_t at = in.n; dots > 0;) {
        const char *dot = memrchr(in.p, '.', at);
        at = dot ? (size_t)(dot - in.p) : 0;
        if (!starts_line(e, in, at))
            continue;
        memmove(to + at + dots, in.p + at, end - at);
        to[at + dots - 1] = '.';
        end = at;
        dots--;
    }
}

void dot_encode_in_place(struct dot_encoder *e, struct buf *out, size_t from)
{
    struct str in = str_from(buf_str(out), from);
    size_t dots = 0;
    for (size_t at = next_stuffed(e, in, 0); at < in.n; at = next_stuffed(e, in, at + 1))
        dots++;
    struct dot_encoder behind = *e;
    raw_end(&behind, in);
    if (dots && buf_reserve(out, dots)) {
        insert_dots(e, str_from(buf_str(out), from), out->p + from, dots);
        buf_grew(out, dots);
    }
    *e = behind;
}

/* As it is, but for the dots. */
static void encode_raw(struct dot_encoder *e, struct str in, struct buf *out)
{
    size_t from = out->n;
    buf_add(out, in);
    dot_encode_in_place(e, out, from);
}

static void end_line(struct dot_encoder *e, struct buf *out)
{
    buf_add_z(out, "\r\n");
    e->cr = false;
    e->line_start = true;
}

/* Behind a held CR: CRLF, CR CR LF and a bare CR are one line end. Returns how many bytes are used. */
static size_t encode_behind_cr(struct dot_encoder *e, char c, struct buf *out)
{
    if (c == '\r')
        return 1;
    end_line(e, out);
    return c == '\n';
}

static void encode_normal(struct dot_encoder *e, struct str in, struct buf *out)
{
    struct ends ends = {next_of(in, 0, '\r'), next_of(in, 0, '\n')};
    size_t at = 0;
    while (at < in.n) {
        if (e->cr) {
            at += encode_behind_cr(e, in.p[at], out);
            continue;
        }
        if (ends.cr < at)
            ends.cr = next_of(in, at, '\r');
        if (ends.lf < at)
            ends.lf = next_of(in, at, '\n');
        size_t stop = ends.cr < ends.lf ? ends.cr : ends.lf;
        if (e->line_start && in.p[at] == '.')
            buf_add_c(out, '.');
        buf_add(out, str_sub(in, at, stop - at));
        e->line_start &= stop == at;
        if (stop == in.n)
            return;
        if (stop == ends.cr)
            e->cr = true;
        else
            end_line(e, out);
        at = stop + 1;
    }
}

void dot_encode(struct dot_encoder *e, struct str in, struct buf *out)
{
    if (e->normalise)
        encode_normal(e, in, out);
    else
        encode_raw(e, in, out);
}

void dot_encode_end(struct dot_encoder *e, struct buf *out)
{
    if (e->normalise && e->cr)
        end_line(e, out);
    if (!e->line_start)
        buf_add_z(out, "\r\n");
    buf_add_z(out, ".\r\n");
}
