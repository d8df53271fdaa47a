/* The store itself: configuration, the table of open accounts, the list of accounts with background work. */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include <pthread.h>

#include "store/store.h"

enum { STORE_CARE_MAX = 1024 };

struct store {
    struct kv *kv;
    struct store_config config;

    pthread_mutex_t lock;
    struct account **table;
    size_t buckets;
    struct account *idle_first, *idle_last; /* without references, oldest first */
    size_t idle_count;

    pthread_mutex_t care_lock;
    account_id *care;
    size_t care_count;
    unsigned sweep; /* the slice of accounts that care looks at next */
};

struct account *account_new(struct store *s, account_id id); /* with one reference, not in the table */

#endif
