#include "store/deliver.h"

#include "store/append.h"
#include "store/mailbox_tree.h"

enum {
    PERIOD_S = 5 * 86400,
    PERIODS = 2, /* how many are kept, the current one included */
};
_Static_assert((int)DELIVER_KEY_SIZE == (int)KEY_DELIVERY_SIZE, "the same key");

struct deliver_change {
    struct deliver *d;
    const struct append_item *item;
};

static enum st find_earlier(struct tx *tx, struct deliver *d, uint16_t period, struct err *e)
{
    d->repeated = false;
    for (uint16_t i = 0; i < PERIODS && i <= period && !d->first; i++) {
        struct str value;
        struct record_delivery r;
        TRY(tx_get(tx, key_delivery((uint16_t)(period - i), d->key), &value, e));
        if (!value.p)
            continue;
        TRY(record_delivery_decode(value, &r, e));
        d->repeated = true;
        d->mailbox_id = r.mailbox;
        d->message.uid = r.uid;
        return ST_OK;
    }
    return ST_OK;
}

/* Once in a period: one range deletion forgets the keys of those that are too old. */
static enum st forget_old(struct tx *tx, uint16_t period, struct err *e)
{
    uint16_t floor = period >= PERIODS ? (uint16_t)(period - PERIODS + 1) : 0;
    if (tx->rec.delivery_floor >= floor)
        return ST_OK;
    static const uint8_t zero[KEY_DELIVERY_SIZE];
    struct key from = key_delivery(0, zero), to = key_delivery(floor, zero);
    tx->range_from = arena_str(&tx->arena, key_str(&from));
    tx->range_to = arena_str(&tx->arena, key_str(&to));
    tx->rec.delivery_floor = floor;
    tx->dirty = true;
    return tx->range_from.p && tx->range_to.p ? ST_OK : ERR(e, ST_TEMP, "Out of memory", "delivering");
}

static enum st remember(struct tx *tx, const struct deliver *d, uint16_t period, struct err *e)
{
    char bytes[16];
    struct buf value = {bytes, 0, sizeof bytes, sizeof bytes, false};
    record_delivery_encode(&(struct record_delivery){d->mailbox_id, d->message.uid}, &value);
    TRY(forget_old(tx, period, e));
    return tx_put(tx, key_delivery(period, d->key), buf_str(&value), e);
}

static enum st target(struct tx *tx, const struct deliver *d, struct tx_mailbox **out, struct err *e)
{
    struct name name;
    struct tx_mailbox *m = NULL;
    if (d->mailbox.n > 0 && name_parse(d->mailbox, &name, NULL) == ST_OK) {
        m = tx_mailbox_named(tx, name_str(&name));
        if (!m && d->create) {
            TRY(mailbox_tree_add_parents(tx, name_str(&name), e));
            TRY(mailbox_tree_add(tx, name_str(&name), &m, e));
            m->r.subscribed = true;
        }
    }
    if (!m || !m->r.selectable)
        m = tx_mailbox_named(tx, STR("INBOX"));
    if (m)
        return tx_mailbox(tx, m->id, out, e);
    (void)!ERR(e, ST_CORRUPT, "The account has no INBOX", "account %s", tx->a->name);
    return ST_CORRUPT;
}

static enum st apply_deliver(struct tx *tx, void *context, struct err *e)
{
    struct deliver_change *c = context;
    struct deliver *d = c->d;
    struct tx_mailbox *m;
    uint16_t period = (uint16_t)(tx->now_ms / 1000 / PERIOD_S);
    TRY(find_earlier(tx, d, period, e));
    if (d->repeated)
        return ST_OK;
    TRY(target(tx, d, &m, e));
    TRY(append_apply(tx, m, &d->message, c->item, e));
    d->mailbox_id = m->id;
    return remember(tx, d, period, e);
}

enum st deliver_message(struct account *a, struct deliver *d, struct err *e)
{
    DEFER(buf_release) struct buf digest = BUF_INIT(KV_VALUE_MAX);
    struct append_item item;
    TRY(account_ready(a, e));
    TRY(append_prepare(a, &d->message, &digest, &item, e));
    return change_run(a, apply_deliver, &(struct deliver_change){d, &item}, e);
}
