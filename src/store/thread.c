#include "store/thread.h"

#include "base/bits.h"
#include "format/digest.h"

/* Id and base subject together: who answers an old message about something else begins a new thread. */
static uint64_t hash_of(struct str id, struct str subject)
{
    char room[1024];
    struct buf both = {room, 0, sizeof room, sizeof room, false};
    buf_add(&both, str_upto(id, 500));
    buf_add_c(&both, '\0');
    buf_add(&both, str_upto(subject, 500));
    struct kv_blob_id hash = kv_blob_id_of(buf_str(&both));
    uint64_t v = le64_get(hash.sha256);
    return v ? v : 1;
}

void thread_ids(struct str digest, struct append_item *out)
{
    enum { REFERENCES = APPEND_IDS_MAX - 1 };
    struct digest d;
    struct str last[REFERENCES], id;
    uint32_t at = 0;
    size_t count = 0;
    out->id_count = 0;
    if (digest.n == 0 || digest_open(digest, &d, NULL) != ST_OK)
        return;
    while (count < DIGEST_REFERENCES_MAX && digest_reference_next(&d, &at, &id))
        last[count++ % REFERENCES] = id;
    out->ids[out->id_count++] = d.message_id.n ? hash_of(d.message_id, d.subject_base) : 0;
    for (size_t i = 0; i < count && i < REFERENCES; i++) /* nearest first */
        out->ids[out->id_count++] = hash_of(last[(count - 1 - i) % REFERENCES], d.subject_base);
}

/* The thread that an id leads to; 0: none. */
static enum st look_up(struct tx *tx, uint64_t id, uint64_t *thread, struct err *e)
{
    struct str value;
    *thread = 0;
    TRY(tx_get(tx, key_u64(KEY_THREAD, id), &value, e));
    return value.p ? record_u64_decode(value, thread, e) : ST_OK;
}

static enum st lead_to(struct tx *tx, uint64_t id, uint64_t thread, struct err *e)
{
    char bytes[8];
    le64_put(bytes, thread);
    return tx_put(tx, key_u64(KEY_THREAD, id), str_make(bytes, sizeof bytes), e);
}

/* Looks for the own id (a reply came first), then for the nearest ancestor. When one is known, the ids of all others were written
 * with it; when none is, all are written, so that an ancestor that comes later finds the thread. */
enum st thread_join(struct tx *tx, const struct append_item *item, uint32_t email, uint64_t *thread, struct err *e)
{
    uint64_t found = 0;
    size_t at = item->id_count;
    for (size_t i = 0; i < item->id_count && found == 0; i++)
        if (item->ids[i] != 0) {
            at = i;
            TRY(look_up(tx, item->ids[i], &found, e));
        }
    *thread = found ? found : email;
    for (size_t i = 0; i < item->id_count; i++)
        if (item->ids[i] != 0 && (found == 0 || (i == 0 && at != 0)))
            TRY(lead_to(tx, item->ids[i], *thread, e));
    return *thread == email ? ST_OK : tx_put(tx, key_member(*thread, email), STR_NONE, e);
}

struct other {
    uint64_t email;
    bool any;
};

static bool visit_member(void *context, struct str key, struct str value)
{
    struct other *o = context;
    (void)value;
    if (key.n == 17 && be64_get(key.p + 9) == o->email)
        return true;
    o->any = true;
    return false;
}

/* As stored, without the work of this transaction: in doubt the ids stay, and lead to a thread that is made anew. */
static enum st has_others(struct tx *tx, uint64_t thread, uint32_t email, bool *others, struct err *e)
{
    struct other o = {email, false};
    struct str first = STR_NONE;
    if (thread != email)
        TRY(tx_get(tx, key_u64(KEY_EMAIL, thread), &first, e));
    *others = first.p != NULL;
    if (*others)
        return ST_OK;
    struct key from = key_member(thread, 0), to = key_member(thread + 1, 0);
    TRY(kv_scan(account_kv(tx->a), tx->a->partition, key_str(&from), key_str(&to), visit_member, &o, e));
    *others = o.any;
    return ST_OK;
}

enum st thread_leave(struct tx *tx, uint64_t thread, uint32_t email, struct str digest, struct err *e)
{
    struct append_item item;
    bool others;
    if (thread != email)
        TRY(tx_delete(tx, key_member(thread, email), e));
    TRY(has_others(tx, thread, email, &others, e));
    if (others)
        return ST_OK;
    thread_ids(digest, &item);
    for (size_t i = 0; i < item.id_count; i++) {
        uint64_t to;
        if (item.ids[i] == 0)
            continue;
        TRY(look_up(tx, item.ids[i], &to, e));
        if (to == thread)
            TRY(tx_delete(tx, key_u64(KEY_THREAD, item.ids[i]), e));
    }
    return ST_OK;
}
