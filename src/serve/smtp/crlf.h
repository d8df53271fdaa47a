/* Looks for CR and LF that are not part of a CRLF in a message that comes in pieces (BDAT). The dot decoder does the same for
 * DATA. */
#ifndef SERVE_SMTP_CRLF_H
#define SERVE_SMTP_CRLF_H

#include "base/buf.h"

struct crlf_scan {
    bool cr; /* the last byte was a CR */
    bool bare;
    bool eight_bit;
};

void crlf_scan_add(struct crlf_scan *c, struct str piece);
/* At the end: a CR as the last byte of all is bare. */
static inline bool crlf_scan_bare(const struct crlf_scan *c) { return c->bare || c->cr; }

#endif
