/* Work on many messages of one mailbox, page by page, in steps that fit into a commit: shared by STORE, COPY, MOVE and EXPUNGE. */
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include "store/change.h"

enum { BATCH_PAGES = 512 }; /* of one commit: 65,536 messages */

/* The first `uids` that fit into one commit; *next is the first UID behind them, 0 if that were all. */
enum st batch_cut(const struct uidset *uids, struct uidset *out, uint32_t *next, struct err *e) MUST_USE;
/* Copies of the entries, in the transaction's arena. Those that are not there are left out. */
enum st batch_entries(struct tx *tx, struct tx_mailbox *m, const struct uidset *uids, struct message_entry **out, size_t *count,
                      struct err *e) MUST_USE;
/* Appends entries whose UIDs are above all others. */
enum st batch_add(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entries, size_t count, struct err *e) MUST_USE;
/* Removes entries (given in order) from pages, sets and counts; not from the found pages. */
enum st batch_remove(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entries, size_t count,
                     struct err *e) MUST_USE;
/* Reads the pages of these UIDs with few scans. */
enum st batch_prefetch(struct tx *tx, uint32_t mailbox, const struct uidset *uids, struct err *e) MUST_USE;

/* A set that a result grows by: adds `from` and releases it. */
enum st batch_merge(struct uidset *into, struct uidset *from, struct err *e) MUST_USE;

struct copy_step {
    uint32_t from, to;
    const struct uidset *uids;
    bool move;
    uint32_t first; /* UIDs below were done by earlier steps */
    uint32_t below; /* set by the first step: UIDs from here on came later */
    /* out */
    uint32_t next, uidvalidity;
    struct uidset from_uids, to_uids;
    uint64_t modseq;
};
enum st message_copy_step(struct tx *tx, struct copy_step *c, struct err *e) MUST_USE;

#endif
