#include "serve/pop3/maildrop.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "rt/random.h"
#include "store/message.h"

enum { PAGE = 128, ARENA_BYTES = 256 << 10, AHEAD = 32 };

struct maildrop_ahead {
    uint32_t first, count; /* messages first to first + count - 1 */
    bool known[AHEAD];
    struct message_email facts[AHEAD];
};

static enum st take_lease(struct pop3_maildrop *m, account_id id, const struct pop3_maildrop_how *how, struct err *e)
{
    uint64_t epoch;
    if (!how->exclusive)
        return ST_OK;
    snprintf(m->lease, sizeof m->lease, "pop3.%016llx", (unsigned long long)id);
    snprintf(m->holder, sizeof m->holder, "pop3.%016llx", (unsigned long long)random_u64());
    TRY(kv_lease_take(store_kv(m->store), str_of(m->lease), str_of(m->holder), how->lease_ms, &epoch, e));
    m->leased = true;
    return ST_OK;
}

enum st maildrop_renew(struct pop3_maildrop *m, unsigned lease_ms, struct err *e)
{
    uint64_t epoch;
    if (!m->leased)
        return ST_OK;
    return kv_lease_take(store_kv(m->store), str_of(m->lease), str_of(m->holder), lease_ms, &epoch, e);
}

static enum st load(struct pop3_maildrop *m, uint32_t room, struct err *e)
{
    struct message_entry entries[PAGE];
    uint32_t next = 1;
    while (next && m->count < room) {
        size_t want = room - m->count < PAGE ? room - m->count : PAGE, n = 0;
        TRY(message_page(m->account, m->mailbox, NULL, &next, (struct message_room){entries, want, &n}, e));
        for (size_t i = 0; i < n; i++) {
            m->messages[m->count++] = (struct pop3_message){entries[i].uid, entries[i].size, entries[i].email};
            m->bytes += entries[i].size;
        }
        if (n == 0)
            break;
    }
    return ST_OK;
}

static enum st fill(struct pop3_maildrop *m, account_id id, const struct pop3_maildrop_how *how, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(ARENA_BYTES);
    struct mailbox_info inbox;
    TRY(take_lease(m, id, how, e));
    TRY(account_open(m->store, id, &m->account, e));
    TRY(mailbox_find(m->account, STR("INBOX"), &arena, &inbox, e));
    m->mailbox = inbox.id;
    m->uidvalidity = inbox.uidvalidity;
    uint32_t room = inbox.exists < how->messages_max ? inbox.exists : how->messages_max;
    m->messages = calloc(room ? room : 1, sizeof *m->messages);
    m->deleted = calloc(room / 8 + 1, 1);
    if (!m->messages || !m->deleted)
        return ERR(e, ST_TEMP, "out of memory", "maildrop of %u messages", room);
    return load(m, room, e);
}

enum st maildrop_open(struct store *store, account_id id, const struct pop3_maildrop_how *how, struct pop3_maildrop **out,
                      struct err *e)
{
    struct pop3_maildrop *m = calloc(1, sizeof *m);
    if (!m)
        return ERR(e, ST_TEMP, "out of memory", "maildrop");
    m->store = store;
    enum st st = fill(m, id, how, e);
    if (st != ST_OK) {
        maildrop_free(m);
        return st;
    }
    *out = m;
    return ST_OK;
}

void maildrop_free(struct pop3_maildrop *m)
{
    if (!m)
        return;
    if (m->leased && kv_lease_drop(store_kv(m->store), str_of(m->lease), str_of(m->holder), NULL) != ST_OK)
        m->leased = false; /* it expires by itself */
    if (m->account)
        account_unref(m->account);
    free(m->messages);
    free(m->deleted);
    free(m->ahead);
    free(m);
}

void maildrop_delete(struct pop3_maildrop *m, uint32_t i)
{
    m->deleted[i / 8] |= (uint8_t)(1u << (i % 8));
    m->deleted_count++;
    m->deleted_bytes += m->messages[i].size;
}

void maildrop_undelete_all(struct pop3_maildrop *m)
{
    memset(m->deleted, 0, m->count / 8 + 1);
    m->deleted_count = 0;
    m->deleted_bytes = 0;
}

/* ---- reading ---- */

struct keep {
    struct pop3_maildrop *m;
    uint32_t at;
};

static bool keep_facts(void *context, const struct message_email *email, struct str digest)
{
    (void)digest;
    struct keep *k = context;
    struct maildrop_ahead *a = k->m->ahead;
    while (k->at < a->count && k->m->messages[a->first + k->at].email != email->id)
        k->at++;
    if (k->at == a->count)
        return false;
    a->facts[k->at] = *email;
    a->known[k->at] = true;
    return true;
}

/* Facts of message i; when messages are read one after the other, of the next ones too, by range. */
static void read_ahead(struct pop3_maildrop *m, uint32_t i)
{
    struct maildrop_ahead *a = m->ahead;
    struct err e = {0};
    uint64_t ids[AHEAD];
    uint32_t most = i == a->first + a->count ? AHEAD : 1;
    memset(a, 0, sizeof *a);
    a->first = i;
    for (; a->count < most && i + a->count < m->count; a->count++) {
        ids[a->count] = m->messages[i + a->count].email;
        if (a->count > 0 && ids[a->count] <= ids[a->count - 1])
            break; /* copied from elsewhere: ids are wanted in order */
    }
    struct keep k = {m, 0};
    if (message_emails(m->account, ids, a->count, keep_facts, &k, &e) != ST_OK)
        memset(a->known, 0, sizeof a->known); /* tried again, and told, in its turn */
}

enum st maildrop_read(struct pop3_maildrop *m, uint32_t i, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    struct message_email one;
    if (!m->ahead)
        m->ahead = calloc(1, sizeof *m->ahead);
    if (m->ahead && i - m->ahead->first >= m->ahead->count)
        read_ahead(m, i);
    if (m->ahead && m->ahead->known[i - m->ahead->first])
        return message_read_email(m->account, &m->ahead->facts[i - m->ahead->first], offset, length, out, e);
    TRY(message_email(m->account, m->messages[i].email, &one, e));
    return message_read_email(m->account, &one, offset, length, out, e);
}

/* ---- the update ---- */

static enum st expunge(struct pop3_maildrop *m, struct uidset *uids, struct uidset *expunged, struct err *e)
{
    uint64_t modseq;
    for (uint32_t i = 0; i < m->count; i++)
        if (maildrop_is_deleted(m, i) && uidset_add(uids, m->messages[i].uid) != ST_OK)
            return ERR(e, ST_TEMP, "out of memory", "set of UIDs");
    return message_expunge(m->account, m->mailbox, uids, false, expunged, &modseq, e);
}

enum st maildrop_update(struct pop3_maildrop *m, uint64_t *removed, struct err *e)
{
    struct uidset uids = UIDSET_EMPTY, expunged = UIDSET_EMPTY;
    *removed = 0;
    if (m->deleted_count == 0)
        return ST_OK;
    enum st st = expunge(m, &uids, &expunged, e);
    if (st == ST_OK)
        *removed = uidset_count(&expunged);
    uidset_release(&uids);
    uidset_release(&expunged);
    return st;
}
