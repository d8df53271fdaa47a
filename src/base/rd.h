/* A reading cursor over a slice, with a sticky failure: all parsing and decoding goes through it. After a failed read every later
 * one fails too and returns zeros, so a decoder asks rd_ok() once at the end. Never reads outside the slice. */
#ifndef BASE_RD_H
#define BASE_RD_H

#include "base/str.h"

struct rd {
    const char *p, *end;
    const char *start;
    bool failed;
};

static inline struct rd rd_of(struct str s) { return (struct rd){s.p, s.p ? s.p + s.n : NULL, s.p, false}; }
static inline bool rd_ok(const struct rd *r) { return !r->failed; }
static inline bool rd_end(const struct rd *r) { return r->p == r->end; }
static inline size_t rd_left(const struct rd *r) { return (size_t)(r->end - r->p); }
static inline size_t rd_offset(const struct rd *r) { return (size_t)(r->p - r->start); }
static inline struct str rd_rest(const struct rd *r) { return (struct str){r->p, rd_left(r)}; }
static inline void rd_fail(struct rd *r)
{
    r->failed = true;
    r->p = r->end;
}
/* The byte under the cursor as 0..255, -1 at the end. */
static inline int rd_peek(const struct rd *r) { return r->p < r->end ? (unsigned char)*r->p : -1; }
static inline int rd_peek_at(const struct rd *r, size_t ahead) { return rd_left(r) > ahead ? (unsigned char)r->p[ahead] : -1; }

int rd_take(struct rd *r);            /* next byte, or -1 and failed */
bool rd_accept(struct rd *r, char c); /* takes c if it is next; no failure otherwise */
bool rd_accept_str(struct rd *r, struct str s);
bool rd_accept_nocase(struct rd *r, struct str s);
bool rd_expect(struct rd *r, char c);                  /* as accept, but fails the cursor otherwise */
struct str rd_bytes(struct rd *r, size_t n);           /* a view of n bytes */
struct str rd_while(struct rd *r, bool (*is)(char c)); /* the longest run, maybe empty */
struct str rd_until(struct rd *r, char c);             /* up to c (not taken) or the end */
void rd_skip_space(struct rd *r);                      /* SP and HTAB */
uint64_t rd_decimal(struct rd *r);                     /* at least one digit, no overflow */

uint8_t rd_u8(struct rd *r);
uint16_t rd_le16(struct rd *r);
uint32_t rd_le32(struct rd *r);
uint64_t rd_le64(struct rd *r);
uint32_t rd_be32(struct rd *r);
uint64_t rd_be64(struct rd *r);
uint64_t rd_varint(struct rd *r);   /* LEB128; refuses more than 10 bytes and non-minimal overflow */
struct str rd_varstr(struct rd *r); /* varint length, then that many bytes */

#endif
