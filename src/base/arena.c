#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t size, at; /* of data */
    _Alignas(16) char data[];
};

enum { CHUNK_BYTES = 4096 - sizeof(struct arena_chunk) - 16 };

void arena_init(struct arena *a, size_t cap) { *a = ARENA_INIT(cap); }

void arena_release(struct arena *a)
{
    for (struct arena_chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = ARENA_INIT(a->cap);
}

static struct arena_chunk *chunk_new(struct arena *a, size_t size)
{
    size_t data = size > CHUNK_BYTES ? size : (size_t)CHUNK_BYTES;
    size_t total;
    if (__builtin_add_overflow(data, sizeof(struct arena_chunk), &total) || total > a->cap - a->used) {
        data = size; /* near the cap: just what is needed */
        if (__builtin_add_overflow(data, sizeof(struct arena_chunk), &total) || total > a->cap - a->used)
            return NULL;
    }
    struct arena_chunk *c = calloc(1, total);
    if (!c)
        return NULL;
    c->size = data;
    a->used += total;
    if (a->head && size > CHUNK_BYTES) { /* a large one goes second, so that the current chunk is filled up first */
        c->next = a->head->next;
        a->head->next = c;
    } else {
        c->next = a->head;
        a->head = c;
    }
    return c;
}

void *arena_get(struct arena *a, size_t size)
{
    if (size > a->cap)
        return NULL;
    size = (size + 15) & ~(size_t)15;
    if (size == 0)
        size = 16;
    struct arena_chunk *c = a->head;
    if (!c || c->size - c->at < size)
        c = chunk_new(a, size);
    if (!c)
        return NULL;
    void *p = c->data + c->at;
    c->at += size;
    return p;
}

void *arena_get_array(struct arena *a, size_t count, size_t size)
{
    size_t total;
    return __builtin_mul_overflow(count, size, &total) ? NULL : arena_get(a, total);
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = s.n < SIZE_MAX ? arena_get(a, s.n + 1) : NULL;
    if (!p)
        return STR_NONE;
    if (s.n)
        memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

char *arena_z(struct arena *a, struct str s)
{
    char *p = s.n < SIZE_MAX ? arena_get(a, s.n + 1) : NULL;
    if (p && s.n)
        memcpy(p, s.p, s.n);
    return p;
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_get(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){p, p ? (size_t)n : 0};
}
