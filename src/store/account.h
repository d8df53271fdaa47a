/* An open account: its head (account record, mailboxes, UID sets) in memory, the queue of its commit line, its watchers.
 *
 * Threads. `lock` guards everything below it; it is held for moments only, never across kv calls. The head is changed by nobody but
 * the leader of the commit line (change.h), under the lock, so the leader may read it without. Everybody else copies what it needs
 * under the lock. `watch_lock` guards the watchers and is held while they are called. Order: store lock, then account lock; the
 * watch lock is taken alone. */
#ifndef STORE_ACCOUNT_H
#define STORE_ACCOUNT_H

#include <pthread.h>
#include <stdatomic.h>

#include "kv/engine.h"
#include "store/key.h"
#include "store/record.h"

struct change;
struct tx_mailbox;

/* A mailbox in memory. */
struct mbox {
    uint32_t id;
    struct record_mailbox r; /* its strings are in `text` */
    char *text;              /* one block: keyword slices, name, keywords */
    struct record_uids uids;
    uint32_t first_recent; /* ahead of r.first_recent: changed by sessions, written with the next commit of the mailbox */
    struct tx_mailbox *tx; /* the leader's work on it, or NULL */
    unsigned published;    /* commits since the sets were compacted */
};
struct mbox *mbox_new(uint32_t id, const struct record_mailbox *r); /* copies the strings; NULL without memory */
void mbox_free(struct mbox *m);
bool mbox_set_record(struct mbox *m, const struct record_mailbox *r); /* copies; false without memory, then unchanged */

struct head {
    struct record_account rec;
    struct mbox **by_id, **by_name; /* the live ones, sorted */
    size_t count, cap;
    struct str *subs; /* subscribed names without a mailbox, sorted; each is malloc'd */
    size_t subs_count;
    uint32_t *dying; /* mailboxes whose records are still being deleted */
    size_t dying_count;
};
void head_release(struct head *h);
bool head_add(struct head *h, struct mbox *m); /* takes m; false without memory, then not */
void head_remove(struct head *h, struct mbox *m);
bool head_add_dying(struct head *h, uint32_t id);
void head_remove_dying(struct head *h, uint32_t id);
bool head_subscribe(struct head *h, struct str name);
void head_unsubscribe(struct head *h, struct str name);
bool head_subscribed(const struct head *h, struct str name);
struct mbox *head_find(const struct head *h, uint32_t id);
struct mbox *head_find_name(const struct head *h, struct str name);   /* canonical */
size_t head_name_at(const struct head *h, struct str name, bool *is); /* index in by_name of the first one not before name */
void head_sort_names(struct head *h);
/* Reads the head of a partition; ST_NOTFOUND if there is no account. */
enum st head_load(struct kv *kv, struct str partition, struct head *out, struct err *e) MUST_USE;

/* The account record alone, of the partition at this version. */
enum st head_load_account(struct kv *kv, struct str partition, uint64_t version, struct record_account *out,
                          struct err *e) MUST_USE;

enum account_state { ACCOUNT_OPENING, ACCOUNT_OPEN, ACCOUNT_FAILED, ACCOUNT_GONE };

struct account {
    struct store *store;
    account_id id;
    char name[20]; /* of the partition */
    struct str partition;

    /* the store's, under its lock; refs may also change without it while above one */
    struct account *hash_next, *idle_next, *idle_before;
    bool idle, listed;
    atomic_size_t refs;

    pthread_mutex_t lock;
    pthread_cond_t opened;
    enum account_state state;
    struct err *open_err; /* of ACCOUNT_FAILED; NULL if there was no memory for it */
    atomic_bool stale;    /* the head may not be what is stored: reload before the next use */
    struct head head;
    struct change *waiting, **waiting_end;
    bool leading; /* a thread is leader */

    pthread_mutex_t watch_lock;
    struct account_watch *watches;
};

/* Call first in every operation: ST_NOTFOUND if the account was removed; reloads a stale head. */
enum st account_ready(struct account *a, struct err *e) MUST_USE;
/* The same for what is read past the head (e-mail records are immutable): never reloads, so it does not wait for commits nor make
 * one, and may be called by the visitor of a scan. */
enum st account_alive(struct account *a, struct err *e) MUST_USE;
/* Tells watchers of these mailboxes (count SIZE_MAX: of all). */
void account_notify(struct account *a, const uint32_t *mailboxes, size_t count, uint64_t modseq);
/* Makes the store forget a removed account. */
void account_forget(struct account *a);

struct kv *account_kv(const struct account *a);
const struct store_config *account_config(const struct account *a);
void account_partition(account_id id, char name[20]);
/* Remembers that the account has background work. */
void store_wants_care(struct store *s, account_id id);

int name_cmp(struct str a, struct str b); /* order of mailbox_list */

#endif
