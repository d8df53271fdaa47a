#include "store/page.h"

#include "base/bits.h"
#include "base/rd.h"
#include "store/record.h"

void page_init(struct page *p)
{
    p->version = RECORD_VERSION;
    p->zero = 0;
    p->count = 0;
    p->zero2 = 0;
    p->highest_modseq = 0;
}

/* On a little-endian machine the compiler drops all of this. */
static void entry_swap(struct message_entry *m)
{
    m->uid = le32toh(m->uid);
    m->flags = le32toh(m->flags);
    m->keywords = le64toh(m->keywords);
    m->modseq = le64toh(m->modseq);
    m->internal_ms = (int64_t)le64toh((uint64_t)m->internal_ms);
    m->saved_s = le32toh(m->saved_s);
    m->size = le32toh(m->size);
    m->email = le64toh(m->email);
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
void page_swap(struct page *p) { (void)p; }
static void swap_entries(struct page *p, unsigned count)
{
    (void)p, (void)count;
    (void)entry_swap;
}
#else
static void swap_entries(struct page *p, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        entry_swap(&p->entries[i]);
}
void page_swap(struct page *p)
{
    swap_entries(p, p->count);
    p->count = le16toh(p->count);
    p->highest_modseq = le64toh(p->highest_modseq);
}
#endif

enum st page_decode(struct str bytes, uint32_t number, struct page *p, struct err *e)
{
    if (bytes.n < PAGE_HEAD || bytes.n > sizeof *p)
        return record_corrupt("index page size", e);
    memcpy(p, bytes.p, bytes.n);
    p->count = le16toh(p->count);
    p->highest_modseq = le64toh(p->highest_modseq);
    if (p->version != RECORD_VERSION || p->zero || p->zero2 || p->count > PAGE_ENTRIES || page_size(p) != bytes.n)
        return record_corrupt("index page head", e);
    swap_entries(p, p->count);
    uint32_t before = 0;
    for (unsigned i = 0; i < p->count; i++) {
        const struct message_entry *m = &p->entries[i];
        if (m->uid <= before || m->uid >> PAGE_BITS != number || m->modseq > p->highest_modseq || m->email > UINT32_MAX)
            return record_corrupt("index page entry", e);
        before = m->uid;
    }
    return ST_OK;
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
