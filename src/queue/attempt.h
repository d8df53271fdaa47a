/* One attempt at an entry: its record, what became of each recipient, and settling that durably, with the reports it calls for, in
 * one commit of the shard. One owner at a time. */
#ifndef QUEUE_ATTEMPT_H
#define QUEUE_ATTEMPT_H

#include "queue/record.h"
#include "queue/window.h"

struct queue;

enum attempt_result {
    ATTEMPT_NONE,    /* not tried yet */
    ATTEMPT_OK,      /* delivered, or handed to a host that reports success itself */
    ATTEMPT_RELAYED, /* handed to a host that knows no DSN (RFC 3461 5.2.2) */
    ATTEMPT_TEMP,
    ATTEMPT_PERM,
    ATTEMPT_REDIRECT, /* turned out to live elsewhere: `targets` take its place */
};

struct attempt_target { /* of a redirection */
    struct attempt_target *next;
    account_id account;
    struct str address, detail;
};

struct attempt {
    struct queue *q;
    struct window_slot *slot;
    struct queue_id id;
    struct arena arena;
    struct str bytes;        /* the message, if it is at hand; otherwise it is read from its blob */
    struct buf value;        /* the stored record, which `record` views */
    struct at_hand *at_hand; /* owned: both instead of that; or NULL */
    struct record record;
    struct record_recipient *draft;  /* of settling: the recipients as they shall be written */
    enum attempt_result *results;    /* one for each recipient of the record */
    struct attempt_target **targets; /* with ATTEMPT_REDIRECT */
    struct shard_due was;            /* its place in the time order as stored; 0: none */
    unsigned wish;                   /* enum window_wish: of administration */
    bool broken_store;               /* the message cannot be read: hold it */
    int64_t not_before_ms;           /* wall clock: no new attempt earlier (blocked destination); 0: by the schedule */
};

/* Reads the record. ST_NOTFOUND: the entry is gone. Release in any case. */
enum st attempt_begin(struct attempt *a, struct queue *q, struct window_slot *slot, const struct queue_id *id,
                      struct err *e) MUST_USE;
/* From what is at hand, which it takes. */
enum st attempt_begin_at_hand(struct attempt *a, struct queue *q, struct window_slot *slot, const struct queue_id *id,
                              struct at_hand **at_hand, struct err *e) MUST_USE;
/* From a record that was just written; the record's views must live as long as the attempt. */
enum st attempt_begin_with(struct attempt *a, struct queue *q, struct window_slot *slot, const struct queue_id *id,
                           const struct record *record, struct err *e) MUST_USE;
void attempt_release(struct attempt *a);

/* Pending and not tried yet. */
bool attempt_open(const struct attempt *a, size_t recipient);
size_t attempt_open_count(const struct attempt *a);
/* What became of a recipient. status: "450 4.2.0 try later" of host (smtp), or "4.4.1 our words". Copied. */
void attempt_set(struct attempt *a, size_t recipient, enum attempt_result result, struct str status, bool smtp, struct str host);
/* The same for all that are open. */
void attempt_set_all(struct attempt *a, enum attempt_result result, struct str status, bool smtp, struct str host);
/* The bytes that others get: without our Return-Path line. Appends up to length bytes from offset. */
enum st attempt_read(struct attempt *a, uint64_t offset, size_t length, struct buf *out, struct err *e) MUST_USE;
static inline uint64_t attempt_size(const struct attempt *a) { return a->record.size - a->record.skip; }

/* Writes results so far; the entry stays with this attempt (several transactions for one entry). */
enum st attempt_save(struct attempt *a, struct err *e) MUST_USE;
/* Writes the results, reports included, and the next due time; or removes the entry. Recipients that were not tried stay as they
 * are. After ST_TEMP it may be called again. *due (may be NULL): its new place; due_ms 0: none. */
enum st attempt_settle(struct attempt *a, struct shard_due *due, struct err *e) MUST_USE;
/* The same for several attempts of one shard in one commit. */
enum st attempt_settle_many(struct attempt **list, size_t count, struct err *e) MUST_USE;
/* Settles until it is written: waits while the engine fails. False: given up (stopping, or the shard is lost). */
bool attempt_settle_surely(struct attempt *a);

/* The wait after so many failed attempts, with jitter. */
int64_t attempt_backoff_ms(unsigned attempts);
/* "5.1.1" in a status text, or fallback. */
struct str attempt_status_code(struct str status, bool smtp, struct str fallback);

#endif
