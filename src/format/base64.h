/* Base64 (RFC 4648) and hexadecimal of short texts: SASL, digests, MIME words. Bodies: transfer.h. Pure functions, any thread. */
#ifndef FORMAT_BASE64_H
#define FORMAT_BASE64_H

#include "base/buf.h"

void base64_encode(struct str bytes, struct buf *out); /* padded, one line */
/* Strict: alphabet, length a multiple of 4, padding at the end with zero bits behind it. False: *out may hold a part. Empty is
 * valid. */
bool base64_decode(struct str text, struct buf *out);
/* Lenient, as old mailers need it: other bytes are skipped, padding may be missing. Returns how many bytes were skipped. */
size_t base64_decode_lenient(struct str text, struct buf *out);
/* RFC 4648 5: '-' and '_', no padding. */
void base64url_encode(struct str bytes, struct buf *out);
bool base64url_decode(struct str text, struct buf *out);

#endif
