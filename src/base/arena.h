/* Memory by lifetime: everything that one command, transaction or session needs is taken from its arena and freed at once.
 * Capped: past the cap allocation returns NULL, which fails that command and not the process. One owner at a time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/str.h"

struct arena_chunk;
struct arena {
    struct arena_chunk *head;
    size_t used; /* bytes taken from the system */
    size_t cap;  /* limit of used */
};

#define ARENA_INIT(cap_bytes) ((struct arena){NULL, 0, (cap_bytes)})

void arena_init(struct arena *a, size_t cap);
void arena_release(struct arena *a); /* frees all; usable again */

/* Zeroed, aligned for any type; NULL at the cap. */
void *arena_get(struct arena *a, size_t size);
void *arena_get_array(struct arena *a, size_t count, size_t size); /* NULL on overflow too */
/* A copy with a NUL after it. p is NULL only if memory ran out (an empty s gives an empty string with p set). */
struct str arena_str(struct arena *a, struct str s);
char *arena_z(struct arena *a, struct str s);
struct str arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define ARENA_NEW(a, type)          ((type *)arena_get((a), sizeof(type)))
#define ARENA_ARRAY(a, count, type) ((type *)arena_get_array((a), (count), sizeof(type)))

#endif
