/* A growable byte buffer with a mandatory maximum. Owns its memory. One owner at a time.
 *
 * Appending never returns an error: past the maximum, or without memory, the buffer keeps what it had and becomes `failed`
 * (sticky), which the writer asks once at the end with buf_ok(). A view into it is valid until the next append. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/str.h"

struct buf {
    char *p;
    size_t n;   /* bytes in use */
    size_t cap; /* bytes allocated */
    size_t max; /* limit of n */
    bool failed;
};

#define BUF_INIT(max_bytes) ((struct buf){NULL, 0, 0, (max_bytes), false})

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* frees; leaves an empty buffer with the same maximum */
void buf_clear(struct buf *b);   /* n = 0, failed = false; keeps the memory */
static inline struct str buf_str(const struct buf *b) { return (struct str){b->p, b->n}; }
static inline bool buf_ok(const struct buf *b) { return !b->failed; }
static inline size_t buf_room(const struct buf *b) { return b->max - b->n; }

void buf_add(struct buf *b, struct str s);
void buf_add_c(struct buf *b, char c);
void buf_add_z(struct buf *b, const char *z);
void buf_add_u64(struct buf *b, uint64_t v); /* decimal */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_add_le16(struct buf *b, uint16_t v);
void buf_add_le32(struct buf *b, uint32_t v);
void buf_add_le64(struct buf *b, uint64_t v);
void buf_add_be32(struct buf *b, uint32_t v);
void buf_add_be64(struct buf *b, uint64_t v);
void buf_add_varint(struct buf *b, uint64_t v); /* LEB128, at most 10 bytes */

/* Room for `n` more bytes, to be written directly: returns where, or NULL (then failed). Follow with buf_grew(b, written). */
char *buf_reserve(struct buf *b, size_t n);
static inline void buf_grew(struct buf *b, size_t n) { b->n += n; }

void buf_drop_front(struct buf *b, size_t n); /* removes the first n bytes */
void buf_cut(struct buf *b, size_t n);        /* shortens to n bytes */
const char *buf_z(struct buf *b);             /* NUL-terminated view for the operating system; NULL if it does not fit */

#endif
