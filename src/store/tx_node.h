/* A key that a transaction read or wrote: shared by tx.c and commit.c. */
#ifndef STORE_TX_NODE_H
#define STORE_TX_NODE_H

#include "store/key.h"

enum node_state {
    NODE_CLEAN,
    NODE_DIRTY,
    NODE_DELETED,
    NODE_UNREAD, /* a change that was taken back had written over it */
};

/* `value.p` is NULL if absent. Of an index page it is a struct page, with room for all entries. */
struct tx_node {
    struct key key;
    uint64_t hash;
    struct str value;
    enum node_state state;
    bool page;
    unsigned change; /* the change that saved it last */
    struct tx_node *chain, *next;
};

#endif
