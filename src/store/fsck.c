/* store_fsck: account by account, each as one change in its commit line, so that nothing moves meanwhile; then the links of blobs.
 */
#include "store/fsck.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"

__attribute__((format(printf, 2, 0))) static void report_line(struct fsck *f, const char *format, va_list ap)
{
    enum { LINES_MAX = 10000 }; /* of one run; all are counted */
    char what[256], line[320];
    vsnprintf(what, sizeof what, format, ap);
    snprintf(line, sizeof line, "account %s: %s", f->a ? f->a->name : "-", what);
    if (f->report && f->out->findings < LINES_MAX)
        f->report(f->context, line);
    f->out->findings++;
}

bool fsck_found(struct fsck *f, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    report_line(f, format, ap);
    va_end(ap);
    return f->repair && f->tx;
}

void fsck_beyond(struct fsck *f, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    report_line(f, format, ap);
    va_end(ap);
    f->beyond++;
}

bool fsck_fail(struct fsck *f, enum st s)
{
    if (s != ST_OK && f->st == ST_OK)
        f->st = s;
    return f->st == ST_OK;
}

struct survey_mailbox *fsck_mailbox(struct fsck *f, uint32_t id)
{
    for (size_t i = 0; i < f->mailbox_count; i++)
        if (f->mailboxes[i].id == id)
            return &f->mailboxes[i];
    return NULL;
}

const struct survey_email *fsck_email(const struct fsck *f, uint64_t email)
{
    size_t from = 0, to = f->email_count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (f->emails[middle].email < email)
            from = middle + 1;
        else
            to = middle;
    }
    return from < f->email_count && f->emails[from].email == email ? &f->emails[from] : NULL;
}

enum st fsck_scan(struct fsck *f, enum key_type type, kv_visit *visit, void *context)
{
    struct key from = key_type(type), to = key_type((enum key_type)(type + 1));
    TRY(kv_scan(account_kv(f->a), f->a->partition, key_str(&from), key_str(&to), visit, context, f->e));
    return f->st;
}

static enum st apply_fsck(struct tx *tx, void *context, struct err *e)
{
    struct fsck *f = context;
    f->tx = tx;
    f->e = e;
    f->st = ST_OK;
    f->out->findings = f->findings_before; /* the change is run again after a conflict */
    f->beyond = 0;
    fsck_survey_release(f);
    struct err own = {0};
    enum st s = head_load(account_kv(tx->a), tx->a->partition, &f->head, &own);
    if (s == ST_CORRUPT) {
        fsck_beyond(f, "%s", own.detail);
        return ST_OK;
    }
    if (s == ST_OK && f->head.rec.modseq != tx->modseq - 1)
        s = ERR(e, ST_CONFLICT, "Changed by another node", "account %s", tx->a->name);
    if (s == ST_OK)
        s = fsck_survey(f);
    if (s == ST_OK)
        s = fsck_compare(f);
    if (s == ST_OK)
        s = fsck_compare_keys(f);
    if (s == ST_OK && f->repair && f->out->findings != f->findings_before) {
        tx->dirty = true;
        tx->a->stale = true; /* the head is read again after this commit */
    }
    return s;
}

static enum st check_account(struct fsck *f, struct store *s, account_id id)
{
    struct account *a;
    struct err own = {0};
    enum st st = account_open(s, id, &a, &own);
    if (st == ST_NOTFOUND) /* being removed, or never finished */
        return ST_OK;
    f->out->accounts++;
    f->findings_before = f->out->findings;
    if (st == ST_OK) {
        f->a = a;
        f->last = NULL;
        st = change_run_alone(a, apply_fsck, f, &own);
        f->tx = NULL;
        fsck_survey_release(f);
        if (st == ST_OK && f->repair)
            f->out->repaired += f->out->findings - f->findings_before - f->beyond;
        account_unref(a);
    }
    if (st != ST_OK)
        fsck_beyond(f, "cannot be checked: %s", own.detail);
    f->a = NULL;
    return ST_OK;
}

/* ---- links ----
 *
 * kv keeps a set of (blob, partition); the blob counts of the accounts say what it should be. A link too many is what a crash may
 * leave: no finding, mended with `repair`. A missing link would let the blob be collected. */

struct links {
    struct fsck *f;
    struct store *s;
    uint64_t *wanted; /* hashes of (blob, account) */
    bool *seen;
    size_t count, cap;
    struct link {
        struct kv_blob_id blob;
        account_id account;
    } * extra;
    size_t extra_count, extra_cap;
    account_id account; /* whose blob counts are visited */
    enum st st;
};

static uint64_t link_hash(const char *blob, account_id account)
{
    return le64_get(blob) ^ (account * UINT64_C(0x9e3779b97f4a7c15)); /* a blob id is a digest: random already */
}

static int u64_cmp(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static bool collect_link(void *context, struct str key, struct str value)
{
    struct links *l = context;
    (void)value;
    if (key.n != 1 + KV_BLOB_ID_SIZE)
        return true;
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4096;
        uint64_t *wanted = reallocarray(l->wanted, cap, sizeof *wanted);
        if (!wanted) {
            l->st = ST_TEMP;
            return false;
        }
        l->wanted = wanted;
        l->cap = cap;
    }
    l->wanted[l->count++] = link_hash(key.p + 1, l->account);
    return true;
}

static bool partition_account(struct str partition, account_id *id)
{
    char z[20] = "";
    if (partition.n != 18 || !str_starts(partition, STR("a-")))
        return false;
    memcpy(z, partition.p, 18);
    *id = strtoull(z + 2, NULL, 16);
    return true;
}

/* Without memory some stay: the next run finds the rest. */
static void remember_link(struct links *l, const struct kv_blob_id *id, account_id account)
{
    if (l->extra_count == l->extra_cap) {
        size_t cap = l->extra_cap ? l->extra_cap * 2 : 256;
        struct link *extra = reallocarray(l->extra, cap, sizeof *extra);
        if (!extra)
            return;
        l->extra = extra;
        l->extra_cap = cap;
    }
    l->extra[l->extra_count++] = (struct link){*id, account};
}

static bool visit_link(void *context, const struct kv_blob_id *id, struct str partition)
{
    struct links *l = context;
    account_id account;
    if (!partition_account(partition, &account))
        return true;
    uint64_t hash = link_hash((const char *)id->sha256, account);
    uint64_t *at = l->count ? bsearch(&hash, l->wanted, l->count, sizeof hash, u64_cmp) : NULL;
    if (at) {
        l->seen[at - l->wanted] = true;
        return true;
    }
    remember_link(l, id, account);
    return true;
}

struct link_change {
    struct kv_blob_id blob;
    bool add;
};

/* Only if the count still says so: it is read inside the commit line. */
static enum st apply_link(struct tx *tx, void *context, struct err *e)
{
    const struct link_change *c = context;
    struct str count;
    TRY(tx_get(tx, key_blob(&c->blob), &count, e));
    return (count.p != NULL) == c->add ? tx_blob_relink(tx, &c->blob, c->add, e) : ST_OK;
}

static bool is_lost(struct links *l, const struct kv_blob_id *blob)
{
    uint64_t size;
    return kv_blob_size(store_kv(l->s), blob, &size, NULL) == ST_NOTFOUND;
}

/* A link that cannot be mended is reported, and keeps no other one from being mended. */
static void mend_link(struct links *l, const struct link *link, bool add)
{
    struct account *a;
    struct err own = {0};
    enum st s = account_open(l->s, link->account, &a, &own);
    if (s == ST_NOTFOUND)
        return; /* removed meanwhile */
    if (s == ST_OK) {
        struct link_change c = {link->blob, add};
        s = change_run_alone(a, apply_link, &c, &own);
        account_unref(a);
    }
    if (s == ST_OK)
        l->f->out->repaired++;
    else
        fsck_beyond(l->f, "account %016llx: a blob cannot be %s: %s", (unsigned long long)link->account,
                    add ? "linked" : "unlinked", add && is_lost(l, &link->blob) ? "its bytes are lost" : own.detail);
}

static bool check_missing(void *context, struct str key, struct str value)
{
    struct links *l = context;
    (void)value;
    if (key.n != 1 + KV_BLOB_ID_SIZE)
        return true;
    uint64_t hash = link_hash(key.p + 1, l->account);
    const uint64_t *at = bsearch(&hash, l->wanted, l->count, sizeof hash, u64_cmp);
    if (!at || l->seen[at - l->wanted])
        return true; /* fine, or newer than this check */
    (void)fsck_found(l->f, "account %016llx: a blob is not linked", (unsigned long long)l->account);
    struct kv_blob_id blob;
    memcpy(blob.sha256, key.p + 1, KV_BLOB_ID_SIZE);
    if (l->f->repair)
        remember_link(l, &blob, l->account); /* apply_link adds it */
    return true;
}

/* ---- all accounts ---- */

struct partitions {
    account_id *ids;
    size_t count, cap;
    bool failed; /* no memory */
};

static bool visit_partition(void *context, struct str partition, uint64_t version)
{
    struct partitions *p = context;
    account_id id;
    (void)version;
    if (!partition_account(partition, &id))
        return true;
    if (p->count == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 256;
        account_id *ids = reallocarray(p->ids, cap, sizeof *ids);
        if (!ids) {
            p->failed = true;
            return false;
        }
        p->ids = ids;
        p->cap = cap;
    }
    p->ids[p->count++] = id;
    return true;
}

static enum st each_account(struct links *l, enum st (*work)(struct links *l, account_id id, struct err *e), struct err *e)
{
    struct partitions p = {0};
    enum st st = ST_OK;
    for (unsigned slice = 0; st == ST_OK && slice < 256; slice++) {
        char prefix[8];
        snprintf(prefix, sizeof prefix, "a-%02x", slice);
        p.count = 0;
        st = kv_partitions(store_kv(l->s), str_of(prefix), visit_partition, &p, e);
        if (st == ST_OK && p.failed)
            st = ERR(e, ST_TEMP, "Out of memory", "listing accounts");
        for (size_t i = 0; st == ST_OK && i < p.count; i++)
            st = work(l, p.ids[i], e);
    }
    free(p.ids);
    return st;
}

static enum st scan_counts(struct links *l, account_id id, kv_visit *visit, struct err *e)
{
    char name[20];
    struct key from = key_type(KEY_BLOB), to = key_type((enum key_type)(KEY_BLOB + 1));
    account_partition(id, name);
    l->account = id;
    l->st = ST_OK;
    TRY(kv_scan(store_kv(l->s), str_of(name), key_str(&from), key_str(&to), visit, l, e));
    return l->st;
}

static enum st check_and_collect(struct links *l, account_id id, struct err *e)
{
    struct err own = {0};
    TRY(check_account(l->f, l->s, id));
    enum st s = scan_counts(l, id, collect_link, &own);
    if (s == ST_CORRUPT) { /* of this account; apply_link looks again before it takes a link away */
        fsck_beyond(l->f, "account %016llx: links cannot be checked: %s", (unsigned long long)id, own.detail);
        return ST_OK;
    }
    if (s != ST_OK && e)
        *e = own;
    return s;
}

static enum st find_missing(struct links *l, account_id id, struct err *e)
{
    enum st s = scan_counts(l, id, check_missing, e);
    return s == ST_CORRUPT ? ST_OK : s; /* said before */
}

static enum st check_links(struct links *l, struct err *e)
{
    if (l->count)
        qsort(l->wanted, l->count, sizeof *l->wanted, u64_cmp);
    l->seen = calloc(l->count + 1, sizeof *l->seen);
    if (!l->seen)
        return ERR(e, ST_TEMP, "Out of memory", "checking links");
    TRY(kv_links(store_kv(l->s), visit_link, l, e));
    size_t unseen = 0, extra = l->extra_count;
    for (size_t i = 0; i < l->count; i++)
        unseen += !l->seen[i];
    if (l->f->repair)
        for (size_t i = 0; i < extra; i++)
            mend_link(l, &l->extra[i], false);
    l->extra_count = 0;
    if (unseen > 0)
        TRY(each_account(l, find_missing, e));
    for (size_t i = 0; i < l->extra_count; i++)
        mend_link(l, &l->extra[i], true);
    return ST_OK;
}

enum st store_fsck(struct store *s, bool repair, bool blobs, fsck_report *report, void *context, struct fsck_result *out,
                   struct err *e)
{
    *out = (struct fsck_result){0};
    struct fsck *f = calloc(1, sizeof *f);
    if (!f)
        return ERR(e, ST_TEMP, "Out of memory", "checking");
    *f = (struct fsck){.out = out, .report = report, .context = context, .repair = repair, .blobs = blobs};
    struct links l = {.f = f, .s = s};
    l.extra_cap = 1024;
    l.extra = calloc(l.extra_cap, sizeof *l.extra);
    enum st st = l.extra ? each_account(&l, check_and_collect, e) : ERR(e, ST_TEMP, "Out of memory", "checking");
    if (st == ST_OK)
        st = check_links(&l, e);
    free(l.wanted);
    free(l.seen);
    free(l.extra);
    free(f);
    return st;
}
