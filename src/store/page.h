/* Index pages: up to 128 entries of a mailbox, for UIDs that share uid >> PAGE_BITS, so that a UID finds its page without a
 * directory. Stored by columns: of each field the least value of the page, and what the others have above it in as few bytes as
 * the largest needs. That is about 14 bytes for an entry instead of 48, and as fast to decode as there are values.
 *
 * And "found" pages: which mailboxes show the e-mails that share email >> FOUND_BITS; an e-mail that none shows is garbage. */
#ifndef STORE_PAGE_H
#define STORE_PAGE_H

#include "store/message.h"

enum { PAGE_BITS = 7, PAGE_ENTRIES = 1 << PAGE_BITS };

struct page {
    uint32_t count;
    uint64_t highest_modseq;                    /* of all entries, and of entries that are gone: not lower than any */
    struct message_entry entries[PAGE_ENTRIES]; /* sorted by uid */
};
enum {
    PAGE_BYTES_MAX = 2 + PAGE_ENTRIES / 8 + 10 + 7 * 11 + PAGE_ENTRIES * 44, /* of the stored form */
    PAGE_SLACK = 8,                                                          /* what page_encode may write behind it */
};

static inline size_t page_size(const struct page *p) /* bytes in use, in memory */
{
    return offsetof(struct page, entries) + p->count * sizeof(struct message_entry);
}
/* Writes the stored form of a page that is not empty; `out` has PAGE_BYTES_MAX + PAGE_SLACK bytes. Returns its size. */
size_t page_encode(const struct page *p, char *out);
/* Fills *p from stored bytes, which are those of page number `number`. */
enum st page_decode(struct str bytes, uint32_t number, struct page *p, struct err *e) MUST_USE;

/* One entry, without the others: a tenth of the work. Checks what it passes on its way, not the other entries. ST_NOTFOUND (without
 * a text): the page does not have it. */
enum st page_decode_one(struct str bytes, uint32_t uid, struct message_entry *out, struct err *e) MUST_USE;

/* Index of the first entry with a UID of at least `uid`; count if there is none. */
unsigned page_at(const struct page *p, uint32_t uid);
struct message_entry *page_find(struct page *p, uint32_t uid); /* NULL = not there */

/* ---- found pages ---- */

enum { FOUND_BITS = 7, FOUND_SLOTS = 1 << FOUND_BITS, FOUND_MAX = 65536, FOUND_HEAD = 4 };

/* One entry: the e-mail in `slot` (low bits of its id) is message `uid` of `mailbox`. 12 bytes, sorted, stored as it lies. */
struct found {
    uint32_t slot, mailbox, uid;
};
_Static_assert(sizeof(struct found) == 12, "stored as is");

/* Appends the entries to the end of `out` (aligned to 4 if out starts so), checked. *count is their number. */
enum st found_decode(struct str bytes, struct found *out, size_t max, size_t *count, struct err *e) MUST_USE;
/* Number of entries that the bytes hold, not checked further; 0 for an absent record. */
size_t found_count(struct str bytes);
/* Writes the stored form of `count` entries to p, which has room for FOUND_HEAD + count * sizeof(struct found). */
size_t found_encode(const struct found *entries, size_t count, char *p);
int found_cmp(const struct found *a, const struct found *b);

#endif
