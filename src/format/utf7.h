/* IMAP's modified UTF-7 for mailbox names (RFC 3501 5.1.3). Pure functions, any thread. */
#ifndef FORMAT_UTF7_H
#define FORMAT_UTF7_H

#include "base/buf.h"

/* Appends UTF-8. False: not well-formed modified UTF-7 (8-bit bytes, control characters, a stray '&', superfluous shifts, encoded
 * printable ASCII, lone surrogates); *out may hold a part. What is accepted encodes back to the same bytes. */
bool utf7_decode(struct str name, struct buf *out);
/* Appends modified UTF-7. False: s is not UTF-8. */
bool utf7_encode(struct str utf8, struct buf *out);

#endif
