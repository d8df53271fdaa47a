#include "store/uidset.h"

#include <roaring/roaring.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/rd.h"

/* The library's own names for what a container is, so that its type codes appear once. */
enum { BITSET = BITSET_CONTAINER_TYPE_CODE, ARRAY = ARRAY_CONTAINER_TYPE_CODE, RUN = RUN_CONTAINER_TYPE_CODE };
enum { ARRAY_MAX = 4096, BITSET_BYTES = 8192, CONTAINERS_MAX = 65536 };

static bool ready(struct uidset *s)
{
    if (!s->r)
        s->r = roaring_bitmap_create();
    return s->r != NULL;
}

void uidset_release(struct uidset *s)
{
    if (s->r)
        roaring_bitmap_free(s->r);
    s->r = NULL;
}

/* An empty bitmap costs memory and makes `r == NULL` useless as a test: drop it. */
static void drop_if_empty(struct uidset *s)
{
    if (s->r && roaring_bitmap_is_empty(s->r))
        uidset_release(s);
}

enum st uidset_copy(const struct uidset *from, struct uidset *to)
{
    *to = UIDSET_EMPTY;
    if (!from->r)
        return ST_OK;
    to->r = roaring_bitmap_copy(from->r);
    return to->r ? ST_OK : ST_TEMP;
}

enum st uidset_add(struct uidset *s, uint32_t uid)
{
    if (!ready(s))
        return ST_TEMP;
    roaring_bitmap_add(s->r, uid);
    return ST_OK;
}

enum st uidset_add_range(struct uidset *s, uint32_t first, uint32_t last)
{
    if (first > last)
        return ST_OK;
    if (!s->r) { /* born as a run, which stays small while it grows at its end */
        s->r = roaring_bitmap_from_range(first, (uint64_t)last + 1, 1);
        return s->r ? ST_OK : ST_TEMP;
    }
    if (first == last)
        roaring_bitmap_add(s->r, first);
    else
        roaring_bitmap_add_range_closed(s->r, first, last);
    return ST_OK;
}

void uidset_remove(struct uidset *s, uint32_t uid)
{
    if (!s->r)
        return;
    roaring_bitmap_remove(s->r, uid);
    drop_if_empty(s);
}

void uidset_remove_range(struct uidset *s, uint32_t first, uint32_t last)
{
    if (!s->r || first > last)
        return;
    roaring_bitmap_remove_range_closed(s->r, first, last);
    drop_if_empty(s);
}

enum st uidset_or(struct uidset *s, const struct uidset *other)
{
    if (!other->r || s->r == other->r)
        return ST_OK;
    if (!s->r)
        return uidset_copy(other, s);
    roaring_bitmap_or_inplace(s->r, other->r);
    return ST_OK;
}

void uidset_and(struct uidset *s, const struct uidset *other)
{
    if (!s->r || s->r == other->r)
        return;
    if (!other->r) {
        uidset_release(s);
        return;
    }
    roaring_bitmap_and_inplace(s->r, other->r);
    drop_if_empty(s);
}

void uidset_minus(struct uidset *s, const struct uidset *other)
{
    if (!s->r || !other->r)
        return;
    if (s->r == other->r) {
        uidset_release(s);
        return;
    }
    roaring_bitmap_andnot_inplace(s->r, other->r);
    drop_if_empty(s);
}

void uidset_optimize(struct uidset *s)
{
    if (!s->r)
        return;
    (void)roaring_bitmap_run_optimize(s->r);
    (void)roaring_bitmap_shrink_to_fit(s->r);
}

bool uidset_has(const struct uidset *s, uint32_t uid) { return s->r && roaring_bitmap_contains(s->r, uid); }
bool uidset_empty(const struct uidset *s) { return !s->r || roaring_bitmap_is_empty(s->r); }
uint64_t uidset_count(const struct uidset *s) { return s->r ? roaring_bitmap_get_cardinality(s->r) : 0; }

bool uidset_equal(const struct uidset *a, const struct uidset *b)
{
    if (uidset_empty(a) || uidset_empty(b))
        return uidset_empty(a) && uidset_empty(b);
    return roaring_bitmap_equals(a->r, b->r);
}

uint32_t uidset_min(const struct uidset *s) { return uidset_empty(s) ? 0 : roaring_bitmap_minimum(s->r); }
uint32_t uidset_max(const struct uidset *s) { return uidset_empty(s) ? 0 : roaring_bitmap_maximum(s->r); }

uint32_t uidset_rank(const struct uidset *s, uint32_t uid) { return s->r ? (uint32_t)roaring_bitmap_rank(s->r, uid) : 0; }

uint32_t uidset_select(const struct uidset *s, uint32_t position)
{
    uint32_t uid;
    if (!s->r || position == 0 || !roaring_bitmap_select(s->r, position - 1, &uid))
        return 0;
    return uid;
}

/* ---- runs ----
 *
 * The library's iterators walk single values; a set of a million messages has few runs, so these look into the containers: each
 * finder gives the first run at or after `low` inside one container of 65,536 values. */

static bool array_run(const array_container_t *c, uint32_t low, uint32_t *first, uint32_t *last)
{
    int32_t from = 0, to = c->cardinality;
    while (from < to) {
        int32_t middle = (from + to) / 2;
        if (c->array[middle] < low)
            from = middle + 1;
        else
            to = middle;
    }
    if (from == c->cardinality)
        return false;
    int32_t end = from;
    while (end + 1 < c->cardinality && c->array[end + 1] == c->array[end] + 1)
        end++;
    *first = c->array[from];
    *last = c->array[end];
    return true;
}

static bool runs_run(const run_container_t *c, uint32_t low, uint32_t *first, uint32_t *last)
{
    int32_t from = 0, to = c->n_runs;
    while (from < to) {
        int32_t middle = (from + to) / 2;
        if ((uint32_t)c->runs[middle].value + c->runs[middle].length < low)
            from = middle + 1;
        else
            to = middle;
    }
    if (from == c->n_runs)
        return false;
    uint32_t start = c->runs[from].value;
    *first = start < low ? low : start;
    *last = start + c->runs[from].length;
    return true;
}

static bool bitset_run(const bitset_container_t *c, uint32_t low, uint32_t *first, uint32_t *last)
{
    enum { WORDS = BITSET_BYTES / 8 };
    uint32_t at = low / 64;
    uint64_t word = c->array[at] & (~UINT64_C(0) << (low % 64));
    while (word == 0) {
        if (++at == WORDS)
            return false;
        word = c->array[at];
    }
    *first = at * 64 + (uint32_t)__builtin_ctzll(word);
    uint64_t gaps = ~c->array[at] & (~UINT64_C(0) << (*first % 64));
    while (gaps == 0) {
        if (++at == WORDS) {
            *last = 65535;
            return true;
        }
        gaps = ~c->array[at];
    }
    *last = at * 64 + (uint32_t)__builtin_ctzll(gaps) - 1;
    return true;
}

static bool container_run(const roaring_array_t *ra, int32_t i, uint32_t low, uint32_t *first, uint32_t *last)
{
    uint8_t type = ra->typecodes[i];
    const void *c = container_unwrap_shared(ra->containers[i], &type);
    if (type == RUN)
        return runs_run(c, low, first, last);
    if (type == ARRAY)
        return array_run(c, low, first, last);
    return bitset_run(c, low, first, last);
}

/* Index of the first container whose key is at least `key`. */
static int32_t container_at(const roaring_array_t *ra, uint32_t key)
{
    int32_t from = 0, to = ra->size;
    while (from < to) {
        int32_t middle = (from + to) / 2;
        if (ra->keys[middle] < key)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

bool uidset_next_run(const struct uidset *s, uint64_t *at, uint32_t *first, uint32_t *last)
{
    if (!s->r || *at > UINT32_MAX)
        return false;
    const roaring_array_t *ra = &s->r->high_low_container;
    uint32_t key = (uint32_t)(*at >> 16), low = (uint32_t)(*at & 0xffff);
    int32_t i = container_at(ra, key);
    bool found = false;
    for (; i < ra->size; i++) {
        uint32_t from, to;
        if (!container_run(ra, i, ra->keys[i] == key ? low : 0, &from, &to))
            continue;
        uint32_t base = (uint32_t)ra->keys[i] << 16;
        if (!found)
            *first = base + from;
        else if (from != 0 || base != *last + 1)
            break; /* the run ended with the container before */
        found = true;
        *last = base + to;
        if (to != 65535)
            break;
    }
    if (found)
        *at = (uint64_t)*last + 1;
    return found;
}

void uidset_print(const struct uidset *s, struct buf *out)
{
    uint64_t at = 0;
    uint32_t first, last;
    for (const char *comma = ""; uidset_next_run(s, &at, &first, &last); comma = ",") {
        buf_add_z(out, comma);
        buf_add_u64(out, first);
        if (last != first) {
            buf_add_c(out, ':');
            buf_add_u64(out, last);
        }
    }
}

/* ---- stored form ---- */

void uidset_encode(const struct uidset *s, struct buf *out)
{
    static const char empty[8] = {0x3a, 0x30, 0, 0, 0, 0, 0, 0}; /* cookie 12346, no containers */
    if (uidset_empty(s)) {
        buf_add(out, str_make(empty, sizeof empty));
        return;
    }
    size_t size = roaring_bitmap_portable_size_in_bytes(s->r);
    char *p = buf_reserve(out, size);
    if (p)
        buf_grew(out, roaring_bitmap_portable_serialize(s->r, p));
}

static bool runs_valid(struct rd *r, uint32_t cardinality)
{
    uint32_t runs = rd_le16(r), total = 0, next = 0;
    for (uint32_t i = 0; i < runs && rd_ok(r); i++) {
        uint32_t start = rd_le16(r), more = rd_le16(r);
        if ((i > 0 && start <= next) || start + more > 65535) /* sorted, with a gap between */
            return false;
        next = start + more + 1;
        total += more + 1;
    }
    return rd_ok(r) && runs > 0 && total == cardinality;
}

static bool array_valid(struct rd *r, uint32_t cardinality)
{
    int32_t before = -1;
    for (uint32_t i = 0; i < cardinality && rd_ok(r); i++) {
        int32_t v = rd_le16(r);
        if (v <= before)
            return false;
        before = v;
    }
    return rd_ok(r);
}

static bool bitset_valid(struct rd *r, uint32_t cardinality)
{
    uint32_t total = 0;
    for (int i = 0; i < BITSET_BYTES / 8; i++)
        total += (uint32_t)__builtin_popcountll(rd_le64(r));
    return rd_ok(r) && total == cardinality;
}

/* The library trusts what it reads: everything it relies on is checked here first. Format: "RoaringFormatSpec", portable. */
static bool portable_valid(struct str bytes)
{
    struct rd r = rd_of(bytes);
    uint32_t cookie = rd_le32(&r), size;
    struct str run_flags = STR_NONE;
    if ((cookie & 0xffff) == SERIAL_COOKIE) {
        size = (cookie >> 16) + 1;
        run_flags = rd_bytes(&r, (size + 7) / 8);
    } else {
        size = rd_le32(&r);
    }
    if (!rd_ok(&r) || (!run_flags.n && cookie != SERIAL_COOKIE_NO_RUNCONTAINER) || size > CONTAINERS_MAX)
        return false;
    struct str heads = rd_bytes(&r, (size_t)size * 4);
    struct str offsets = !run_flags.n || size >= NO_OFFSET_THRESHOLD ? rd_bytes(&r, (size_t)size * 4) : STR_NONE;
    int32_t before = -1;
    for (uint32_t i = 0; i < size && rd_ok(&r); i++) {
        int32_t key = le16_get(heads.p + 4 * (size_t)i);
        uint32_t cardinality = le16_get(heads.p + 4 * (size_t)i + 2) + UINT32_C(1);
        bool is_run = run_flags.n && (run_flags.p[i / 8] >> (i % 8) & 1);
        if (key <= before || (offsets.n && le32_get(offsets.p + 4 * (size_t)i) != rd_offset(&r)))
            return false;
        before = key;
        if (is_run ? !runs_valid(&r, cardinality)
                   : (cardinality > ARRAY_MAX ? !bitset_valid(&r, cardinality) : !array_valid(&r, cardinality)))
            return false;
    }
    return rd_ok(&r) && rd_end(&r);
}

enum st uidset_decode(struct str bytes, struct uidset *s, struct err *e)
{
    *s = UIDSET_EMPTY;
    if (!portable_valid(bytes))
        return ERR(e, ST_CORRUPT, "A stored set is damaged", "uid set of %zu bytes does not decode", bytes.n);
    s->r = roaring_bitmap_portable_deserialize_safe(bytes.p, bytes.n);
    if (!s->r)
        return ERR(e, ST_TEMP, "Out of memory", "uid set of %zu bytes", bytes.n);
    drop_if_empty(s);
    return ST_OK;
}

size_t uidset_memory(const struct uidset *s)
{
    if (!s->r)
        return 0;
    const roaring_array_t *ra = &s->r->high_low_container;
    size_t total = sizeof *s->r + (size_t)ra->allocation_size * (sizeof(void *) + 3);
    for (int32_t i = 0; i < ra->size; i++) {
        uint8_t type = ra->typecodes[i];
        const void *c = container_unwrap_shared(ra->containers[i], &type);
        if (type == RUN)
            total += sizeof(run_container_t) + (size_t)((const run_container_t *)c)->capacity * sizeof(rle16_t);
        else if (type == ARRAY)
            total += sizeof(array_container_t) + (size_t)((const array_container_t *)c)->capacity * 2;
        else
            total += sizeof(bitset_container_t) + BITSET_BYTES;
    }
    return total;
}
