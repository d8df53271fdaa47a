/* Blob counts, thread members, the journal, and records that only have to decode. */
#include <stdlib.h>

#include "base/bits.h"
#include "store/fsck.h"
#include "store/journal.h"
#include "store/name.h"

/* ---- blob counts ---- */

static int blob_cmp(const void *a, const void *b)
{
    const struct survey_email *x = a, *y = b;
    return memcmp(&x->blob, &y->blob, sizeof x->blob);
}

struct walk {
    struct fsck *f;
    size_t at;
    uint64_t next;
};

static enum st expect_blob(struct walk *w, uint32_t stored)
{
    struct fsck *f = w->f;
    const struct kv_blob_id *id = &f->emails[w->at].blob;
    uint32_t count = 0;
    while (w->at < f->email_count && memcmp(&f->emails[w->at].blob, id, sizeof *id) == 0) {
        count++;
        w->at++;
    }
    if (count == stored)
        return ST_OK;
    if (!fsck_found(f, "blob count %u instead of %u", stored, count))
        return ST_OK;
    char bytes[4];
    le32_put(bytes, count);
    return tx_put(f->tx, key_blob(id), str_make(bytes, sizeof bytes), f->e);
}

static bool visit_blob(void *context, struct str key, struct str value)
{
    struct walk *w = context;
    struct fsck *f = w->f;
    struct kv_blob_id id;
    uint32_t stored = 0;
    if (key.n != 1 + KV_BLOB_ID_SIZE) {
        fsck_beyond(f, "blob count: bad key");
        return true;
    }
    memcpy(id.sha256, key.p + 1, KV_BLOB_ID_SIZE);
    if (record_u32_decode(value, &stored, NULL) != ST_OK)
        stored = 0;
    while (w->at < f->email_count && memcmp(&f->emails[w->at].blob, &id, sizeof id) < 0)
        if (!fsck_fail(f, expect_blob(w, 0)))
            return false;
    if (w->at < f->email_count && memcmp(&f->emails[w->at].blob, &id, sizeof id) == 0)
        return fsck_fail(f, expect_blob(w, stored));
    if (fsck_found(f, "blob count %u of bytes that no e-mail has", stored))
        return fsck_fail(f, tx_delete(f->tx, key_blob(&id), f->e));
    return true;
}

static enum st compare_blobs(struct fsck *f)
{
    struct walk w = {f, 0, 0};
    if (f->email_count)
        qsort(f->emails, f->email_count, sizeof *f->emails, blob_cmp);
    TRY(fsck_scan(f, KEY_BLOB, visit_blob, &w));
    while (w.at < f->email_count)
        TRY(expect_blob(&w, 0));
    return ST_OK;
}

/* ---- threads ---- */

static int member_cmp(const void *a, const void *b)
{
    const struct survey_email *x = a, *y = b;
    if (x->thread != y->thread)
        return x->thread < y->thread ? -1 : 1;
    return (x->email > y->email) - (x->email < y->email);
}

static enum st missing_member(struct walk *w)
{
    const struct survey_email *m = &w->f->emails[w->at++];
    if (m->thread == m->email) /* the first one is not listed */
        return ST_OK;
    if (!fsck_found(w->f, "e-mail %u is not listed in its thread", m->email))
        return ST_OK;
    return tx_put(w->f->tx, key_member(m->thread, m->email), STR_NONE, w->f->e);
}

static bool visit_member(void *context, struct str key, struct str value)
{
    struct walk *w = context;
    struct fsck *f = w->f;
    (void)value;
    struct survey_email here = {0};
    if (key.n == 17) {
        here.thread = be64_get(key.p + 1);
        here.email = (uint32_t)be64_get(key.p + 9);
    }
    while (w->at < f->email_count && member_cmp(&f->emails[w->at], &here) < 0)
        if (!fsck_fail(f, missing_member(w)))
            return false;
    if (w->at < f->email_count && member_cmp(&f->emails[w->at], &here) == 0 && here.thread != here.email) {
        w->at++;
        return true;
    }
    if (fsck_found(f, "thread %llu lists e-mail %u, which is not there", (unsigned long long)here.thread, here.email))
        return fsck_fail(f, tx_delete(f->tx, key_member(here.thread, here.email), f->e));
    return true;
}

static enum st compare_members(struct fsck *f)
{
    struct walk w = {f, 0, 0};
    if (f->email_count)
        qsort(f->emails, f->email_count, sizeof *f->emails, member_cmp);
    TRY(fsck_scan(f, KEY_MEMBER, visit_member, &w));
    while (w.at < f->email_count)
        TRY(missing_member(&w));
    return ST_OK;
}

/* ---- the journal ---- */

static bool any_mailbox(void *context, uint32_t mailbox, unsigned events)
{
    (void)context, (void)mailbox, (void)events;
    return true;
}

static bool journal_ok(struct str value)
{
    struct journal_emails emails = {0};
    bool ok = journal_mailboxes(value, any_mailbox, NULL, NULL) == ST_OK && journal_emails_decode(value, &emails, NULL) == ST_OK;
    journal_emails_release(&emails);
    return ok;
}

static bool visit_journal(void *context, struct str key, struct str value)
{
    struct walk *w = context;
    uint64_t modseq = key.n == 9 ? be64_get(key.p + 1) : 0;
    if (modseq == w->next && journal_ok(value)) {
        w->next++;
        return true;
    }
    w->next = 0;
    return false;
}

static enum st compare_journal(struct fsck *f)
{
    struct walk w = {f, 0, f->head.rec.journal_floor + 1};
    TRY(fsck_scan(f, KEY_JOURNAL, visit_journal, &w));
    if (w.next == f->head.rec.modseq + 1)
        return ST_OK;
    if (!fsck_found(f, "the journal has a hole or a damaged entry"))
        return ST_OK;
    struct key from = key_u64(KEY_JOURNAL, 0), to = key_u64(KEY_JOURNAL, f->head.rec.modseq + 1);
    f->tx->rec.journal_floor = f->head.rec.modseq; /* clients resync fully */
    f->tx->range_from = arena_str(&f->tx->arena, key_str(&from));
    f->tx->range_to = arena_str(&f->tx->arena, key_str(&to));
    return f->tx->range_to.p ? ST_OK : ERR(f->e, ST_TEMP, "Out of memory", "checking");
}

/* ---- the rest ---- */

static bool visit_thread(void *context, struct str key, struct str value)
{
    struct fsck *f = context;
    uint64_t thread;
    if (key.n != 9 || record_u64_decode(value, &thread, NULL) != ST_OK || thread == 0 || thread >= f->head.rec.next_email)
        return !fsck_found(f, "a thread id does not decode") || key.n != 9 ||
               fsck_fail(f, tx_delete(f->tx, key_u64(KEY_THREAD, be64_get(key.p + 1)), f->e));
    return true;
}

static bool visit_delivery(void *context, struct str key, struct str value)
{
    struct fsck *f = context;
    struct record_delivery r;
    if (key.n != 3 + KEY_DELIVERY_SIZE || record_delivery_decode(value, &r, NULL) != ST_OK)
        fsck_beyond(f, "a delivery record does not decode");
    return true;
}

static bool visit_any(void *context, struct str key, struct str value)
{
    static const char types[] = "MSUbefgjkptm";
    struct fsck *f = context;
    (void)value;
    if (!memchr(types, key.p[0], sizeof types - 1))
        fsck_beyond(f, "a key of unknown type 0x%02x", (unsigned char)key.p[0]);
    return true;
}

/* All keys outside the types that were read: the gaps between them. */
static enum st unknown_keys(struct fsck *f)
{
    static const char ends[] = {0x01, 'M', 'M' + 1, 'S', 'S' + 1, 'U', 'U' + 1, 'b', 'c', 'e',
                                'h',  'j', 'l',     'm', 'n',     'p', 'q',     't', 'u', 127};
    for (size_t i = 0; i + 1 < sizeof ends; i += 2)
        TRY(kv_scan(account_kv(f->a), f->a->partition, str_make(&ends[i], 1), str_make(&ends[i + 1], 1), visit_any, f, f->e));
    return f->st;
}

static void compare_name(struct fsck *f, const struct mbox *m)
{
    struct name name;
    struct str s = m->r.name, parent = name_parent(s);
    if (name_parse(s, &name, NULL) != ST_OK || !str_eq(s, name_str(&name)))
        fsck_beyond(f, "mailbox %u has a bad name", m->id);
    if (parent.n && !head_find_name(&f->head, parent))
        fsck_beyond(f, "mailbox %u: the level above it is missing", m->id);
    if (head_subscribed(&f->head, s) && fsck_found(f, "mailbox %u is subscribed twice", m->id))
        (void)fsck_fail(f, tx_delete(f->tx, key_subscription(s), f->e));
    struct record_account *rec = &f->tx->rec;
    if (m->id >= rec->next_mailbox && fsck_found(f, "mailbox %u: its id was not given out", m->id))
        rec->next_mailbox = m->id < UINT32_MAX ? m->id + 1 : m->id;
    if (m->r.uidvalidity > rec->uidvalidity && fsck_found(f, "mailbox %u: its uidvalidity was not given out", m->id))
        rec->uidvalidity = m->r.uidvalidity;
}

static void compare_names(struct fsck *f)
{
    const struct head *h = &f->head;
    for (size_t i = 0; i < h->count; i++)
        compare_name(f, h->by_id[i]);
    for (size_t i = 1; i < h->count; i++)
        if (str_eq(h->by_name[i - 1]->r.name, h->by_name[i]->r.name))
            fsck_beyond(f, "mailboxes %u and %u have the same name", h->by_name[i - 1]->id, h->by_name[i]->id);
    if (!head_find_name(h, STR("INBOX")))
        fsck_beyond(f, "there is no INBOX");
}

enum st fsck_compare_keys(struct fsck *f)
{
    compare_names(f);
    TRY(f->st);
    TRY(compare_blobs(f));
    TRY(compare_members(f));
    TRY(compare_journal(f));
    TRY(fsck_scan(f, KEY_THREAD, visit_thread, f));
    TRY(fsck_scan(f, KEY_DELIVERY, visit_delivery, f));
    return unknown_keys(f);
}
