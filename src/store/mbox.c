#include <stdlib.h>

#include "base/rd.h"
#include "rt/clock.h"
#include "store/account.h"
#include "store/journal.h"

/* ---- one mailbox ---- */

bool mbox_set_record(struct mbox *m, const struct record_mailbox *r)
{
    size_t bytes = r->name.n;
    for (unsigned i = 0; i < r->keyword_count; i++)
        bytes += r->keywords[i].n;
    size_t slices = r->keyword_count * sizeof(struct str);
    char *text = malloc(slices + bytes + 1);
    if (!text)
        return false;
    struct record_mailbox copy = *r;
    copy.keywords = (struct str *)(void *)text;
    char *p = text + slices;
    copy.name = str_make(p, r->name.n);
    memcpy(p, r->name.p, r->name.n);
    p += r->name.n;
    for (unsigned i = 0; i < r->keyword_count; i++) {
        struct str word = r->keywords[i];
        memcpy(p, word.p, word.n);
        copy.keywords[i] = str_make(p, word.n);
        p += word.n;
    }
    free(m->text);
    m->text = text;
    m->r = copy;
    return true;
}

struct mbox *mbox_new(uint32_t id, const struct record_mailbox *r)
{
    struct mbox *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->id = id;
    m->first_recent = r->first_recent;
    if (!mbox_set_record(m, r)) {
        free(m);
        return NULL;
    }
    return m;
}

void mbox_free(struct mbox *m)
{
    if (!m)
        return;
    record_uids_release(&m->uids);
    free(m->text);
    free(m);
}

/* ---- names ---- */

static bool below_inbox(struct str s)
{
    struct str inbox = STR("INBOX");
    return str_starts(s, inbox) && (s.n == inbox.n || s.p[inbox.n] == '/');
}

/* By levels: what is below a name comes right after it. INBOX first. */
int name_cmp(struct str a, struct str b)
{
    bool ai = below_inbox(a), bi = below_inbox(b);
    if (ai != bi)
        return ai ? -1 : 1;
    size_t n = a.n < b.n ? a.n : b.n;
    for (size_t i = 0; i < n; i++) {
        if (a.p[i] == b.p[i])
            continue;
        int x = a.p[i] == '/' ? 0 : (unsigned char)a.p[i], y = b.p[i] == '/' ? 0 : (unsigned char)b.p[i];
        return x - y;
    }
    return (a.n > b.n) - (a.n < b.n);
}

/* ---- the head ---- */

void head_release(struct head *h)
{
    for (size_t i = 0; i < h->count; i++)
        mbox_free(h->by_id[i]);
    for (size_t i = 0; i < h->subs_count; i++)
        free((void *)(uintptr_t)h->subs[i].p);
    free(h->by_id);
    free(h->by_name);
    free(h->subs);
    free(h->dying);
    *h = (struct head){0};
}

size_t head_name_at(const struct head *h, struct str name, bool *is)
{
    size_t from = 0, to = h->count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (name_cmp(h->by_name[middle]->r.name, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    if (is)
        *is = from < h->count && str_eq(h->by_name[from]->r.name, name);
    return from;
}

static size_t id_at(const struct head *h, uint32_t id)
{
    size_t from = 0, to = h->count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (h->by_id[middle]->id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct mbox *head_find(const struct head *h, uint32_t id)
{
    size_t at = id_at(h, id);
    return at < h->count && h->by_id[at]->id == id ? h->by_id[at] : NULL;
}

struct mbox *head_find_name(const struct head *h, struct str name)
{
    bool is;
    size_t at = head_name_at(h, name, &is);
    return is ? h->by_name[at] : NULL;
}

static bool grow(struct head *h)
{
    if (h->count < h->cap)
        return true;
    size_t cap = h->cap ? h->cap * 2 : 8;
    struct mbox **by_id = realloc(h->by_id, cap * sizeof(struct mbox *));
    if (!by_id)
        return false;
    h->by_id = by_id;
    struct mbox **by_name = realloc(h->by_name, cap * sizeof(struct mbox *));
    if (!by_name)
        return false;
    h->by_name = by_name;
    h->cap = cap;
    return true;
}

static void insert(struct mbox **list, size_t count, size_t at, struct mbox *m)
{
    memmove(list + at + 1, list + at, (count - at) * sizeof(struct mbox *));
    list[at] = m;
}

bool head_add(struct head *h, struct mbox *m)
{
    if (!grow(h))
        return false;
    insert(h->by_id, h->count, id_at(h, m->id), m);
    insert(h->by_name, h->count, head_name_at(h, m->r.name, NULL), m);
    h->count++;
    return true;
}

static void take_out(struct mbox **list, size_t count, const struct mbox *m)
{
    size_t at = 0;
    while (at < count && list[at] != m)
        at++;
    if (at < count)
        memmove(list + at, list + at + 1, (count - at - 1) * sizeof(struct mbox *));
}

void head_remove(struct head *h, struct mbox *m)
{
    take_out(h->by_id, h->count, m);
    take_out(h->by_name, h->count, m);
    h->count--;
    mbox_free(m);
}

static int by_name(const void *a, const void *b)
{
    struct mbox *const *x = a, *const *y = b;
    return name_cmp((*x)->r.name, (*y)->r.name);
}
void head_sort_names(struct head *h)
{
    if (h->count)
        qsort(h->by_name, h->count, sizeof(struct mbox *), by_name);
}

bool head_add_dying(struct head *h, uint32_t id)
{
    uint32_t *dying = reallocarray(h->dying, h->dying_count + 1, sizeof *dying);
    if (!dying)
        return false;
    h->dying = dying;
    h->dying[h->dying_count++] = id;
    return true;
}

void head_remove_dying(struct head *h, uint32_t id)
{
    for (size_t i = 0; i < h->dying_count; i++)
        if (h->dying[i] == id) {
            h->dying[i] = h->dying[--h->dying_count];
            return;
        }
}

static size_t sub_at(const struct head *h, struct str name)
{
    size_t from = 0, to = h->subs_count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (name_cmp(h->subs[middle], name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

bool head_subscribed(const struct head *h, struct str name)
{
    size_t at = sub_at(h, name);
    return at < h->subs_count && str_eq(h->subs[at], name);
}

bool head_subscribe(struct head *h, struct str name)
{
    if (head_subscribed(h, name))
        return true;
    struct str *subs = reallocarray(h->subs, h->subs_count + 1, sizeof *subs);
    if (!subs)
        return false;
    h->subs = subs;
    char *p = malloc(name.n + 1);
    if (!p)
        return false;
    memcpy(p, name.p, name.n);
    size_t at = sub_at(h, name);
    memmove(subs + at + 1, subs + at, (h->subs_count - at) * sizeof *subs);
    subs[at] = str_make(p, name.n);
    h->subs_count++;
    return true;
}

void head_unsubscribe(struct head *h, struct str name)
{
    size_t at = sub_at(h, name);
    if (at == h->subs_count || !str_eq(h->subs[at], name))
        return;
    free((void *)(uintptr_t)h->subs[at].p);
    memmove(h->subs + at, h->subs + at + 1, (h->subs_count - at - 1) * sizeof *h->subs);
    h->subs_count--;
}

/* ---- loading ---- */

struct loading {
    struct head *head;
    enum st st;
    struct err *e;
};

static enum st load_mailbox(struct loading *l, uint32_t id, struct str value)
{
    struct str keywords[MAILBOX_KEYWORDS_MAX];
    struct record_mailbox r;
    TRY(record_mailbox_decode(value, keywords, &r, l->e));
    if (r.state == RECORD_DYING)
        return head_add_dying(l->head, id) ? ST_OK : ERR(l->e, ST_TEMP, "Out of memory", "loading a head");
    struct mbox *m = mbox_new(id, &r);
    if (!m || !grow(l->head)) {
        mbox_free(m);
        return ERR(l->e, ST_TEMP, "Out of memory", "loading a head");
    }
    l->head->by_id[l->head->count] = m; /* keys come in order of id; names are sorted at the end */
    l->head->by_name[l->head->count++] = m;
    m->r.tail = STR_NONE;
    return r.tail.n ? record_uids_decode(r.tail, record_tail_chunk(r.uidnext), &m->uids, l->e) : ST_OK;
}

static enum st load_record(struct loading *l, struct str key, struct str value)
{
    switch ((enum key_type)key.p[0]) {
    case KEY_MAILBOX:
        if (key.n != 5)
            return record_corrupt("mailbox key", l->e);
        return load_mailbox(l, be32_get(key.p + 1), value);
    case KEY_SUBSCRIPTION:
        return head_subscribe(l->head, value) ? ST_OK : ERR(l->e, ST_TEMP, "Out of memory", "loading a head");
    case KEY_UIDS: {
        if (key.n != 9)
            return record_corrupt("uids key", l->e);
        struct mbox *m = head_find(l->head, be32_get(key.p + 1));
        return m ? record_uids_decode(value, be32_get(key.p + 5), &m->uids, l->e) : ST_OK; /* absent: dying */
    }
    case KEY_HEAD_BEGIN:
    case KEY_HEAD_END:
    case KEY_BLOB:
    case KEY_EMAIL:
    case KEY_FOUND:
    case KEY_GARBAGE:
    case KEY_JOURNAL:
    case KEY_DELIVERY:
    case KEY_PAGE:
    case KEY_THREAD:
    case KEY_MEMBER:
        break;
    }
    return record_corrupt("key in the head", l->e);
}

static bool visit_record(void *context, struct str key, struct str value)
{
    struct loading *l = context;
    l->st = load_record(l, key, value);
    return l->st == ST_OK;
}

enum st head_load_account(struct kv *kv, struct str partition, uint64_t version, struct record_account *out, struct err *e)
{
    DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
    struct key key = key_u64(KEY_JOURNAL, version);
    if (version == 0)
        return ERR(e, ST_NOTFOUND, "No such account", "partition %.*s was never written", STR_FMT(partition));
    enum st s = kv_get(kv, partition, key_str(&key), &value, e);
    if (s == ST_NOTFOUND)
        return record_corrupt("the newest journal entry is missing", e);
    TRY(s);
    TRY(journal_account(buf_str(&value), out, e));
    return out->modseq == version ? ST_OK : record_corrupt("the newest journal entry is of another commit", e);
}

static enum st load_once(struct kv *kv, struct str partition, uint64_t version, struct head *h, struct err *e)
{
    struct loading l = {.head = h, .e = e};
    struct key from = key_type(KEY_HEAD_BEGIN), to = key_type(KEY_HEAD_END);
    TRY(head_load_account(kv, partition, version, &h->rec, e));
    TRY(kv_scan(kv, partition, key_str(&from), key_str(&to), visit_record, &l, e));
    TRY(l.st);
    head_sort_names(h);
    for (size_t i = 0; i < h->count; i++) {
        uidset_optimize(&h->by_id[i]->uids.present);
        uidset_optimize(&h->by_id[i]->uids.unseen);
    }
    return ST_OK;
}

/* A scan may straddle a commit of another node; then the version is another one afterwards, and what looked damaged need not be. */
enum st head_load(struct kv *kv, struct str partition, struct head *out, struct err *e)
{
    enum { PATIENCE_MS = 20000 };
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    do {
        uint64_t before, after = 0;
        *out = (struct head){0};
        TRY(kv_version(kv, partition, &before, e));
        enum st s = load_once(kv, partition, before, out, e);
        enum st again = kv_version(kv, partition, &after, e);
        if (again == ST_OK && s == ST_OK && after == before)
            return ST_OK;
        head_release(out);
        if (again != ST_OK || (s != ST_OK && (s != ST_CORRUPT || after == before)))
            return again != ST_OK ? again : s;
        clock_sleep_ms(1);
    } while (clock_mono_ms() < deadline_ms);
    return ERR(e, ST_TEMP, "The mailbox is changing too fast", "partition %.*s: head and version differ", STR_FMT(partition));
}
