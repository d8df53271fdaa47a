#include "kv/sorted.h"

#include <stdlib.h>

void sorted_init(struct sorted *s) { *s = (struct sorted){.random = 0x9e3779b97f4a7c15u}; }

void sorted_release(struct sorted *s)
{
    while (s->head[0]) {
        struct sorted_node *gone = s->head[0];
        s->head[0] = gone->next[0];
        free(gone);
    }
    sorted_init(s);
}

/* Each level has a quarter of the nodes of the one below. The generator need not be good, only cheap (xorshift64). */
static unsigned pick_levels(struct sorted *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    unsigned levels = 1;
    for (uint64_t bits = s->random; levels < SORTED_LEVELS && (bits & 3) == 0; bits >>= 2)
        levels++;
    return levels;
}

struct sorted_node *sorted_node_new(struct sorted *s, struct str key, struct str value)
{
    unsigned levels = pick_levels(s);
    size_t head = sizeof(struct sorted_node) + levels * sizeof(struct sorted_node *);
    struct sorted_node *node = malloc(head + key.n + value.n + 1);
    if (!node)
        return NULL;
    char *bytes = (char *)node + head;
    *node = (struct sorted_node){.key = {bytes, key.n}, .value = {bytes + key.n, value.n}, .levels = levels};
    for (unsigned i = 0; i < levels; i++)
        node->next[i] = NULL;
    if (key.n)
        memcpy(bytes, key.p, key.n);
    if (value.n)
        memcpy(bytes + key.n, value.p, value.n);
    return node;
}

void sorted_node_free(struct sorted_node *node) { free(node); }

/* The last node below key on each level, as the address of its next pointer. */
static void find_links(struct sorted *s, struct str key, struct sorted_node **links[SORTED_LEVELS])
{
    struct sorted_node **level = s->head; /* of the node where the search stands */
    for (unsigned i = SORTED_LEVELS; i-- > 0;) {
        while (level[i] && str_cmp(level[i]->key, key) < 0)
            level = level[i]->next;
        links[i] = &level[i];
    }
}

struct sorted_node *sorted_from(const struct sorted *s, struct str key)
{
    struct sorted_node *const *level = s->head;
    for (unsigned i = SORTED_LEVELS; i-- > 0;)
        while (level[i] && str_cmp(level[i]->key, key) < 0)
            level = level[i]->next;
    return level[0];
}

struct sorted_node *sorted_find(const struct sorted *s, struct str key)
{
    struct sorted_node *node = sorted_from(s, key);
    return node && str_eq(node->key, key) ? node : NULL;
}

static void unlink_node(struct sorted *s, struct sorted_node *node, struct sorted_node **links[SORTED_LEVELS])
{
    for (unsigned i = 0; i < node->levels; i++)
        *links[i] = node->next[i];
    s->count--;
}

struct sorted_node *sorted_remove(struct sorted *s, struct str key)
{
    struct sorted_node **links[SORTED_LEVELS];
    find_links(s, key, links);
    struct sorted_node *node = *links[0];
    if (!node || !str_eq(node->key, key))
        return NULL;
    unlink_node(s, node, links);
    return node;
}

struct sorted_node *sorted_insert(struct sorted *s, struct sorted_node *node)
{
    struct sorted_node **links[SORTED_LEVELS];
    find_links(s, node->key, links);
    struct sorted_node *old = *links[0];
    if (old && str_eq(old->key, node->key))
        unlink_node(s, old, links);
    else
        old = NULL;
    for (unsigned i = 0; i < node->levels; i++) {
        node->next[i] = *links[i];
        *links[i] = node;
    }
    s->count++;
    return old;
}
