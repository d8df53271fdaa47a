#include "base/str.h"

#include "base/bits.h"

bool str_eq(struct str a, struct str b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }

static int cmp_nocase_n(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int d = (unsigned char)ascii_lower(a[i]) - (unsigned char)ascii_lower(b[i]);
        if (d)
            return d;
    }
    return 0;
}

bool str_eq_nocase(struct str a, struct str b) { return a.n == b.n && cmp_nocase_n(a.p, b.p, a.n) == 0; }

static int cmp_len(size_t a, size_t b) { return (a > b) - (a < b); }

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int d = n ? memcmp(a.p, b.p, n) : 0;
    return d ? d : cmp_len(a.n, b.n);
}

int str_cmp_nocase(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int d = cmp_nocase_n(a.p, b.p, n);
    return d ? d : cmp_len(a.n, b.n);
}

bool str_starts(struct str s, struct str prefix) { return s.n >= prefix.n && str_eq(str_upto(s, prefix.n), prefix); }
bool str_starts_nocase(struct str s, struct str prefix) { return s.n >= prefix.n && str_eq_nocase(str_upto(s, prefix.n), prefix); }
bool str_ends(struct str s, struct str suffix) { return s.n >= suffix.n && str_eq(str_from(s, s.n - suffix.n), suffix); }
bool str_ends_nocase(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq_nocase(str_from(s, s.n - suffix.n), suffix);
}

struct str str_from(struct str s, size_t at)
{
    if (at >= s.n)
        return (struct str){s.p ? s.p + s.n : NULL, 0};
    return (struct str){s.p + at, s.n - at};
}

struct str str_upto(struct str s, size_t n) { return (struct str){s.p, n < s.n ? n : s.n}; }
struct str str_sub(struct str s, size_t at, size_t n) { return str_upto(str_from(s, at), n); }

static bool is_trim(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

struct str str_trim(struct str s)
{
    while (s.n && is_trim(s.p[0]))
        s = str_from(s, 1);
    while (s.n && is_trim(s.p[s.n - 1]))
        s.n--;
    return s;
}

size_t str_find_char(struct str s, char c)
{
    const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;
    return hit ? (size_t)(hit - s.p) : STR_NPOS;
}

size_t str_rfind_char(struct str s, char c)
{
    const char *hit = s.n ? memrchr(s.p, c, s.n) : NULL;
    return hit ? (size_t)(hit - s.p) : STR_NPOS;
}

size_t str_find(struct str s, struct str needle)
{
    if (needle.n == 0)
        return 0;
    const char *hit = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return hit ? (size_t)(hit - s.p) : STR_NPOS;
}

size_t str_find_nocase(struct str s, struct str needle)
{
    if (needle.n == 0)
        return 0;
    char first = ascii_lower(needle.p[0]);
    for (size_t i = 0; i + needle.n <= s.n; i++)
        if (ascii_lower(s.p[i]) == first && cmp_nocase_n(s.p + i, needle.p, needle.n) == 0)
            return i;
    return STR_NPOS;
}

bool str_split(struct str *rest, char sep, struct str *part)
{
    if (!rest->p)
        return false;
    size_t at = str_find_char(*rest, sep);
    if (at == STR_NPOS) {
        *part = *rest;
        *rest = STR_NONE;
        return true;
    }
    *part = str_upto(*rest, at);
    *rest = (struct str){rest->p + at + 1, rest->n - at - 1};
    return true;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_digit(s.p[i]) || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

bool str_to_u32(struct str s, uint32_t *out)
{
    uint64_t v;
    if (!str_to_u64(s, &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

/* SipHash-1-3 (Aumasson, Bernstein 2012, reduced rounds): fast, and not predictable without the key. */
static uint64_t hash_k0 = 0x0706050403020100ULL, hash_k1 = 0x0f0e0d0c0b0a0908ULL;

void str_hash_key(const uint8_t key[16])
{
    hash_k0 = le64_get(key);
    hash_k1 = le64_get(key + 8);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotl(uint64_t x, int b) { return (x << b) | (x >> (64 - b)); }

static void sip_round(struct sip *s)
{
    s->v0 += s->v1, s->v1 = rotl(s->v1, 13) ^ s->v0, s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3, s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3, s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1, s->v1 = rotl(s->v1, 17) ^ s->v2, s->v2 = rotl(s->v2, 32);
}

static uint64_t hash_bytes(struct str s, bool fold)
{
    struct sip h = {hash_k0 ^ 0x736f6d6570736575ULL, hash_k1 ^ 0x646f72616e646f6dULL, hash_k0 ^ 0x6c7967656e657261ULL,
                    hash_k1 ^ 0x7465646279746573ULL};
    uint64_t word = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = fold ? ascii_lower(s.p[i]) : s.p[i];
        word |= (uint64_t)(unsigned char)c << (8 * (i & 7));
        if ((i & 7) == 7) {
            h.v3 ^= word;
            sip_round(&h);
            h.v0 ^= word;
            word = 0;
        }
    }
    word |= (uint64_t)s.n << 56;
    h.v3 ^= word;
    sip_round(&h);
    h.v0 ^= word;
    h.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&h);
    return h.v0 ^ h.v1 ^ h.v2 ^ h.v3;
}

uint64_t str_hash(struct str s) { return hash_bytes(s, false); }
uint64_t str_hash_nocase(struct str s) { return hash_bytes(s, true); }

int ascii_hex_value(char c)
{
    if (ascii_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool str_is_ascii(struct str s)
{
    uint64_t high = 0, word;
    size_t i = 0;
    for (; i + sizeof word <= s.n; i += sizeof word) { /* whole messages are asked */
        memcpy(&word, s.p + i, sizeof word);
        high |= word;
    }
    for (; i < s.n; i++)
        high |= (unsigned char)s.p[i];
    return (high & 0x8080808080808080u) == 0;
}

/* Length of the well-formed sequence at p (RFC 3629 section 4), 0 if malformed. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char c = p[0];
    if (c < 0x80)
        return 1;
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || n < len)
        return 0;
    unsigned char lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool str_is_utf8(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n;) {
        size_t len = utf8_sequence(p + i, s.n - i);
        if (!len)
            return false;
        i += len;
    }
    return true;
}
