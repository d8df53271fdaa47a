/* Index pages: up to 128 entries of a mailbox, for UIDs that share uid >> PAGE_BITS, so that a UID finds its page without a
 * directory. Stored as it lies in memory (little-endian), cut behind the last entry.
 *
 * And "found" pages: which mailboxes show the e-mails that share email >> FOUND_BITS; an e-mail that none shows is garbage. */
#ifndef STORE_PAGE_H
#define STORE_PAGE_H

#include "store/message.h"

enum { PAGE_BITS = 7, PAGE_ENTRIES = 1 << PAGE_BITS };

struct page {
    uint8_t version, zero;
    uint16_t count;
    uint32_t zero2;
    uint64_t highest_modseq; /* of all entries, and of entries that are gone: not lower than any */
    struct message_entry entries[PAGE_ENTRIES];
};
enum { PAGE_HEAD = 16 };
_Static_assert(sizeof(struct page) == PAGE_HEAD + PAGE_ENTRIES * sizeof(struct message_entry), "stored as is");

static inline size_t page_size(const struct page *p) { return PAGE_HEAD + p->count * sizeof(struct message_entry); }
void page_init(struct page *p);
/* Fills *p from stored bytes, which are those of page number `number`. */
enum st page_decode(struct str bytes, uint32_t number, struct page *p, struct err *e) MUST_USE;
/* Turns the page into its stored form, in place (nothing to do on a little-endian machine), and back. */
void page_swap(struct page *p);

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
