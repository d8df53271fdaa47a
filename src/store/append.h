/* Adding a message to a mailbox: shared by message_append and deliver. */
#ifndef STORE_APPEND_H
#define STORE_APPEND_H

#include "store/change.h"

enum { APPEND_IDS_MAX = 21 }; /* the own Message-ID and 20 of those it refers to */

/* What can be computed before the commit line: by the thread of the caller. */
struct append_item {
    struct kv_blob_id blob;
    struct str digest;
    uint64_t ids[APPEND_IDS_MAX]; /* hashes; the first is its own, 0 if it has none */
    size_t id_count;
};
/* The digest is built into *digest if `m` has none. */
enum st append_prepare(struct account *a, const struct message_append *m, struct buf *digest, struct append_item *out,
                       struct err *e) MUST_USE;
/* Fills the outputs of *m. */
enum st append_apply(struct tx *tx, struct tx_mailbox *mailbox, struct message_append *m, const struct append_item *item,
                     struct err *e) MUST_USE;

#endif
