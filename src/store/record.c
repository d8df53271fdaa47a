#include "store/record.h"

#include "base/bits.h"
#include "base/rd.h"

enum st record_corrupt(const char *what, struct err *e)
{
    return ERR(e, ST_CORRUPT, "The mail store is damaged", "stored record does not decode: %s", what);
}

static void put_varstr(struct buf *out, struct str s)
{
    buf_add_varint(out, s.n);
    buf_add(out, s);
}

/* Takes the version byte; one that is not known fails the cursor. */
static void take_version(struct rd *r)
{
    if (rd_u8(r) != RECORD_VERSION)
        rd_fail(r);
}

static bool complete(const struct rd *r) { return rd_ok(r) && rd_end(r); }

/* ---- account ---- */

enum { ACCOUNT_DYING = 1 << 0, ACCOUNT_CARE = 1 << 1 };

void record_account_encode(const struct record_account *r, struct buf *out)
{
    buf_add_c(out, RECORD_VERSION);
    buf_add_c(out, (char)((r->state == RECORD_DYING ? ACCOUNT_DYING : 0) | (r->care ? ACCOUNT_CARE : 0)));
    buf_add_varint(out, r->modseq);
    buf_add_varint(out, r->journal_floor);
    buf_add_varint(out, r->next_mailbox);
    buf_add_varint(out, r->next_email);
    buf_add_varint(out, r->uidvalidity);
    buf_add_varint(out, r->delivery_floor);
    buf_add_varint(out, r->bytes_used);
    buf_add_varint(out, r->messages_used);
    buf_add_varint(out, r->bytes_max + 1); /* no limit: 0 */
    buf_add_varint(out, r->messages_max + 1);
    buf_add_varint(out, (uint64_t)r->created_ms);
}

static uint32_t take_u32(struct rd *r)
{
    uint64_t v = rd_varint(r);
    if (v > UINT32_MAX)
        rd_fail(r);
    return (uint32_t)v;
}

enum st record_account_decode(struct str bytes, struct record_account *out, struct err *e)
{
    struct rd r = rd_of(bytes);
    take_version(&r);
    unsigned flags = rd_u8(&r);
    *out = (struct record_account){.state = flags & ACCOUNT_DYING ? RECORD_DYING : RECORD_LIVE, .care = flags & ACCOUNT_CARE};
    out->modseq = rd_varint(&r);
    out->journal_floor = rd_varint(&r);
    out->next_mailbox = take_u32(&r);
    out->next_email = take_u32(&r);
    out->uidvalidity = take_u32(&r);
    uint64_t delivery_floor = rd_varint(&r);
    out->bytes_used = rd_varint(&r);
    out->messages_used = rd_varint(&r);
    out->bytes_max = rd_varint(&r) - 1;
    out->messages_max = rd_varint(&r) - 1;
    out->created_ms = (int64_t)rd_varint(&r);
    if (!complete(&r) || flags > (ACCOUNT_DYING | ACCOUNT_CARE) || out->next_mailbox == 0 || out->next_email == 0 ||
        delivery_floor > UINT16_MAX || out->journal_floor > out->modseq)
        return record_corrupt("account", e);
    out->delivery_floor = (uint16_t)delivery_floor;
    return ST_OK;
}

/* ---- mailbox ---- */

enum { MAILBOX_DYING = 1 << 0, MAILBOX_SUBSCRIBED = 1 << 1, MAILBOX_SELECTABLE = 1 << 2, MAILBOX_FLAGS = 7 };

void record_mailbox_encode(const struct record_mailbox *r, struct buf *out)
{
    buf_add_c(out, RECORD_VERSION);
    buf_add_c(out, (char)((r->state == RECORD_DYING ? MAILBOX_DYING : 0) | (r->subscribed ? MAILBOX_SUBSCRIBED : 0) |
                          (r->selectable ? MAILBOX_SELECTABLE : 0)));
    buf_add_le16(out, (uint16_t)r->role);
    buf_add_le32(out, r->uidvalidity);
    buf_add_le32(out, r->uidnext);
    buf_add_le32(out, r->first_recent);
    buf_add_le32(out, r->exists);
    buf_add_le32(out, r->unseen);
    buf_add_le32(out, r->deleted);
    buf_add_le64(out, r->highest_modseq);
    buf_add_le64(out, r->created_modseq);
    buf_add_le64(out, r->size_bytes);
    put_varstr(out, r->name);
    buf_add_varint(out, r->keyword_count);
    for (unsigned i = 0; i < r->keyword_count; i++)
        put_varstr(out, r->keywords[i]);
    put_varstr(out, r->tail);
}

enum st record_mailbox_decode(struct str bytes, struct str *keywords, struct record_mailbox *out, struct err *e)
{
    struct rd r = rd_of(bytes);
    take_version(&r);
    unsigned flags = rd_u8(&r);
    *out = (struct record_mailbox){.state = flags & MAILBOX_DYING ? RECORD_DYING : RECORD_LIVE,
                                   .subscribed = flags & MAILBOX_SUBSCRIBED,
                                   .selectable = flags & MAILBOX_SELECTABLE,
                                   .keywords = keywords};
    unsigned role = rd_le16(&r);
    out->role = (enum mailbox_role)role;
    out->uidvalidity = rd_le32(&r);
    out->uidnext = rd_le32(&r);
    out->first_recent = rd_le32(&r);
    out->exists = rd_le32(&r);
    out->unseen = rd_le32(&r);
    out->deleted = rd_le32(&r);
    out->highest_modseq = rd_le64(&r);
    out->created_modseq = rd_le64(&r);
    out->size_bytes = rd_le64(&r);
    out->name = rd_varstr(&r);
    uint64_t count = rd_varint(&r);
    if (!rd_ok(&r) || flags > MAILBOX_FLAGS || role >= MAILBOX_ROLE_IMPORTANT << 1 || (role & (role - 1)) != 0 ||
        out->uidvalidity == 0 || out->uidnext == 0 || out->name.n > MAILBOX_NAME_MAX || count > MAILBOX_KEYWORDS_MAX)
        return record_corrupt("mailbox", e);
    out->keyword_count = (unsigned)count;
    for (unsigned i = 0; i < out->keyword_count; i++) {
        out->keywords[i] = rd_varstr(&r);
        if (out->keywords[i].n == 0 || out->keywords[i].n > MAILBOX_KEYWORD_LENGTH_MAX)
            return record_corrupt("mailbox keyword", e);
    }
    out->tail = rd_varstr(&r);
    return complete(&r) ? ST_OK : record_corrupt("mailbox", e);
}

/* ---- sets ---- */

enum { SET_RUNS = 0, SET_ROARING = 1, SET_RUNS_MAX = 64 };

/* Runs as varints: what lies between the last run and this one, and how many follow the first member. */
static bool encode_runs(const struct uidset *s, struct buf *out)
{
    uint64_t at = 0, next = 0;
    uint32_t first, last;
    for (int i = 0; uidset_next_run(s, &at, &first, &last); i++) {
        if (i == SET_RUNS_MAX)
            return false;
        buf_add_varint(out, first - next);
        buf_add_varint(out, last - first);
        next = (uint64_t)last + 1;
    }
    return true;
}

static void add_encoded(struct buf *out, uint8_t kind, struct str bytes)
{
    buf_add_varint(out, bytes.n + 1);
    buf_add_c(out, (char)kind);
    buf_add(out, bytes);
}

void record_set_encode(const struct uidset *s, struct buf *out)
{
    if (uidset_empty(s)) {
        buf_add_varint(out, 0);
        return;
    }
    char room[SET_RUNS_MAX * 10 + 20];
    struct buf runs = {room, 0, sizeof room, sizeof room, false}; /* never grows: 64 runs of two varints of 5 bytes */
    if (encode_runs(s, &runs)) {
        add_encoded(out, SET_RUNS, buf_str(&runs));
        return;
    }
    DEFER(buf_release) struct buf bytes = BUF_INIT(KV_VALUE_MAX);
    DEFER(uidset_release) struct uidset compact;
    if (uidset_copy(s, &compact) != ST_OK) {
        out->failed = true;
        return;
    }
    uidset_optimize(&compact);
    uidset_encode(&compact, &bytes);
    if (!buf_ok(&bytes))
        out->failed = true;
    add_encoded(out, SET_ROARING, buf_str(&bytes));
}

static enum st decode_runs(struct rd *r, uint32_t low, uint32_t high, struct uidset *into, struct err *e)
{
    uint64_t next = 0;
    while (!rd_end(r)) {
        uint64_t gap = rd_varint(r), more = rd_varint(r);
        if (!rd_ok(r) || gap > UINT32_MAX || more > UINT32_MAX)
            return record_corrupt("set", e);
        uint64_t first = next + gap, last = first + more;
        if (first < low || last > high)
            return record_corrupt("set out of range", e);
        if (uidset_add_range(into, (uint32_t)first, (uint32_t)last) != ST_OK)
            return ERR(e, ST_TEMP, "Out of memory", "decoding a set");
        next = last + 1;
    }
    return ST_OK;
}

enum st record_set_decode(struct str bytes, uint32_t low, uint32_t high, struct uidset *into, struct err *e)
{
    if (bytes.n == 0)
        return ST_OK;
    struct rd r = rd_of(bytes);
    unsigned kind = rd_u8(&r);
    if (kind == SET_RUNS)
        return decode_runs(&r, low, high, into, e);
    if (kind != SET_ROARING)
        return record_corrupt("set", e);
    DEFER(uidset_release) struct uidset s = UIDSET_EMPTY;
    TRY(uidset_decode(rd_rest(&r), &s, e));
    if (!uidset_empty(&s) && (uidset_min(&s) < low || uidset_max(&s) > high))
        return record_corrupt("set out of range", e);
    if (uidset_or(into, &s) != ST_OK)
        return ERR(e, ST_TEMP, "Out of memory", "decoding a set");
    return ST_OK;
}

void record_uids_encode(const struct record_uids *r, struct buf *out)
{
    buf_add_c(out, RECORD_VERSION);
    record_set_encode(&r->present, out);
    record_set_encode(&r->unseen, out);
    record_set_encode(&r->deleted, out);
}

enum st record_uids_decode(struct str bytes, uint32_t chunk, struct record_uids *into, struct err *e)
{
    struct rd r = rd_of(bytes);
    take_version(&r);
    struct str present = rd_varstr(&r), unseen = rd_varstr(&r), deleted = rd_varstr(&r);
    if (!complete(&r) || chunk > UINT32_MAX >> RECORD_UIDS_BITS)
        return record_corrupt("uids", e);
    uint32_t low = chunk << RECORD_UIDS_BITS, high = low + (UINT32_C(1) << RECORD_UIDS_BITS) - 1;
    TRY(record_set_decode(present, low, high, &into->present, e));
    TRY(record_set_decode(unseen, low, high, &into->unseen, e));
    return record_set_decode(deleted, low, high, &into->deleted, e);
}

void record_uids_release(struct record_uids *r)
{
    uidset_release(&r->present);
    uidset_release(&r->unseen);
    uidset_release(&r->deleted);
}

/* ---- e-mail ---- */

void record_email_encode(const struct record_email *r, char head[RECORD_EMAIL_HEAD])
{
    memset(head, 0, 4);
    head[0] = RECORD_VERSION;
    le32_put(head + 4, r->size);
    le64_put(head + 8, r->thread);
    memcpy(head + 16, r->blob.sha256, KV_BLOB_ID_SIZE);
    le32_put(head + 48, r->mailbox);
    le32_put(head + 52, r->uid);
}

enum st record_email_decode(struct str bytes, struct record_email *out, struct err *e)
{
    struct rd r = rd_of(bytes);
    take_version(&r);
    struct str zeros = rd_bytes(&r, 3);
    out->size = rd_le32(&r);
    out->thread = rd_le64(&r);
    struct str blob = rd_bytes(&r, KV_BLOB_ID_SIZE);
    out->mailbox = rd_le32(&r);
    out->uid = rd_le32(&r);
    if (!rd_ok(&r) || !str_eq(zeros, str_make("\0\0", 3)))
        return record_corrupt("e-mail", e);
    memcpy(out->blob.sha256, blob.p, KV_BLOB_ID_SIZE);
    out->digest = rd_rest(&r);
    return ST_OK;
}

/* ---- small ones ---- */

enum st record_u32_decode(struct str bytes, uint32_t *out, struct err *e)
{
    if (bytes.n != 4)
        return record_corrupt("count", e);
    *out = le32_get(bytes.p);
    return ST_OK;
}

enum st record_u64_decode(struct str bytes, uint64_t *out, struct err *e)
{
    if (bytes.n != 8)
        return record_corrupt("number", e);
    *out = le64_get(bytes.p);
    return ST_OK;
}

void record_delivery_encode(const struct record_delivery *r, struct buf *out)
{
    buf_add_c(out, RECORD_VERSION);
    buf_add_le32(out, r->mailbox);
    buf_add_le32(out, r->uid);
}

enum st record_delivery_decode(struct str bytes, struct record_delivery *out, struct err *e)
{
    struct rd r = rd_of(bytes);
    take_version(&r);
    out->mailbox = rd_le32(&r);
    out->uid = rd_le32(&r);
    return complete(&r) ? ST_OK : record_corrupt("delivery", e);
}
