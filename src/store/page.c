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

static void set_column(struct message_entry *entries, uint32_t count, enum column c, const uint64_t *v)
{
#define EACH(assignment)                                                                                                           \
    for (uint32_t i = 0; i < count; i++)                                                                                           \
    entries[i].assignment
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
static uint64_t column_max(enum column c, uint64_t highest_modseq)
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
        return highest_modseq;
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

/* What is before the columns. */
struct head {
    uint32_t count;
    struct str bits; /* which UIDs are there */
    uint64_t highest_modseq;
};

static bool take_head(struct rd *r, struct head *h)
{
    unsigned version = rd_u8(r);
    h->count = rd_u8(r);
    h->bits = rd_bytes(r, PAGE_ENTRIES / 8);
    h->highest_modseq = rd_varint(r);
    return rd_ok(r) && version == RECORD_VERSION && h->count > 0 && h->count <= PAGE_ENTRIES;
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
    struct head h;
    bool head = take_head(&r, &h);
    p->count = h.count;
    p->highest_modseq = h.highest_modseq;
    if (!head || !take_uids(h.bits.p, number, p))
        return record_corrupt("index page head", e);
    for (int c = 0; c < COLUMNS; c++) {
        if (!take_column(&r, column_max((enum column)c, p->highest_modseq), v, p->count))
            return record_corrupt("index page column", e);
        set_column(p->entries, p->count, (enum column)c, v);
    }
    return rd_end(&r) && p->entries[0].uid != 0 ? ST_OK : record_corrupt("index page end", e);
}

/* How many UIDs of the page are before this one, and whether it is there; false if the number of all is not `count`. */
static bool find_uid(const struct head *h, uint32_t uid, uint32_t *before, bool *there)
{
    uint32_t bit = uid % PAGE_ENTRIES, all = 0;
    *before = 0;
    for (uint32_t word = 0; word < PAGE_ENTRIES / 64; word++) {
        uint64_t set = le64_get(h->bits.p + 8 * word), upto = bit / 64 > word ? UINT64_MAX : (UINT64_C(1) << bit % 64) - 1;
        all += (uint32_t)__builtin_popcountll(set);
        if (word <= bit / 64)
            *before += (uint32_t)__builtin_popcountll(set & upto);
    }
    *there = h->bits.p[bit / 8] >> bit % 8 & 1;
    return all == h->count;
}

/* Value number i of a column. */
static bool take_value(struct rd *r, uint64_t most, uint32_t count, uint32_t i, uint64_t *out)
{
    unsigned width = rd_u8(r);
    uint64_t least = rd_varint(r), above = 0;
    if (!rd_ok(r) || width > 8 || least > most)
        return false;
    struct str bytes = rd_bytes(r, (size_t)width * count);
    if (!rd_ok(r))
        return false;
    for (unsigned k = width; k-- > 0;)
        above = above << 8 | (unsigned char)bytes.p[(size_t)i * width + k];
    *out = least + above;
    return above <= most - least;
}

enum st page_decode_one(struct str bytes, uint32_t uid, struct message_entry *out, struct err *e)
{
    struct rd r = rd_of(bytes);
    struct head h;
    uint32_t before;
    bool there;
    if (bytes.n > PAGE_BYTES_MAX || !take_head(&r, &h) || !find_uid(&h, uid, &before, &there))
        return record_corrupt("index page head", e);
    if (!there)
        return ST_NOTFOUND;
    out->uid = uid;
    for (int c = 0; c < COLUMNS; c++) {
        uint64_t v;
        if (!take_value(&r, column_max((enum column)c, h.highest_modseq), h.count, before, &v))
            return record_corrupt("index page column", e);
        set_column(out, 1, (enum column)c, &v);
    }
    return rd_end(&r) ? ST_OK : record_corrupt("index page end", e);
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
