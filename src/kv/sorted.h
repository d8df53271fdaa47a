/* A sorted map in memory from binary keys to values (a skip list). Owns its nodes. Not locked: one owner at a time.
 *
 * Nodes are made apart from the map, so that a change of many keys can take all its memory first and then not fail. */
#ifndef KV_SORTED_H
#define KV_SORTED_H

#include "base/str.h"

enum { SORTED_LEVELS = 20 };

struct sorted_node {
    struct str key, value; /* own memory, behind the node */
    void *item;            /* the user's; not freed */
    unsigned levels;
    struct sorted_node *next[];
};

struct sorted {
    struct sorted_node *head[SORTED_LEVELS];
    size_t count;
    uint64_t random;
};

void sorted_init(struct sorted *s);
void sorted_release(struct sorted *s); /* frees all nodes */

struct sorted_node *sorted_node_new(struct sorted *s, struct str key, struct str value); /* NULL without memory */
void sorted_node_free(struct sorted_node *node);

struct sorted_node *sorted_find(const struct sorted *s, struct str key);
struct sorted_node *sorted_from(const struct sorted *s, struct str key); /* the first with a key >= key */
static inline struct sorted_node *sorted_next(const struct sorted_node *node) { return node->next[0]; }

struct sorted_node *sorted_insert(struct sorted *s, struct sorted_node *node); /* takes; gives the one it replaced, or NULL */
struct sorted_node *sorted_remove(struct sorted *s, struct str key);           /* gives it, or NULL */

#endif
