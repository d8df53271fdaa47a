#include "format/hex.h"

void hex_encode(struct str bytes, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.n; i++) {
        buf_add_c(out, digits[(uint8_t)bytes.p[i] >> 4]);
        buf_add_c(out, digits[bytes.p[i] & 15]);
    }
}

bool hex_decode(struct str text, struct buf *out)
{
    for (size_t i = 0; i + 1 < text.n; i += 2) {
        int hi = ascii_hex_value(text.p[i]), lo = ascii_hex_value(text.p[i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        buf_add_c(out, (char)(hi * 16 + lo));
    }
    return text.n % 2 == 0 && buf_ok(out);
}

bool hex_decode_exact(struct str text, uint8_t *out, size_t n)
{
    if (text.n % 2 || text.n / 2 != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int hi = ascii_hex_value(text.p[2 * i]), lo = ascii_hex_value(text.p[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i] = (uint8_t)(hi * 16 + lo);
    }
    return true;
}
