/* Sets of UIDs (or of message sequence numbers), compressed: a run of a million costs a few bytes. A thin dress over CRoaring, so
 * that the rest of the system does not depend on its names. Owned by one thread at a time; a set handed out as const may be read by
 * many. */
#ifndef STORE_UIDSET_H
#define STORE_UIDSET_H

#include "base/buf.h"
#include "base/err.h"

struct uidset {
    struct roaring_bitmap_s *r; /* NULL is the empty set */
};

#define UIDSET_EMPTY ((struct uidset){NULL})

void uidset_release(struct uidset *s); /* leaves the empty set */
enum st uidset_copy(const struct uidset *from, struct uidset *to) MUST_USE;

enum st uidset_add(struct uidset *s, uint32_t uid) MUST_USE;
enum st uidset_add_range(struct uidset *s, uint32_t first, uint32_t last) MUST_USE; /* both included; first > last adds nothing */
void uidset_remove(struct uidset *s, uint32_t uid);
void uidset_remove_range(struct uidset *s, uint32_t first, uint32_t last);
enum st uidset_or(struct uidset *s, const struct uidset *other) MUST_USE;
void uidset_and(struct uidset *s, const struct uidset *other);
void uidset_minus(struct uidset *s, const struct uidset *other);
void uidset_optimize(struct uidset *s); /* run compression */

bool uidset_has(const struct uidset *s, uint32_t uid);
bool uidset_empty(const struct uidset *s);
uint64_t uidset_count(const struct uidset *s);
bool uidset_equal(const struct uidset *a, const struct uidset *b);
uint32_t uidset_min(const struct uidset *s); /* 0 if empty */
uint32_t uidset_max(const struct uidset *s); /* 0 if empty */

/* Position and member, counted from 1, as message sequence numbers are. */
uint32_t uidset_rank(const struct uidset *s, uint32_t uid);        /* members <= uid */
uint32_t uidset_select(const struct uidset *s, uint32_t position); /* 0 if position is out of range */

/* Walks the maximal runs in order: uint32_t at = 0; while (uidset_next_run(s, &at, &first, &last)) ... */
bool uidset_next_run(const struct uidset *s, uint64_t *at, uint32_t *first, uint32_t *last);

/* "1:3,7,9:12" as in IMAP (RFC 9051 sequence-set, no '*'); "" for the empty set. */
void uidset_print(const struct uidset *s, struct buf *out);
/* Stored form: portable Roaring bytes. decode refuses malformed bytes with ST_CORRUPT. */
void uidset_encode(const struct uidset *s, struct buf *out);
enum st uidset_decode(struct str bytes, struct uidset *s, struct err *e) MUST_USE;
size_t uidset_memory(const struct uidset *s); /* bytes */

#endif
