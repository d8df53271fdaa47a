/* Looks at the lines of a message that comes in pieces (BDAT): CR and LF that are not part of a CRLF, the longest line. The dot
 * decoder does the same for DATA. Behind the first bare one nothing more is looked for. */
#ifndef SERVE_SMTP_CRLF_H
#define SERVE_SMTP_CRLF_H

#include "base/buf.h"

struct crlf_scan {
    bool cr; /* the last byte was a CR */
    bool bare;
    bool eight_bit;
    size_t line, longest; /* bytes of the present line and of the longest, with CRLF */
};

void crlf_scan_add(struct crlf_scan *c, struct str piece);
/* At the end: a CR as the last byte of all is bare. */
static inline bool crlf_scan_bare(const struct crlf_scan *c) { return c->bare || c->cr; }

#endif
