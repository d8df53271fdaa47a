/* The stored record of a queue entry: one message for one destination. Bytes are described in doc/formats/queue.md. Pure functions,
 * any thread; decoded texts are views into the value, the recipients lie in the arena.
 *
 * Errors: ST_CORRUPT for bytes that are no record, ST_PERM for a version that this program does not know, ST_LIMIT (arena). */
#ifndef QUEUE_RECORD_H
#define QUEUE_RECORD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "kv/engine.h"
#include "store/store.h"

enum {
    RECORD_VERSION = 1,
    RECORD_RECIPIENTS_MAX = 200, /* of one entry: so that a record stays far below KV_VALUE_MAX */
    RECORD_STATUS_MAX = 1000,    /* bytes of a kept reply */
    RECORD_ADDRESS_MAX = 512,
    RECORD_ORCPT_MAX = 512,
    RECORD_DOMAIN_MAX = 256,
    RECORD_SIZE_MAX = 768 << 10,
    RECORD_ARENA_MAX = 2 << 20, /* enough for any record and the attempt at it */
};

enum record_state {
    RECORD_PENDING = 1,
    RECORD_DELIVERED = 2,
    RECORD_FAILED = 3,
};

enum { RECORD_NOTIFY_MASK = 15 }; /* enum accept_notify bits */
enum { RECORD_REPORT_MAX = 2 };

struct record_recipient {
    struct str address; /* local@domain, printed */
    struct str orcpt;   /* as received, or empty */
    uint8_t notify;     /* enum accept_notify bits; 0: not given */
    enum record_state state;
    bool delay_told;    /* the sender knows that it is late */
    bool expanded;      /* stands for a target of an alias with several: no success report for it (RFC 3461 5.2.7.3) */
    account_id account; /* local delivery; 0: find out by the address */
    struct str detail;  /* sub-address, for the mailbox */
    uint8_t key[16];    /* store/deliver.h; local delivery only */
    struct str status;  /* last reply, "450 4.2.0 try later", or our own words; empty: none yet */
    struct str host;    /* that said so; empty: we */
    bool status_smtp;   /* status is a reply of host */
};

struct record {
    struct str reverse_path, envid;
    uint8_t ret, body; /* enum accept_ret, enum accept_body */
    bool smtputf8;
    bool held;
    uint8_t report;    /* 0: a message that came in; 1: made here, about another; 2: about one that nobody could be told of */
    struct str domain; /* destination; empty: local delivery */
    struct kv_blob_id blob;
    uint64_t size; /* bytes of the blob */
    uint32_t skip; /* bytes of the blob before the message as others get it: our Return-Path line */
    account_id submitter;
    int64_t arrived_ms; /* wall clock */
    int64_t next_ms;    /* next attempt, wall clock */
    int64_t last_ms;    /* last attempt; 0: none */
    uint32_t attempts;
    struct record_recipient *recipients;
    size_t count;
};

/* Too long texts are cut (status, host) or make *out fail (the rest). */
void record_encode(const struct record *r, struct buf *out);
enum st record_decode(struct str value, struct arena *arena, struct record *out, struct err *e) MUST_USE;
size_t record_pending(const struct record *r); /* recipients still to be delivered */

#endif
