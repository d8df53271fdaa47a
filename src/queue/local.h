/* Final delivery into a mailbox of this system. */
#ifndef QUEUE_LOCAL_H
#define QUEUE_LOCAL_H

#include "queue/attempt.h"
#include "store/deliver.h"

struct queue;

struct local_delivery {
    account_id account;
    struct str detail; /* sub-address: the mailbox of that name, if there is one (setting) */
    uint8_t key[DELIVER_KEY_SIZE];
    bool first;        /* the key was made just now */
    struct str bytes;  /* with Return-Path */
    struct str digest; /* of them, or empty */
};
/* What the outcome means for a queued recipient. */
enum attempt_result local_result(enum st st, struct str *status);
/* ST_NOTFOUND: the account is gone; ST_LIMIT: it is full; ST_TEMP: calling again with the same key is safe. */
enum st local_deliver(struct queue *q, const struct local_delivery *d, struct err *e) MUST_USE;

#endif
