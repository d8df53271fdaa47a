#include "serve/smtp/crlf.h"

/* True if a run without CR has no LF. */
static bool no_lf(const char *p, size_t n) { return n == 0 || memchr(p, '\n', n) == NULL; }

void crlf_scan_add(struct crlf_scan *c, struct str piece)
{
    if (piece.n == 0)
        return;
    if (!c->eight_bit && !str_is_ascii(piece))
        c->eight_bit = true;
    const char *p = piece.p, *end = piece.p + piece.n;
    if (c->cr) {
        c->cr = false;
        if (*p == '\n')
            p++;
        else
            c->bare = true;
    }
    while (p < end && !c->bare) {
        const char *cr = memchr(p, '\r', (size_t)(end - p));
        size_t run = (size_t)((cr ? cr : end) - p);
        if (!no_lf(p, run))
            c->bare = true;
        if (!cr)
            return;
        if (cr + 1 == end) {
            c->cr = true;
            return;
        }
        if (cr[1] != '\n')
            c->bare = true;
        p = cr + 2;
    }
}
