#include "serve/smtp/crlf.h"

/* True if a run without CR has no LF. */
static bool no_lf(const char *p, size_t n) { return n == 0 || memchr(p, '\n', n) == NULL; }

static void line_grow(struct crlf_scan *c, size_t n)
{
    c->line += n;
    if (c->line > c->longest)
        c->longest = c->line;
}

static void line_end(struct crlf_scan *c)
{
    line_grow(c, 1); /* the LF */
    c->line = 0;
}

void crlf_scan_add(struct crlf_scan *c, struct str piece)
{
    if (piece.n == 0)
        return;
    if (!c->eight_bit && !str_is_ascii(piece))
        c->eight_bit = true;
    const char *p = piece.p, *end = piece.p + piece.n;
    if (c->cr) {
        c->cr = false;
        c->bare |= *p++ != '\n';
        line_end(c);
    }
    while (p < end && !c->bare) {
        const char *cr = memchr(p, '\r', (size_t)(end - p));
        size_t run = (size_t)((cr ? cr : end) - p);
        if (!no_lf(p, run))
            c->bare = true;
        line_grow(c, run + (cr != NULL));
        if (!cr)
            return;
        if (cr + 1 == end) {
            c->cr = true;
            return;
        }
        if (cr[1] != '\n')
            c->bare = true;
        line_end(c);
        p = cr + 2;
    }
}
