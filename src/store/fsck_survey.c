#include <stdlib.h>

#include "base/bits.h"
#include "format/digest.h"
#include "store/care.h"
#include "store/fsck.h"

enum { SURVEY_MAX = 32 << 20 }; /* messages of one account; memory is about 60 bytes for each */

static bool room_for(void **list, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 1024;
    void *p = count < SURVEY_MAX ? reallocarray(*list, more, size) : NULL;
    if (!p)
        return false;
    *list = p;
    *cap = more;
    return true;
}

static bool no_room(struct fsck *f)
{
    return fsck_fail(f, ERR(f->e, ST_TEMP, "Out of memory", "account %s is too large to be checked", f->a->name));
}

static bool visit_garbage(void *context, struct str key, struct str value)
{
    struct fsck *f = context;
    enum st s = garbage_decode(value, &f->garbage, NULL);
    if (s != ST_OK && fsck_found(f, "garbage record does not decode") && key.n == 9)
        return fsck_fail(f, tx_delete(f->tx, key_u64(KEY_GARBAGE, be64_get(key.p + 1)), f->e));
    return true;
}

static void check_blob(struct fsck *f, const struct record_email *r, uint64_t email)
{
    uint64_t size;
    struct err own = {0};
    enum st s = kv_blob_size(account_kv(f->a), &r->blob, &size, &own);
    if (s != ST_OK)
        fsck_beyond(f, "e-mail %llu: blob: %s", (unsigned long long)email, s == ST_NOTFOUND ? "not there" : own.detail);
    else if (size != r->size)
        fsck_beyond(f, "e-mail %llu: blob has %llu bytes instead of %u", (unsigned long long)email, (unsigned long long)size,
                    r->size);
    else if (f->blobs && kv_blob_verify(account_kv(f->a), &r->blob, &own) != ST_OK)
        fsck_beyond(f, "e-mail %llu: blob: %s", (unsigned long long)email, own.detail);
    f->out->blobs++;
}

static bool visit_email(void *context, struct str key, struct str value)
{
    struct fsck *f = context;
    struct record_email r;
    struct digest d;
    uint64_t email = key.n == 9 ? be64_get(key.p + 1) : UINT64_MAX;
    if (email == 0 || email >= f->head.rec.next_email || record_email_decode(value, &r, NULL) != ST_OK) {
        if (!fsck_found(f, "e-mail record %llu does not decode", (unsigned long long)email) || key.n != 9)
            return true;
        return fsck_fail(f, tx_delete(f->tx, key_u64(KEY_EMAIL, email), f->e)); /* nothing could show it any more */
    }
    if (digest_open(r.digest, &d, NULL) != ST_OK)
        fsck_beyond(f, "e-mail %llu: digest does not decode", (unsigned long long)email);
    check_blob(f, &r, email);
    void *list = f->emails;
    if (!room_for(&list, &f->email_cap, f->email_count, sizeof *f->emails))
        return no_room(f);
    f->emails = list;
    f->emails[f->email_count++] = (struct survey_email){(uint32_t)email, r.size, r.mailbox, r.uid, r.thread, r.blob};
    return true;
}

static bool keep_entry(struct fsck *f, struct survey_mailbox *m, struct message_entry *entry, bool *changed)
{
    const struct survey_email *email = fsck_email(f, entry->email);
    if (!email) {
        *changed |=
            fsck_found(f, "mailbox %u uid %u: its e-mail %llu is not there", m->id, entry->uid, (unsigned long long)entry->email);
        return !f->repair;
    }
    if (email->size != entry->size) {
        *changed |= fsck_found(f, "mailbox %u uid %u: size %u instead of %u", m->id, entry->uid, entry->size, email->size);
        if (f->repair)
            entry->size = email->size;
    }
    return true;
}

static bool count_entry(struct fsck *f, struct survey_mailbox *m, const struct message_entry *entry)
{
    void *list = f->entries;
    if (!room_for(&list, &f->entry_cap, f->entry_count, sizeof *f->entries))
        return no_room(f);
    f->entries = list;
    f->entries[f->entry_count++] = (struct survey_entry){(uint32_t)entry->email, m->id, entry->uid};
    m->exists++;
    m->size_bytes += entry->size;
    m->keywords |= entry->keywords;
    m->modseq = entry->modseq > m->modseq ? entry->modseq : m->modseq;
    m->highest_uid = entry->uid;
    enum st s = uidset_add_range(&m->uids.present, entry->uid, entry->uid);
    if (s == ST_OK && !(entry->flags & MESSAGE_SEEN)) {
        m->unseen++;
        s = uidset_add_range(&m->uids.unseen, entry->uid, entry->uid);
    }
    if (s == ST_OK && entry->flags & MESSAGE_DELETED) {
        m->deleted++;
        s = uidset_add_range(&m->uids.deleted, entry->uid, entry->uid);
    }
    f->out->messages += m->live;
    return s == ST_OK || no_room(f);
}

static bool survey_page(struct fsck *f, struct survey_mailbox *m, uint32_t number)
{
    unsigned kept = 0;
    bool changed = false;
    for (unsigned i = 0; i < f->page.count; i++) {
        struct message_entry entry = f->page.entries[i];
        if (!keep_entry(f, m, &entry, &changed))
            continue;
        f->page.entries[kept++] = entry;
        if (!count_entry(f, m, &entry))
            return false;
    }
    if (!changed)
        return true;
    struct page *page;
    enum st s = tx_page(f->tx, m->id, number, true, &page, f->e);
    if (s == ST_OK) {
        f->page.count = kept;
        *page = f->page;
    }
    return fsck_fail(f, s);
}

static bool visit_page(void *context, struct str key, struct str value)
{
    struct fsck *f = context;
    uint32_t id = key.n == 9 ? be32_get(key.p + 1) : 0, number = key.n == 9 ? be32_get(key.p + 5) : 0;
    if (!f->last || f->last->id != id)
        f->last = fsck_mailbox(f, id);
    if (!f->last || page_decode(value, number, &f->page, NULL) != ST_OK) {
        if (!fsck_found(f, "index page %u of mailbox %u: %s", number, id, f->last ? "does not decode" : "no such mailbox"))
            return true;
        return fsck_fail(f, tx_delete(f->tx, key_u32_u32(KEY_PAGE, id, number), f->e));
    }
    return survey_page(f, f->last, number);
}

enum st fsck_survey(struct fsck *f)
{
    f->mailboxes = calloc(f->head.count + f->head.dying_count + 1, sizeof *f->mailboxes);
    if (!f->mailboxes)
        return ERR(f->e, ST_TEMP, "Out of memory", "checking");
    for (size_t i = 0; i < f->head.count; i++)
        f->mailboxes[f->mailbox_count++] = (struct survey_mailbox){.id = f->head.by_id[i]->id, .live = true};
    for (size_t i = 0; i < f->head.dying_count; i++)
        f->mailboxes[f->mailbox_count++] = (struct survey_mailbox){.id = f->head.dying[i]};
    f->out->mailboxes += f->head.count;
    TRY(fsck_scan(f, KEY_GARBAGE, visit_garbage, f));
    TRY(fsck_scan(f, KEY_EMAIL, visit_email, f));
    return fsck_scan(f, KEY_PAGE, visit_page, f);
}

void fsck_survey_release(struct fsck *f)
{
    for (size_t i = 0; i < f->mailbox_count; i++)
        record_uids_release(&f->mailboxes[i].uids);
    free(f->mailboxes);
    free(f->entries);
    free(f->emails);
    uidset_release(&f->garbage);
    head_release(&f->head);
    f->mailboxes = NULL;
    f->entries = NULL;
    f->emails = NULL;
    f->last = NULL;
    f->mailbox_count = f->entry_count = f->entry_cap = f->email_count = f->email_cap = 0;
}
