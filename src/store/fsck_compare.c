/* What is derived from index pages and e-mail records, compared with what they say, and written anew if asked. */
#include <stdlib.h>

#include "base/bits.h"
#include "store/found.h"
#include "store/fsck.h"

/* ---- mailboxes ---- */

/* The records of all chunks; the last one goes into *tail. */
static enum st write_uids(struct fsck *f, struct survey_mailbox *m, uint32_t tail_chunk, struct buf *tail)
{
    DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
    for (uint64_t low = 0; low >> RECORD_UIDS_BITS <= tail_chunk; low += UINT64_C(1) << RECORD_UIDS_BITS) {
        struct record_uids part = {0};
        uint32_t first = (uint32_t)low, last = first + (UINT32_C(1) << RECORD_UIDS_BITS) - 1;
        enum st s = uidset_add_range(&part.present, first, last);
        if (s == ST_OK)
            s = uidset_copy(&part.present, &part.unseen);
        if (s == ST_OK)
            s = uidset_copy(&part.present, &part.deleted);
        uidset_and(&part.present, &m->uids.present);
        uidset_and(&part.unseen, &m->uids.unseen);
        uidset_and(&part.deleted, &m->uids.deleted);
        buf_clear(&value);
        record_uids_encode(&part, &value);
        struct key key = key_u32_u32(KEY_UIDS, m->id, first >> RECORD_UIDS_BITS);
        bool last_one = first >> RECORD_UIDS_BITS == tail_chunk;
        if (last_one)
            buf_add(tail, buf_str(&value));
        if (s == ST_OK)
            s = last_one || uidset_empty(&part.present) ? tx_delete(f->tx, key, f->e) : tx_put(f->tx, key, buf_str(&value), f->e);
        record_uids_release(&part);
        if (s != ST_OK)
            return s;
    }
    return ST_OK;
}

static enum st write_mailbox(struct fsck *f, struct mbox *stored, struct survey_mailbox *m)
{
    DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
    DEFER(buf_release) struct buf tail = BUF_INIT(KV_VALUE_MAX / 2);
    struct record_mailbox r = stored->r;
    r.exists = m->exists;
    r.unseen = m->unseen;
    r.deleted = m->deleted;
    r.size_bytes = m->size_bytes;
    r.uidnext = m->highest_uid >= r.uidnext ? m->highest_uid + 1 : r.uidnext;
    r.highest_modseq = f->tx->modseq; /* sessions must look again */
    TRY(write_uids(f, m, record_tail_chunk(r.uidnext), &tail));
    r.tail = buf_str(&tail);
    record_mailbox_encode(&r, &value);
    return tx_put(f->tx, key_u32(KEY_MAILBOX, m->id), buf_str(&value), f->e);
}

static enum st compare_mailbox(struct fsck *f, struct mbox *stored, struct survey_mailbox *m)
{
    const struct record_mailbox *r = &stored->r;
    uint64_t before = f->out->findings;
    if (r->exists != m->exists || r->unseen != m->unseen || r->deleted != m->deleted || r->size_bytes != m->size_bytes)
        (void)fsck_found(f, "mailbox %u: counts %u %u %u %llu instead of %u %u %u %llu", m->id, r->exists, r->unseen, r->deleted,
                         (unsigned long long)r->size_bytes, m->exists, m->unseen, m->deleted, (unsigned long long)m->size_bytes);
    if (!uidset_equal(&stored->uids.present, &m->uids.present))
        (void)fsck_found(f, "mailbox %u: the set of uids differs from the pages", m->id);
    if (!uidset_equal(&stored->uids.unseen, &m->uids.unseen))
        (void)fsck_found(f, "mailbox %u: the set of unseen messages differs from the pages", m->id);
    if (!uidset_equal(&stored->uids.deleted, &m->uids.deleted))
        (void)fsck_found(f, "mailbox %u: the set of deleted messages differs from the pages", m->id);
    if (m->highest_uid >= r->uidnext)
        (void)fsck_found(f, "mailbox %u: uid %u is not below uidnext %u", m->id, m->highest_uid, r->uidnext);
    if (m->modseq > r->highest_modseq || r->highest_modseq > f->head.rec.modseq)
        (void)fsck_found(f, "mailbox %u: highest mod-sequence %llu", m->id, (unsigned long long)r->highest_modseq);
    if (r->keyword_count < MAILBOX_KEYWORDS_MAX && m->keywords >> r->keyword_count != 0)
        fsck_beyond(f, "mailbox %u: a message has a keyword without a name", m->id);
    return f->repair && f->out->findings != before ? write_mailbox(f, stored, m) : ST_OK;
}

/* The head in memory is what sessions see: it must be what is stored. */
static void compare_memory(struct fsck *f)
{
    const struct head *mine = &f->a->head;
    if (mine->count != f->head.count || mine->subs_count != f->head.subs_count || mine->rec.modseq != f->head.rec.modseq) {
        (void)fsck_found(f, "the account in memory differs from the stored one");
        return;
    }
    for (size_t i = 0; i < mine->count; i++) {
        const struct mbox *a = mine->by_id[i], *b = f->head.by_id[i];
        if (a->id != b->id || !str_eq(a->r.name, b->r.name) || a->r.uidnext != b->r.uidnext || a->r.exists != b->r.exists ||
            a->r.unseen != b->r.unseen || a->r.highest_modseq != b->r.highest_modseq ||
            !uidset_equal(&a->uids.present, &b->uids.present) || !uidset_equal(&a->uids.unseen, &b->uids.unseen) ||
            !uidset_equal(&a->uids.deleted, &b->uids.deleted))
            (void)fsck_found(f, "mailbox %u in memory differs from the stored one", a->id);
        if (i > 0 && name_cmp(mine->by_name[i - 1]->r.name, mine->by_name[i]->r.name) >= 0)
            (void)fsck_found(f, "mailboxes in memory are not in order");
    }
}

/* ---- found pages ---- */

static int entry_cmp(const void *a, const void *b)
{
    const struct survey_entry *x = a, *y = b;
    if (x->email != y->email)
        return x->email < y->email ? -1 : 1;
    if (x->mailbox != y->mailbox)
        return x->mailbox < y->mailbox ? -1 : 1;
    return (x->uid > y->uid) - (x->uid < y->uid);
}

struct found_walk {
    struct fsck *f;
    size_t at; /* next entry */
};

/* What the found page should say of the e-mail whose entries begin at *at. */
static void expect_email(struct fsck *f, size_t *at, struct found *out, size_t *count)
{
    uint32_t id = f->entries[*at].email, slot = id & (FOUND_SLOTS - 1);
    const struct survey_email *email = fsck_email(f, id);
    size_t head = (*count)++;
    bool left = true;
    for (; *at < f->entry_count && f->entries[*at].email == id; ++*at) {
        const struct survey_entry *x = &f->entries[*at];
        if (email && x->mailbox == email->mailbox && x->uid == email->uid)
            left = false;
        else
            out[(*count)++] = (struct found){slot, x->mailbox, x->uid};
    }
    if (left) {
        out[head] = (struct found){slot, FOUND_LEFT, FOUND_LEFT};
        return;
    }
    memmove(&out[head], &out[head + 1], (*count - head - 1) * sizeof *out);
    --*count;
}

/* The stored form of page `number` from the entries from *at on; empty if there is nothing to say. */
static enum st expected_page(struct fsck *f, size_t *at, uint32_t number, struct buf *out)
{
    buf_clear(out);
    size_t end = *at, count = 0;
    while (end < f->entry_count && f->entries[end].email >> FOUND_BITS == number)
        end++;
    struct found *list = calloc(2 * (end - *at) + 1, sizeof *list);
    if (!list)
        return ERR(f->e, ST_TEMP, "Out of memory", "checking");
    while (*at < end)
        expect_email(f, at, list, &count);
    char *p = count ? buf_reserve(out, FOUND_HEAD + count * sizeof *list) : NULL;
    if (p)
        buf_grew(out, found_encode(list, count, p));
    free(list);
    return buf_ok(out) ? ST_OK : ERR(f->e, ST_TEMP, "Out of memory", "checking");
}

static enum st compare_page(struct fsck *f, size_t *at, uint32_t number, struct str stored)
{
    DEFER(buf_release) struct buf want = BUF_INIT(KV_VALUE_MAX);
    TRY(expected_page(f, at, number, &want));
    if (str_eq(buf_str(&want), stored))
        return ST_OK;
    if (!fsck_found(f, "found page %u differs from the index pages", number))
        return ST_OK;
    struct key key = key_u64(KEY_FOUND, number);
    return want.n ? tx_put(f->tx, key, buf_str(&want), f->e) : tx_delete(f->tx, key, f->e);
}

/* Pages that should be there, before `number`. */
static enum st missing_pages(struct found_walk *w, uint64_t number)
{
    struct fsck *f = w->f;
    while (w->at < f->entry_count && f->entries[w->at].email >> FOUND_BITS < number)
        TRY(compare_page(f, &w->at, f->entries[w->at].email >> FOUND_BITS, STR_NONE));
    return ST_OK;
}

static bool visit_found(void *context, struct str key, struct str value)
{
    struct found_walk *w = context;
    uint64_t number = key.n == 9 ? be64_get(key.p + 1) : UINT64_MAX;
    enum st s = missing_pages(w, number);
    if (s == ST_OK && number <= UINT32_MAX)
        s = compare_page(w->f, &w->at, (uint32_t)number, value);
    return fsck_fail(w->f, s);
}

static bool drop_garbage(void *context, struct str key, struct str value)
{
    struct fsck *f = context;
    (void)value;
    return key.n != 9 || fsck_fail(f, tx_delete(f->tx, key_u64(KEY_GARBAGE, be64_get(key.p + 1)), f->e));
}

/* E-mails that no mailbox shows must be listed as garbage, others must not: care would remove them. */
static enum st compare_garbage(struct fsck *f)
{
    size_t at = 0;
    bool wrong = false;
    for (size_t i = 0; i < f->email_count; i++) {
        uint32_t email = f->emails[i].email;
        while (at < f->entry_count && f->entries[at].email < email)
            at++;
        bool shown = at < f->entry_count && f->entries[at].email == email, listed = uidset_has(&f->garbage, email);
        if (shown && listed)
            wrong |= fsck_found(f, "e-mail %u is shown, and listed as garbage", email);
        if (!shown && !listed)
            wrong |= fsck_found(f, "e-mail %u is not shown by any mailbox", email);
        if (!shown && f->repair)
            delta_add(&f->tx->emails.destroyed, email); /* the commit lists it, if there is one */
    }
    return wrong ? fsck_scan(f, KEY_GARBAGE, drop_garbage, f) : ST_OK;
}

static void compare_quota(struct fsck *f)
{
    uint64_t bytes = 0, messages = 0;
    for (size_t i = 0; i < f->mailbox_count; i++)
        if (f->mailboxes[i].live) {
            bytes += f->mailboxes[i].size_bytes;
            messages += f->mailboxes[i].exists;
        }
    const struct record_account *r = &f->head.rec;
    if (r->bytes_used == bytes && r->messages_used == messages)
        return;
    if (!fsck_found(f, "quota: %llu bytes, %llu messages instead of %llu, %llu", (unsigned long long)r->bytes_used,
                    (unsigned long long)r->messages_used, (unsigned long long)bytes, (unsigned long long)messages))
        return;
    f->tx->rec.bytes_used = bytes;
    f->tx->rec.messages_used = messages;
}

enum st fsck_compare(struct fsck *f)
{
    if (f->entry_count)
        qsort(f->entries, f->entry_count, sizeof *f->entries, entry_cmp);
    for (size_t i = 0; i < f->head.count; i++)
        TRY(compare_mailbox(f, f->head.by_id[i], &f->mailboxes[i]));
    compare_memory(f);
    struct found_walk w = {f, 0};
    TRY(fsck_scan(f, KEY_FOUND, visit_found, &w));
    TRY(missing_pages(&w, UINT64_MAX));
    TRY(compare_garbage(f));
    compare_quota(f);
    return ST_OK;
}
