/* The commit line of an account: all changes go through it, one leader at a time.
 *
 *   thread            queue             leader (one of the threads)
 *   change_run ---->  [c1 c2 c3]  --->  apply c1, c2, c3 on one transaction (a view of the partition with their changes on top),
 *   waits                               one kv_commit, publish to the head in memory, wake all with their results, watchers
 *
 * A change whose apply fails is taken back by itself; the others go on. ST_CONFLICT, or records that do not fit because another
 * node was faster: reload, apply all again. ST_TEMP: read the journal entry of the mod-sequence to learn whether the commit was
 * applied (it holds a token), then report the truth.
 *
 * apply may be called several times, with fresh views: it must set all of its outputs each time, and release what it set before.
 * It runs on the leader's thread and must not block on anything but the engine. */
#ifndef STORE_CHANGE_H
#define STORE_CHANGE_H

#include "store/account.h"
#include "store/journal.h"
#include "store/page.h"

struct tx;
typedef enum st change_apply(struct tx *tx, void *context, struct err *e);

/* Returns when the change is durable and visible (or was not needed, or failed). */
enum st change_run(struct account *a, change_apply *apply, void *context, struct err *e) MUST_USE;

/* The same, in a commit of its own: for changes that read the engine past the transaction. */
enum st change_run_alone(struct account *a, change_apply *apply, void *context, struct err *e) MUST_USE;

/* ---- what apply works with ---- */

/* A set that is mostly added to in ascending order. */
struct delta {
    struct uidset s;
    uint32_t first, last; /* a run that is not in s yet; first 0: none */
    bool failed;
};
void delta_add(struct delta *d, uint32_t v);
void delta_remove(struct delta *d, uint32_t v);
const struct uidset *delta_get(struct delta *d); /* settled */
bool delta_has(struct delta *d, uint32_t v);

/* A mailbox as this transaction has it. */
struct tx_mailbox {
    uint32_t id;
    struct mbox *base;       /* NULL: created by this transaction */
    struct record_mailbox r; /* strings in the transaction's arena or the base's */
    struct delta added, flagged, vanished;
    struct delta unseen_on, unseen_off, deleted_on, deleted_off;
    unsigned events; /* enum journal_event */
    bool dirty;      /* to be written */
    bool renamed;    /* its name is not that of the base */
    bool strings;    /* name or keywords changed */
    unsigned change; /* the change that saved it last */
    struct tx_mailbox *next;
};

struct tx_node;
struct tx_undo;
struct tx_blob {
    struct kv_blob_id id;
    struct str bytes;
    enum { TX_BLOB_STORE, TX_BLOB_LINK, TX_BLOB_UNLINK } kind;
};
struct tx_sub {
    struct str name;
    bool add;
};

struct tx {
    struct account *a;
    struct arena arena; /* freed with the transaction */
    uint64_t modseq;    /* of this commit */
    int64_t now_ms;
    struct record_account rec;
    struct journal_emails_delta {
        struct delta created, updated, destroyed;
    } emails;
    struct tx_mailbox *mailboxes;
    struct tx_node **table, *nodes;
    size_t buckets, node_count;
    struct tx_undo *undo;
    struct tx_blob *blobs;
    size_t blob_count, blob_cap;
    struct tx_sub *subs;
    size_t sub_count, sub_cap;
    struct str range_from, range_to; /* a range to delete before the rest, or empty */
    uint32_t finished;               /* a dying mailbox of which nothing is left, or 0 */
    size_t bytes;                    /* about what the commit will write */
    unsigned change;                 /* number of the running change */
    bool dirty;
    uint64_t token;
    struct buf scratch;
};

/* Values live until the transaction ends. An absent key gives a slice with p == NULL. */
enum st tx_get(struct tx *tx, struct key key, struct str *value, struct err *e) MUST_USE;
enum st tx_put(struct tx *tx, struct key key, struct str value, struct err *e) MUST_USE;
char *tx_put_room(struct tx *tx, struct key key, size_t size); /* to be filled by the caller at once; NULL without memory */
enum st tx_delete(struct tx *tx, struct key key, struct err *e) MUST_USE;
/* Reads the keys of [from, to) in one scan, so that tx_get and tx_page find them. */
enum st tx_prefetch(struct tx *tx, struct key from, struct key to, struct err *e) MUST_USE;

/* An index page, to be changed if `write` (then it is made if absent; otherwise NULL if absent). Empty pages are not stored. */
enum st tx_page(struct tx *tx, uint32_t mailbox, uint32_t number, bool write, struct page **out, struct err *e) MUST_USE;

enum st tx_mailbox(struct tx *tx, uint32_t id, struct tx_mailbox **out, struct err *e) MUST_USE;
/* Also ST_NOTFOUND for a level without messages. */
enum st tx_mailbox_selectable(struct tx *tx, uint32_t id, struct tx_mailbox **out, struct err *e) MUST_USE;
enum st tx_mailbox_new(struct tx *tx, struct str name, struct tx_mailbox **out, struct err *e) MUST_USE;
struct tx_mailbox *tx_mailbox_named(struct tx *tx, struct str canonical); /* NULL: no such; to be read only */
void tx_mailbox_changed(struct tx *tx, struct tx_mailbox *m, unsigned events);
/* The bit of a keyword, which is made if the mailbox does not have it. */
enum st tx_mailbox_keyword(struct tx *tx, struct tx_mailbox *m, struct str name, uint64_t *bit, struct err *e) MUST_USE;
/* The UIDs of the mailbox, of `within` (NULL: all), as this transaction has them. */
enum st tx_mailbox_uids(struct tx_mailbox *m, const struct uidset *within, struct uidset *out, struct err *e) MUST_USE;
enum st tx_mailbox_deleted_uids(struct tx_mailbox *m, struct uidset *out, struct err *e) MUST_USE;

/* Bookkeeping of sets, counts, sizes and quota for one entry. */
void tx_entry_added(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entry);
void tx_entry_removed(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entry);
void tx_entry_flagged(struct tx *tx, struct tx_mailbox *m, const struct message_entry *entry, uint32_t flags_before);

enum st tx_blob_store(struct tx *tx, const struct kv_blob_id *id, struct str bytes, struct err *e) MUST_USE;
/* The link alone, past the count: for mending. */
enum st tx_blob_relink(struct tx *tx, const struct kv_blob_id *id, bool add, struct err *e) MUST_USE;
enum st tx_blob_unlink(struct tx *tx, const struct kv_blob_id *id, struct err *e) MUST_USE;
enum st tx_subscribe(struct tx *tx, struct str name, bool add, struct err *e) MUST_USE; /* names without a mailbox */
bool tx_subscribed(struct tx *tx, struct str name);

#endif
