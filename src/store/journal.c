#include "store/journal.h"

#include "base/rd.h"
#include "store/record.h"

void journal_encode_begin(struct buf *out, uint64_t token, const struct record_account *account, size_t mailboxes)
{
    char room[128];
    struct buf a = {room, 0, sizeof room, sizeof room, false}; /* two bytes and eleven varints */
    record_account_encode(account, &a);
    buf_add_c(out, RECORD_VERSION);
    buf_add_le64(out, token);
    buf_add_varint(out, a.n);
    buf_add(out, buf_str(&a));
    buf_add_varint(out, mailboxes);
}

void journal_encode_mailbox(struct buf *out, const struct journal_mailbox *m)
{
    buf_add_varint(out, m->id);
    buf_add_c(out, (char)m->events);
    record_set_encode(&m->added, out);
    record_set_encode(&m->flagged, out);
    record_set_encode(&m->vanished, out);
}

void journal_encode_end(struct buf *out, const struct journal_emails *emails)
{
    record_set_encode(&emails->created, out);
    record_set_encode(&emails->updated, out);
    record_set_encode(&emails->destroyed, out);
}

struct raw_mailbox {
    uint32_t id;
    unsigned events;
    struct str added, flagged, vanished;
};

/* Reads the head; returns the number of mailboxes that follow. */
static uint64_t take_head(struct rd *r, uint64_t *token, struct str *account)
{
    if (rd_u8(r) != RECORD_VERSION)
        rd_fail(r);
    *token = rd_le64(r);
    *account = rd_varstr(r);
    return rd_varint(r);
}

static struct raw_mailbox take_mailbox(struct rd *r)
{
    struct raw_mailbox m;
    uint64_t id = rd_varint(r);
    m.id = (uint32_t)id;
    m.events = rd_u8(r);
    m.added = rd_varstr(r);
    m.flagged = rd_varstr(r);
    m.vanished = rd_varstr(r);
    if (id == 0 || id > UINT32_MAX || m.events > JOURNAL_EVENTS)
        rd_fail(r);
    return m;
}

enum st journal_token(struct str bytes, uint64_t *token, struct err *e)
{
    struct rd r = rd_of(bytes);
    struct str account;
    (void)take_head(&r, token, &account);
    return rd_ok(&r) ? ST_OK : record_corrupt("journal head", e);
}

enum st journal_account(struct str bytes, struct record_account *out, struct err *e)
{
    struct rd r = rd_of(bytes);
    struct str account;
    uint64_t token;
    (void)take_head(&r, &token, &account);
    return rd_ok(&r) ? record_account_decode(account, out, e) : record_corrupt("journal head", e);
}

enum st journal_mailbox_decode(struct str bytes, uint32_t mailbox, struct journal_mailbox *into, struct err *e)
{
    struct rd r = rd_of(bytes);
    struct str account;
    uint64_t token, count = take_head(&r, &token, &account);
    into->id = mailbox;
    into->events = 0;
    for (uint64_t i = 0; i < count && rd_ok(&r); i++) {
        struct raw_mailbox m = take_mailbox(&r);
        if (!rd_ok(&r) || m.id != mailbox)
            continue;
        into->events = m.events;
        TRY(record_set_decode(m.added, 1, UINT32_MAX, &into->added, e));
        TRY(record_set_decode(m.flagged, 1, UINT32_MAX, &into->flagged, e));
        return record_set_decode(m.vanished, 1, UINT32_MAX, &into->vanished, e);
    }
    return rd_ok(&r) ? ST_OK : record_corrupt("journal mailbox", e);
}

enum st journal_mailboxes(struct str bytes, journal_visit *visit, void *context, struct err *e)
{
    struct rd r = rd_of(bytes);
    struct str account;
    uint64_t token, count = take_head(&r, &token, &account);
    for (uint64_t i = 0; i < count && rd_ok(&r); i++) {
        struct raw_mailbox m = take_mailbox(&r);
        if (rd_ok(&r) && !visit(context, m.id, m.events))
            return ST_OK;
    }
    return rd_ok(&r) ? ST_OK : record_corrupt("journal mailboxes", e);
}

enum st journal_emails_decode(struct str bytes, struct journal_emails *into, struct err *e)
{
    struct rd r = rd_of(bytes);
    struct str account;
    uint64_t token, count = take_head(&r, &token, &account);
    for (uint64_t i = 0; i < count && rd_ok(&r); i++)
        (void)take_mailbox(&r);
    struct str created = rd_varstr(&r), updated = rd_varstr(&r), destroyed = rd_varstr(&r);
    if (!rd_ok(&r) || !rd_end(&r))
        return record_corrupt("journal e-mails", e);
    TRY(record_set_decode(created, 1, UINT32_MAX, &into->created, e));
    TRY(record_set_decode(updated, 1, UINT32_MAX, &into->updated, e));
    return record_set_decode(destroyed, 1, UINT32_MAX, &into->destroyed, e);
}

void journal_emails_release(struct journal_emails *m)
{
    uidset_release(&m->created);
    uidset_release(&m->updated);
    uidset_release(&m->destroyed);
}
