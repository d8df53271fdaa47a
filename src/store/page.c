#include "store/page.h"

#include "base/bits.h"
#include "base/rd.h"
#include "store/record.h"

/* ---- columns ---- */

enum column { FLAGS, KEYWORDS, MODSEQ, INTERNAL, SAVED, SIZE, EMAIL, COLUMNS };

/* Everything as unsigned; times before 1970 are kept in order by moving the sign. */
static const uint64_t sign = UINT64_C(1) << 63;

static void get_column(const struct page *p, enum column c, uint64_t v[PAGE_ENTRIES])
{
#define EACH(expression)                                                                                                           \
    for (uint32_t i = 0; i < p->count; i++)                                                                                        \
    v[i] = (expression)
    switch (c) {
    case FLAGS:
        EACH(p->entries[i].flags);
        return;
    case KEYWORDS:
        EACH(p->entries[i].keywords);
        return;
    case MODSEQ:
        EACH(p->entries[i].modseq);
        return;
    case INTERNAL:
        EACH((uint64_t)p->entries[i].internal_ms ^ sign);
        return;
    case SAVED:
        EACH(p->entries[i].saved_s);
        return;
    case SIZE:
        EACH(p->entries[i].size);
        return;
    case EMAIL:
        EACH(p->entries[i].email);
        return;
    case COLUMNS:
        return;
    }
#undef EACH
}

static void set_column(struct page *p, enum column c, const uint64_t v[PAGE_ENTRIES])
{
#define EACH(assignment)                                                                                                           \
    for (uint32_t i = 0; i < p->count; i++)                                                                                        \
    p->entries[i].assignment
    switch (c) {
    case FLAGS:
        EACH(flags = (uint32_t)v[i]);
        return;
    case KEYWORDS:
        EACH(keywords = v[i]);
        return;
    case MODSEQ:
        EACH(modseq = v[i]);
        return;
    case INTERNAL:
        EACH(internal_ms = (int64_t)(v[i] ^ sign));
        return;
    case SAVED:
        EACH(saved_s = (uint32_t)v[i]);
        return;
    case SIZE:
        EACH(size = (uint32_t)v[i]);
        return;
    case EMAIL:
        EACH(email = v[i]);
        return;
    case COLUMNS:
        return;
    }
#undef EACH
}

/* The largest value that a column may have. */
static uint64_t column_max(enum column c, const struct page *p)
{
    switch (c) {
    case FLAGS:
    case SAVED:
    case SIZE:
    case EMAIL:
        return UINT32_MAX;
    case KEYWORDS:
    case INTERNAL:
        return UINT64_MAX;
    case MODSEQ:
        return p->highest_modseq;
    case COLUMNS:
        break;
    }
    return 0;
}

static unsigned width_of(uint64_t v) { return v == 0 ? 0 : (71 - (unsigned)__builtin_clzll(v)) / 8; }
static uint64_t mask_of(unsigned width) { return width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * width) - 1; }

static char *put_varint(char *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *out++ = (char)(v | 0x80);
    *out++ = (char)v;
    return out;
}

static char *put_column(char *out, const uint64_t v[PAGE_ENTRIES], uint32_t count)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < count; i++) {
        least = v[i] < least ? v[i] : least;
        most = v[i] > most ? v[i] : most;
    }
    unsigned width = width_of(most - least);
    *out++ = (char)width;
    out = put_varint(out, least);
    for (uint32_t i = 0; i < count; i++, out += width)
        le64_put(out, v[i] - least); /* the next one overwrites what is too much */
    return out;
}

size_t page_encode(const struct page *p, char *out)
{
    uint64_t v[PAGE_ENTRIES];
    char *at = out;
    *at++ = RECORD_VERSION;
    *at++ = (char)p->count;
    memset(at, 0, PAGE_ENTRIES / 8);
    for (uint32_t i = 0; i < p->count; i++) {
        unsigned bit = p->entries[i].uid % PAGE_ENTRIES;
        at[bit / 8] = (char)(at[bit / 8] | 1 << bit % 8);
    }
    at = put_varint(at + PAGE_ENTRIES / 8, p->highest_modseq);
    for (int c = 0; c < COLUMNS; c++) {
        get_column(p, (enum column)c, v);
        at = put_column(at, v, p->count);
    }
    return (size_t)(at - out);
}

/* Reads the values of one column; false if they do not make sense. */
static bool take_column(struct rd *r, uint64_t most, uint64_t v[PAGE_ENTRIES], uint32_t count)
{
    unsigned width = rd_u8(r);
    uint64_t least = rd_varint(r);
    if (!rd_ok(r) || width > 8 || least > most)
        return false;
    struct str bytes = rd_bytes(r, (size_t)width * count);
    if (!rd_ok(r))
        return false;
    const uint64_t mask = mask_of(width), room = most - least;
    uint64_t largest = 0;
    for (uint32_t i = 0; i < count; i++) { /* reads up to 8 bytes behind the column, see page_decode */
        uint64_t above = le64_get(bytes.p + (size_t)i * width) & mask;
        largest = above > largest ? above : largest;
        v[i] = least + above;
    }
    return largest <= room;
}

static bool take_uids(const char *bits, uint32_t number, struct page *p)
{
    uint32_t n = 0;
    for (uint32_t word = 0; word < PAGE_ENTRIES / 64; word++)
        for (uint64_t left = le64_get(bits + 8 * word); left; left &= left - 1) {
            if (n == p->count)
                return false;
            p->entries[n++].uid = number << PAGE_BITS | (word * 64 + (uint32_t)__builtin_ctzll(left));
        }
    return n == p->count;
}

enum st page_decode(struct str bytes, uint32_t number, struct page *p, struct err *e)
{
    char room[PAGE_BYTES_MAX + PAGE_SLACK]; /* so that columns can be read 8 bytes at a time */
    uint64_t v[PAGE_ENTRIES];
    if (bytes.n > PAGE_BYTES_MAX || number > UINT32_MAX >> PAGE_BITS)
        return record_corrupt("index page size", e);
    if (bytes.n)
        memcpy(room, bytes.p, bytes.n);
    memset(room + bytes.n, 0, PAGE_SLACK);
    struct rd r = rd_of(str_make(room, bytes.n));
    unsigned version = rd_u8(&r);
    p->count = rd_u8(&r);
    struct str bits = rd_bytes(&r, PAGE_ENTRIES / 8);
    p->highest_modseq = rd_varint(&r);
    if (!rd_ok(&r) || version != RECORD_VERSION || p->count == 0 || p->count > PAGE_ENTRIES || !take_uids(bits.p, number, p))
        return record_corrupt("index page head", e);
    for (int c = 0; c < COLUMNS; c++) {
        if (!take_column(&r, column_max((enum column)c, p), v, p->count))
            return record_corrupt("index page column", e);
        set_column(p, (enum column)c, v);
    }
    return rd_end(&r) && p->entries[0].uid != 0 ? ST_OK : record_corrupt("index page end", e);
}

unsigned page_at(const struct page *p, uint32_t uid)
{
    unsigned from = 0, to = p->count;
    while (from < to) {
        unsigned middle = (from + to) / 2;
        if (p->entries[middle].uid < uid)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct message_entry *page_find(struct page *p, uint32_t uid)
{
    unsigned i = page_at(p, uid);
    return i < p->count && p->entries[i].uid == uid ? &p->entries[i] : NULL;
}

/* ---- found pages ---- */

int found_cmp(const struct found *a, const struct found *b)
{
    if (a->slot != b->slot)
        return a->slot < b->slot ? -1 : 1;
    if (a->mailbox != b->mailbox)
        return a->mailbox < b->mailbox ? -1 : 1;
    return (a->uid > b->uid) - (a->uid < b->uid);
}

size_t found_count(struct str bytes) { return bytes.n < FOUND_HEAD ? 0 : (bytes.n - FOUND_HEAD) / sizeof(struct found); }

enum st found_decode(struct str bytes, struct found *out, size_t max, size_t *count, struct err *e)
{
    size_t n = found_count(bytes);
    *count = 0;
    if (bytes.n == 0)
        return ST_OK;
    if (bytes.n != FOUND_HEAD + n * sizeof(struct found) || bytes.p[0] != RECORD_VERSION || bytes.p[1] || bytes.p[2] ||
        bytes.p[3] || n > max || n > FOUND_MAX)
        return record_corrupt("found page", e);
    for (size_t i = 0; i < n; i++) {
        const char *p = bytes.p + FOUND_HEAD + i * sizeof(struct found);
        out[i] = (struct found){le32_get(p), le32_get(p + 4), le32_get(p + 8)};
        if (out[i].slot >= FOUND_SLOTS || (i > 0 && found_cmp(&out[i - 1], &out[i]) >= 0))
            return record_corrupt("found entry", e);
    }
    *count = n;
    return ST_OK;
}

size_t found_encode(const struct found *entries, size_t count, char *p)
{
    memset(p, 0, FOUND_HEAD);
    p[0] = RECORD_VERSION;
    for (size_t i = 0; i < count; i++) {
        char *at = p + FOUND_HEAD + i * sizeof(struct found);
        le32_put(at, entries[i].slot);
        le32_put(at + 4, entries[i].mailbox);
        le32_put(at + 8, entries[i].uid);
    }
    return FOUND_HEAD + count * sizeof(struct found);
}
