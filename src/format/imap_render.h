/* IMAP's text for ENVELOPE, BODY and BODYSTRUCTURE (RFC 9051 7.5.2, RFC 3501 7.4.2) from a parsed message. What a quoted string
 * cannot hold (8-bit bytes, NUL, over-long) goes out as a literal, which every client understands; NUL becomes '?'. Pure, any
 * thread. `scratch` is used for parsing address lists. */
#ifndef FORMAT_IMAP_RENDER_H
#define FORMAT_IMAP_RENDER_H

#include "format/mime.h"

enum { IMAP_RENDER_ADDRESSES_MAX = 10000 }; /* of one field */

void imap_render_envelope(struct arena *scratch, const struct mime_envelope *envelope, struct buf *out); /* "(...)" */
/* extended: BODYSTRUCTURE, else BODY. */
void imap_render_body(struct arena *scratch, const struct mime_part *root, bool extended, struct buf *out);

/* A string as nstring: NIL if p is NULL, quoted when possible, else a literal. */
void imap_render_nstring(struct str s, struct buf *out);
void imap_render_string(struct str s, struct buf *out); /* as above, but "" for none */

#endif
