#include "base/rd.h"

#include "base/bits.h"

int rd_take(struct rd *r)
{
    if (r->p >= r->end) {
        rd_fail(r);
        return -1;
    }
    return (unsigned char)*r->p++;
}

bool rd_accept(struct rd *r, char c)
{
    if (r->p >= r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

bool rd_accept_str(struct rd *r, struct str s)
{
    if (!str_starts(rd_rest(r), s))
        return false;
    r->p += s.n;
    return true;
}

bool rd_accept_nocase(struct rd *r, struct str s)
{
    if (!str_starts_nocase(rd_rest(r), s))
        return false;
    r->p += s.n;
    return true;
}

bool rd_expect(struct rd *r, char c)
{
    if (rd_accept(r, c))
        return true;
    rd_fail(r);
    return false;
}

struct str rd_bytes(struct rd *r, size_t n)
{
    if (r->failed || n > rd_left(r)) {
        rd_fail(r);
        return STR_NONE;
    }
    struct str s = {r->p, n};
    if (n)
        r->p += n;
    return s;
}

struct str rd_while(struct rd *r, bool (*is)(char c))
{
    const char *from = r->p;
    while (r->p < r->end && is(*r->p))
        r->p++;
    return (struct str){from, (size_t)(r->p - from)};
}

struct str rd_until(struct rd *r, char c)
{
    size_t at = str_find_char(rd_rest(r), c);
    return rd_bytes(r, at == STR_NPOS ? rd_left(r) : at);
}

void rd_skip_space(struct rd *r)
{
    while (r->p < r->end && ascii_space(*r->p))
        r->p++;
}

uint64_t rd_decimal(struct rd *r)
{
    uint64_t v = 0;
    size_t digits = 0;
    while (r->p < r->end && ascii_digit(*r->p)) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*r->p - '0'), &v)) {
            rd_fail(r);
            return 0;
        }
        r->p++;
        digits++;
    }
    if (digits == 0)
        rd_fail(r);
    return digits ? v : 0;
}

uint8_t rd_u8(struct rd *r)
{
    struct str s = rd_bytes(r, 1);
    return s.n ? (uint8_t)s.p[0] : 0;
}
uint16_t rd_le16(struct rd *r)
{
    struct str s = rd_bytes(r, 2);
    return s.n ? le16_get(s.p) : 0;
}
uint32_t rd_le32(struct rd *r)
{
    struct str s = rd_bytes(r, 4);
    return s.n ? le32_get(s.p) : 0;
}
uint64_t rd_le64(struct rd *r)
{
    struct str s = rd_bytes(r, 8);
    return s.n ? le64_get(s.p) : 0;
}
uint32_t rd_be32(struct rd *r)
{
    struct str s = rd_bytes(r, 4);
    return s.n ? be32_get(s.p) : 0;
}
uint64_t rd_be64(struct rd *r)
{
    struct str s = rd_bytes(r, 8);
    return s.n ? be64_get(s.p) : 0;
}

uint64_t rd_varint(struct rd *r)
{
    if (r->p < r->end && !(*r->p & 0x80)) /* most are one byte */
        return (uint8_t)*r->p++;
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = rd_u8(r);
        if (r->failed)
            return 0;
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
    rd_fail(r);
    return 0;
}

struct str rd_varstr(struct rd *r)
{
    uint64_t n = rd_varint(r);
    if (n > rd_left(r)) {
        rd_fail(r);
        return STR_NONE;
    }
    return rd_bytes(r, (size_t)n);
}
