#include "format/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int value_of(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

static void encode(struct str s, const char *table, bool padded, struct buf *out)
{
    char *to = buf_reserve(out, (s.n + 2) / 3 * 4);
    if (!to)
        return;
    char *p = to;
    size_t i = 0;
    for (; i + 3 <= s.n; i += 3) {
        uint32_t v = (uint32_t)(uint8_t)s.p[i] << 16 | (uint32_t)(uint8_t)s.p[i + 1] << 8 | (uint8_t)s.p[i + 2];
        *p++ = table[v >> 18];
        *p++ = table[v >> 12 & 63];
        *p++ = table[v >> 6 & 63];
        *p++ = table[v & 63];
    }
    if (i < s.n) {
        uint32_t v = (uint32_t)(uint8_t)s.p[i] << 16 | (i + 1 < s.n ? (uint32_t)(uint8_t)s.p[i + 1] << 8 : 0);
        *p++ = table[v >> 18];
        *p++ = table[v >> 12 & 63];
        if (i + 1 < s.n)
            *p++ = table[v >> 6 & 63];
        else if (padded)
            *p++ = '=';
        if (padded)
            *p++ = '=';
    }
    buf_grew(out, (size_t)(p - to));
}

void base64_encode(struct str bytes, struct buf *out) { encode(bytes, alphabet, true, out); }
void base64url_encode(struct str bytes, struct buf *out) { encode(bytes, alphabet_url, false, out); }

/* text without padding. */
static bool decode(struct str s, bool url, struct buf *out)
{
    if (s.n % 4 == 1)
        return false;
    uint32_t bits = 0;
    for (size_t i = 0; i < s.n; i++) {
        int v = value_of(s.p[i], url);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 == 3) {
            char group[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
            buf_add(out, (struct str){group, 3});
            bits = 0;
        }
    }
    if (s.n % 4 == 2) {
        buf_add_c(out, (char)(bits >> 4));
        return (bits & 15) == 0;
    }
    if (s.n % 4 == 3) {
        buf_add_c(out, (char)(bits >> 10));
        buf_add_c(out, (char)(bits >> 2));
        return (bits & 3) == 0;
    }
    return true;
}

bool base64_decode(struct str text, struct buf *out)
{
    if (text.n % 4)
        return false;
    for (int i = 0; i < 2 && text.n && text.p[text.n - 1] == '='; i++)
        text.n--;
    return decode(text, false, out) && buf_ok(out);
}

bool base64url_decode(struct str text, struct buf *out) { return decode(text, true, out) && buf_ok(out); }

size_t base64_decode_lenient(struct str text, struct buf *out)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t skipped = 0;
    for (size_t i = 0; i < text.n; i++) {
        int v = value_of(text.p[i], false);
        if (v < 0 && text.p[i] == '=') { /* padding: what follows begins a new group (concatenated words) */
            count = 0;
            continue;
        }
        if (v < 0) {
            skipped++;
            continue;
        }
        bits = bits << 6 | (uint32_t)v;
        if (++count == 1)
            continue;
        buf_add_c(out, (char)(count == 2 ? bits >> 4 : count == 3 ? bits >> 2 : bits));
        if (count == 4)
            count = 0;
    }
    return skipped;
}
