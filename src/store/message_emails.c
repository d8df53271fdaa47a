/* Reading many e-mails: their facts and digests by ranges, and their bytes without looking the facts up again. */
#include "base/bits.h"
#include "store/account.h"
#include "store/message.h"

struct emails {
    const uint64_t *wanted;
    size_t count, at;
    message_email_visit *visit;
    void *context;
    bool stopped;
    enum st st;
    struct err *e;
};

static bool visit_email(void *context, struct str key, struct str value)
{
    struct emails *d = context;
    uint64_t id = key.n == 9 ? be64_get(key.p + 1) : 0;
    while (d->at < d->count && d->wanted[d->at] < id)
        d->at++;
    if (d->at == d->count)
        return false;
    if (d->wanted[d->at] != id)
        return true;
    struct record_email r;
    d->st = record_email_decode(value, &r, d->e);
    struct message_email email = {id, r.thread, r.blob, r.size};
    if (d->st == ST_OK && !d->visit(d->context, &email, r.digest))
        d->stopped = true;
    d->at++;
    return d->st == ST_OK && !d->stopped;
}

/* One that stands alone: a key is found much faster than an iterator is made. */
static enum st get_one(struct account *a, struct emails *d, uint64_t id, struct err *e)
{
    DEFER(buf_release) struct buf value = BUF_INIT(KV_VALUE_MAX);
    struct key key = key_u64(KEY_EMAIL, id);
    enum st s = kv_get(account_kv(a), a->partition, key_str(&key), &value, e);
    if (s == ST_OK)
        (void)visit_email(d, key_str(&key), buf_str(&value));
    return s == ST_NOTFOUND ? ST_OK : s;
}

static enum st get_range(struct account *a, struct emails *d, uint64_t first, uint64_t last, struct err *e)
{
    struct key from = key_u64(KEY_EMAIL, first), to = key_u64(KEY_EMAIL, last + 1);
    return kv_scan(account_kv(a), a->partition, key_str(&from), key_str(&to), visit_email, d, e);
}

enum st message_emails(struct account *a, const uint64_t *emails, size_t count, message_email_visit *visit, void *context,
                       struct err *e)
{
    enum { GAP = 16 }; /* records that are read in vain rather than starting another scan */
    TRY(account_alive(a, e));
    struct emails d = {emails, count, 0, visit, context, false, ST_OK, e};
    for (size_t first = 0; first < count && !d.stopped;) {
        size_t end = first + 1;
        while (end < count && emails[end] - emails[end - 1] <= GAP)
            end++;
        d.at = first;
        TRY(end - first == 1 ? get_one(a, &d, emails[first], e) : get_range(a, &d, emails[first], emails[end - 1], e));
        TRY(d.st);
        first = end;
    }
    return ST_OK;
}

enum st message_read_email(struct account *a, const struct message_email *email, uint64_t offset, size_t length, struct buf *out,
                           struct err *e)
{
    enum st s = kv_blob_read(account_kv(a), &email->blob, offset, length, out, e);
    if (s == ST_NOTFOUND)
        return ERR(e, ST_CORRUPT, "The message is missing in the store", "account %s: e-mail %llu has no blob", a->name,
                   (unsigned long long)email->id);
    return s;
}

enum st message_read_together(struct account *a, struct kv_blob_place *places, size_t count, struct buf *out, struct err *e)
{
    return kv_blob_read_together(account_kv(a), places, count, out, e);
}
