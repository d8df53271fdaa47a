/* One character as UTF-8 (RFC 3629). Pure, any thread. */
#ifndef FORMAT_UTF8_H
#define FORMAT_UTF8_H

#include "base/str.h"

/* c: a Unicode scalar value. Writes at most 4 bytes and returns how many. */
static inline size_t utf8_encode(uint32_t c, char t[4])
{
    if (c < 0x80) {
        t[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        t[i] = (char)(0x80 | (c & 63));
    t[0] = (char)((0xf00u >> n) | c);
    return n;
}

/* The character at the start of s: its length, or 0. Then *broken is how many bytes stand for one U+FFFD (the longest beginning of
 * a character, at least 1; Unicode 3.9) and *cut says that s ends before the character does. s is not empty. */
static inline size_t utf8_decode(struct str s, uint32_t *c, size_t *broken, bool *cut)
{
    unsigned char lead = (unsigned char)s.p[0], low = 0x80, high = 0xbf;
    size_t n = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    *c = n < 2 ? lead : lead & (0x7fu >> n);
    *cut = false;
    *broken = 1;
    if (n == 0)
        return 0;
    if (lead == 0xe0) /* no overlong forms, no surrogates, nothing beyond U+10FFFF */
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < n; i++, low = 0x80, high = 0xbf) {
        *broken = i;
        *cut = i == s.n;
        if (*cut || (unsigned char)s.p[i] < low || (unsigned char)s.p[i] > high)
            return 0;
        *c = *c << 6 | ((unsigned char)s.p[i] & 63);
    }
    return n;
}

#endif
