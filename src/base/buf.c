#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/check.h"

void buf_init(struct buf *b, size_t max) { *b = BUF_INIT(max); }

void buf_release(struct buf *b)
{
    free(b->p);
    *b = BUF_INIT(b->max);
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed || n > b->max - b->n) {
        b->failed = true;
        return NULL;
    }
    if (b->cap - b->n >= n && b->p)
        return b->p + b->n;
    size_t want = b->cap ? b->cap * 2 : 64;
    if (want < b->n + n)
        want = b->n + n;
    if (want > b->max)
        want = b->max;
    char *p = realloc(b->p, want + 1); /* one more for buf_z */
    if (!p) {
        b->failed = true;
        return NULL;
    }
    b->p = p;
    b->cap = want;
    return p + b->n;
}

void buf_add(struct buf *b, struct str s)
{
    if (s.n == 0)
        return;
    char *to = buf_reserve(b, s.n);
    if (!to)
        return;
    memcpy(to, s.p, s.n);
    b->n += s.n;
}

void buf_add_c(struct buf *b, char c) { buf_add(b, (struct str){&c, 1}); }
void buf_add_z(struct buf *b, const char *z) { buf_add(b, str_of(z)); }

void buf_add_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    buf_add(b, (struct str){digits + at, sizeof digits - at});
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *to = n < 0 ? NULL : buf_reserve(b, (size_t)n);
    if (to) {
        vsnprintf(to, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    } else {
        b->failed = true;
    }
    va_end(again);
}

void buf_add_le16(struct buf *b, uint16_t v)
{
    char t[2];
    le16_put(t, v);
    buf_add(b, (struct str){t, sizeof t});
}
void buf_add_le32(struct buf *b, uint32_t v)
{
    char t[4];
    le32_put(t, v);
    buf_add(b, (struct str){t, sizeof t});
}
void buf_add_le64(struct buf *b, uint64_t v)
{
    char t[8];
    le64_put(t, v);
    buf_add(b, (struct str){t, sizeof t});
}
void buf_add_be32(struct buf *b, uint32_t v)
{
    char t[4];
    be32_put(t, v);
    buf_add(b, (struct str){t, sizeof t});
}
void buf_add_be64(struct buf *b, uint64_t v)
{
    char t[8];
    be64_put(t, v);
    buf_add(b, (struct str){t, sizeof t});
}

void buf_add_varint(struct buf *b, uint64_t v)
{
    char t[10];
    size_t n = 0;
    while (v >= 0x80) {
        t[n++] = (char)(v | 0x80);
        v >>= 7;
    }
    t[n++] = (char)v;
    buf_add(b, (struct str){t, n});
}

void buf_drop_front(struct buf *b, size_t n)
{
    check(n <= b->n);
    if (n == 0)
        return;
    if (n < b->n)
        memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

void buf_cut(struct buf *b, size_t n)
{
    check(n <= b->n);
    b->n = n;
}

const char *buf_z(struct buf *b)
{
    if (!b->p && !buf_reserve(b, 0)) /* cap + 1 bytes are allocated, so the NUL always has a place */
        return NULL;
    b->p[b->n] = '\0';
    return b->p;
}
