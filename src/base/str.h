/* Counted slices: how every text inside Postrider travels. A struct str borrows its bytes and never owns them; bytes may be any
 * value, including NUL. C strings exist only at the edge to the operating system and to libraries. Pure functions, any thread. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p; /* may be NULL only if n is 0 */
    size_t n;      /* bytes */
};

#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define STR_NONE ((struct str){NULL, 0})
/* for printf("%.*s", STR_FMT(s)); cut at 4096 bytes, since the precision is an int */
#define STR_FMT(s) ((int)((s).n > 4096 ? 4096 : (s).n)), ((s).p ? (s).p : "")

static inline struct str str_of(const char *z) { return (struct str){z, z ? strlen(z) : 0}; }
static inline struct str str_make(const void *p, size_t n) { return (struct str){(const char *)p, n}; }
static inline bool str_empty(struct str s) { return s.n == 0; }

bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII letters only, as the mail RFCs have it */
int str_cmp(struct str a, struct str b);        /* bytewise, shorter first */
int str_cmp_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_ends_nocase(struct str s, struct str suffix);

/* Sub-slices are clipped, never out of range. */
struct str str_from(struct str s, size_t at);          /* s[at..] */
struct str str_upto(struct str s, size_t n);           /* s[..n] */
struct str str_sub(struct str s, size_t at, size_t n); /* s[at..at+n] */
struct str str_trim(struct str s);                     /* without SP HTAB CR LF at both ends */

#define STR_NPOS ((size_t)-1)
size_t str_find_char(struct str s, char c); /* index or STR_NPOS */
size_t str_rfind_char(struct str s, char c);
size_t str_find(struct str s, struct str needle);
size_t str_find_nocase(struct str s, struct str needle); /* ASCII */

/* Takes the part before the first `sep` off *rest: true and *part, or false when *rest is used up. "a,,b" gives a, "", b. */
bool str_split(struct str *rest, char sep, struct str *part);

/* Decimal, no sign, no spaces, no overflow; the whole of s. */
bool str_to_u64(struct str s, uint64_t *out);
bool str_to_u32(struct str s, uint32_t *out);

uint64_t str_hash(struct str s); /* keyed per process against collision attacks (SipHash-1-3) */
uint64_t str_hash_nocase(struct str s);
void str_hash_key(const uint8_t key[16]); /* once, at start, before threads */

static inline char ascii_lower(char c) { return (c >= 'A' && c <= 'Z') ? (char)(c + 32) : c; }
static inline char ascii_upper(char c) { return (c >= 'a' && c <= 'z') ? (char)(c - 32) : c; }
static inline bool ascii_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool ascii_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static inline bool ascii_space(char c) { return c == ' ' || c == '\t'; }
int ascii_hex_value(char c); /* 0..15 or -1 */

bool str_is_ascii(struct str s); /* all bytes < 0x80 */
bool str_is_utf8(struct str s);  /* RFC 3629: no overlong forms, no surrogates, at most U+10FFFF */

#endif
