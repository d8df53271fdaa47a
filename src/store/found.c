/* Which mailboxes show an e-mail: the pages of KEY_FOUND. */
#include <stdlib.h>

#include "store/append.h"

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "updating a found page"); }

enum st found_add_one(struct tx *tx, uint64_t email, uint32_t mailbox, uint32_t uid, struct err *e)
{
    struct key key = key_u64(KEY_FOUND, email >> FOUND_BITS);
    struct str value;
    TRY(tx_get(tx, key, &value, e));
    size_t count = found_count(value), got;
    ENSURE(count < FOUND_MAX, e, ST_LIMIT, "Too many copies of a message");
    struct found *all = ARENA_ARRAY(&tx->arena, count + 1, struct found);
    if (!all)
        return no_memory(e);
    TRY(found_decode(value, all, count, &got, e));
    struct found new = {(uint32_t)(email & (FOUND_SLOTS - 1)), mailbox, uid};
    size_t at = count;
    while (at > 0 && found_cmp(&all[at - 1], &new) > 0) {
        all[at] = all[at - 1];
        at--;
    }
    all[at] = new;
    char *p = tx_put_room(tx, key, FOUND_HEAD + (count + 1) * sizeof(struct found));
    if (!p)
        return no_memory(e);
    (void)found_encode(all, count + 1, p);
    return ST_OK;
}
