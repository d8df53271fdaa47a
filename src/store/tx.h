/* Between change.c (who runs what, when) and tx.c (the view that a change works on): not for others. */
#ifndef STORE_TX_H
#define STORE_TX_H

#include "store/change.h"

enum st tx_begin(struct tx *tx, struct account *a, struct err *e) MUST_USE; /* on failure there is nothing to end */
void tx_end(struct tx *tx);

struct tx_savepoint {
    struct tx_undo *undo;
    struct record_account rec;
    struct uidset created, updated, destroyed;
    size_t blob_count, sub_count, bytes;
    struct str range_from, range_to;
    uint32_t finished;
    bool dirty;
};
enum st tx_save(struct tx *tx, struct tx_savepoint *sp, struct err *e) MUST_USE;
void tx_keep(struct tx *tx, struct tx_savepoint *sp);      /* the change succeeded */
void tx_roll_back(struct tx *tx, struct tx_savepoint *sp); /* it did not */

/* Which mailboxes a commit touched: for the watchers. */
struct tx_touched {
    uint32_t ids[32];
    size_t count; /* SIZE_MAX: more than fit, tell all */
    uint64_t modseq;
};
void tx_touch(struct tx *tx, struct tx_touched *t);

/* Everything that the transaction changed, as operations. */
enum st tx_fill(struct tx *tx, struct kv_batch *b, struct err *e) MUST_USE;
/* Changes the head of the account accordingly; call under its lock. false without memory: the head must be reloaded. */
bool tx_publish(struct tx *tx);

/* tx_fill and kv_commit. ST_TEMP means that nothing happened (if it could not be found out, the account is marked stale). */
enum st tx_commit(struct tx *tx, struct err *e) MUST_USE;

#endif
