/* An engine for tests that wraps another one and fails on purpose: the n-th operation, with a class of the test's choice, carried
 * out or not; or a crash, after which nothing reaches the inner engine until the "restart". Any thread.
 *
 *     struct kv *kv = ...memory or rocksdb...;
 *     TRY(kv_fault_new(&kv, false, &fault, e));
 *     for (uint64_t n = 1;; n++) {
 *         kv_fault_plan(fault, &(struct kv_fault_plan){.kinds = KV_FAULT_WRITE, .at = n, .class = ST_TEMP, .crash = true});
 *         ...do something through `fault`...
 *         bool more = kv_fault_fired(fault);
 *         kv_fault_restart(fault);
 *         ...everything that was acknowledged is there...
 *         if (!more) break;
 *     } */
#ifndef KV_FAULT_H
#define KV_FAULT_H

#include "kv/engine.h"

enum kv_fault_kind {
    KV_FAULT_READ = 1 << 0,   /* get, version, scan, partitions, blob size, blob read, walks over blobs and links */
    KV_FAULT_COMMIT = 1 << 1, /* a commit; of a split one each step that has something to do */
    KV_FAULT_CHANGE = 1 << 2, /* partition drop, collect, lease take and drop */
    KV_FAULT_WRITE = KV_FAULT_COMMIT | KV_FAULT_CHANGE,
    KV_FAULT_ANY = KV_FAULT_READ | KV_FAULT_WRITE,
};

struct kv_fault_plan {
    unsigned kinds; /* bits of enum kv_fault_kind: what is counted */
    uint64_t at;    /* the one that fails, from 1; 0: none */
    unsigned more;  /* how many after it fail too */
    enum st class;  /* what the caller gets; ST_OK stands for ST_TEMP */
    bool applied;   /* the operation is carried out all the same: the caller does not know */
    bool crash;     /* from then on every call fails with ST_TEMP and nothing reaches the inner engine */
};

/* Takes *inner and closes it in kv_close. split: commits are done in steps (links, keys, unlinks), as by an engine without
 * transactions, so that a fault can come between them. */
enum st kv_fault_new(struct kv **inner, bool split, struct kv **out, struct err *e) MUST_USE;

void kv_fault_plan(struct kv *fault, const struct kv_fault_plan *plan); /* counts anew from here; NULL: no more faults */
bool kv_fault_fired(struct kv *fault);                                  /* the planned fault has happened */
uint64_t kv_fault_seen(struct kv *fault);                               /* operations of the planned kinds since the plan */

/* Ends the crash and forgets the plan: what was durable is there again. Leases go on, as they would for a restart within their
 * time. */
void kv_fault_restart(struct kv *fault);

#endif
