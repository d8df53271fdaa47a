/* Hexadecimal. Pure functions, any thread. */
#ifndef FORMAT_HEX_H
#define FORMAT_HEX_H

#include "base/buf.h"

void hex_encode(struct str bytes, struct buf *out);             /* lower case */
bool hex_decode(struct str text, struct buf *out);              /* either case, an even number of digits, nothing else */
bool hex_decode_exact(struct str text, uint8_t *out, size_t n); /* exactly n bytes */

#endif
