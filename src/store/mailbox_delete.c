/* Deleting and renaming. A deleted mailbox becomes a tombstone in one small commit, whatever its size; store_care removes its
 * records later (doc/formats/crash-states.md). */
#include "store/batch.h"
#include "store/mailbox_tree.h"

static enum st no_mailbox(struct err *e) { return ERR_PUBLIC(e, ST_NOTFOUND, "No such mailbox"); }

enum st mailbox_tree_below(struct tx *tx, struct str name, uint32_t **ids, size_t *count, struct err *e)
{
    const struct head *h = &tx->a->head;
    size_t first = head_name_at(h, name, NULL), end = first, fresh = 0;
    while (end < h->count && (str_eq(h->by_name[end]->r.name, name) || name_below(h->by_name[end]->r.name, name)))
        end++;
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        fresh++;
    *count = 0;
    *ids = ARENA_ARRAY(&tx->arena, end - first + fresh + 1, uint32_t);
    if (!*ids)
        return ERR(e, ST_TEMP, "Out of memory", "listing children");
    for (size_t i = first; i < end; i++)
        if (!h->by_name[i]->tx && !str_eq(h->by_name[i]->r.name, name))
            (*ids)[(*count)++] = h->by_name[i]->id;
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        if (m->r.state == RECORD_LIVE && name_below(m->r.name, name))
            (*ids)[(*count)++] = m->id;
    return ST_OK;
}

static enum st bury(struct tx *tx, struct tx_mailbox *m, struct err *e)
{
    TRY(tx_mailbox(tx, m->id, &m, e)); /* saved for the case that the change fails */
    m->r.state = RECORD_DYING;
    m->r.role = MAILBOX_ROLE_NONE;
    tx->rec.messages_used -= m->r.exists < tx->rec.messages_used ? m->r.exists : tx->rec.messages_used;
    tx->rec.bytes_used -= m->r.size_bytes < tx->rec.bytes_used ? m->r.size_bytes : tx->rec.bytes_used;
    tx->rec.care = true;
    tx_mailbox_changed(tx, m, JOURNAL_REMOVED);
    return ST_OK;
}

enum st mailbox_tree_prune(struct tx *tx, struct str name, struct err *e)
{
    for (struct str parent = name_parent(name); parent.n > 0; parent = name_parent(parent)) {
        struct tx_mailbox *m = tx_mailbox_named(tx, parent);
        uint32_t *ids;
        size_t count;
        if (!m || m->r.selectable)
            return ST_OK;
        TRY(mailbox_tree_below(tx, parent, &ids, &count, e));
        if (count > 0)
            return ST_OK;
        TRY(bury(tx, m, e));
    }
    return ST_OK;
}

static enum st apply_delete(struct tx *tx, void *context, struct err *e)
{
    struct str name = name_str(context);
    struct tx_mailbox *m = tx_mailbox_named(tx, name), *level;
    uint32_t *ids;
    size_t children;
    if (!m)
        return no_mailbox(e);
    TRY(mailbox_tree_below(tx, name, &ids, &children, e));
    /* RFC 9051 6.3.5: an error for a \NoSelect name with inferiors */
    ENSURE(m->r.selectable || children == 0, e, ST_DENIED, "The mailbox has mailboxes below it");
    bool subscribed = m->r.subscribed;
    TRY(bury(tx, m, e));
    if (children > 0) {
        TRY(tx_mailbox_new(tx, name, &level, e));
        level->r.selectable = false;
        level->r.subscribed = subscribed;
        return ST_OK;
    }
    if (subscribed) /* RFC 9051 6.3.9: it is not unsubscribed because it does not exist any more */
        TRY(tx_subscribe(tx, name, true, e));
    return mailbox_tree_prune(tx, name, e);
}

enum st mailbox_delete(struct account *a, struct str name, struct err *e)
{
    struct name canonical;
    if (!name_canonical(name, &canonical))
        return no_mailbox(e);
    ENSURE(!name_is_inbox(name_str(&canonical)), e, ST_DENIED, "INBOX cannot be deleted");
    return change_run(a, apply_delete, &canonical, e);
}

/* ---- renaming ---- */

struct rename_change {
    struct name from, to;
    uint32_t from_id, to_id; /* out, of INBOX */
    struct copy_step first;  /* INBOX: the messages moved with the new mailbox's creation */
};

static enum st rename_one(struct tx *tx, uint32_t id, size_t cut, struct str to, struct err *e)
{
    struct tx_mailbox *m;
    TRY(tx_mailbox(tx, id, &m, e));
    struct str rest = str_from(m->r.name, cut);
    ENSURE(to.n + rest.n <= MAILBOX_NAME_MAX, e, ST_PERM, "The name of a mailbox below would be too long");
    int depth = 1;
    struct str name = arena_printf(&tx->arena, "%.*s%.*s", STR_FMT(to), STR_FMT(rest));
    if (!name.p)
        return ERR(e, ST_TEMP, "Out of memory", "renaming");
    for (size_t i = 0; i < name.n; i++)
        depth += name.p[i] == '/';
    ENSURE(depth <= MAILBOX_DEPTH_MAX, e, ST_PERM, "A mailbox below would have too many levels");
    m->r.name = name;
    m->renamed = true;
    tx_mailbox_changed(tx, m, JOURNAL_CHANGED);
    if (!tx_subscribed(tx, name))
        return ST_OK;
    m->r.subscribed = true;
    return tx_subscribe(tx, name, false, e);
}

static enum st apply_rename(struct tx *tx, void *context, struct err *e)
{
    struct rename_change *c = context;
    struct str from = name_str(&c->from), to = name_str(&c->to);
    struct tx_mailbox *m = tx_mailbox_named(tx, from);
    if (!m)
        return no_mailbox(e);
    ENSURE(!tx_mailbox_named(tx, to), e, ST_EXISTS, "A mailbox of the new name exists already");
    ENSURE(!name_below(to, from), e, ST_PERM, "A mailbox cannot be moved below itself");
    uint32_t *ids, id = m->id;
    size_t count;
    TRY(mailbox_tree_below(tx, from, &ids, &count, e));
    TRY(mailbox_tree_add_parents(tx, to, e));
    TRY(rename_one(tx, id, from.n, to, e));
    for (size_t i = 0; i < count; i++)
        TRY(rename_one(tx, ids[i], from.n, to, e));
    return mailbox_tree_prune(tx, from, e);
}

/* RFC 9051 6.3.6: INBOX stays, its messages go into a new mailbox; what is below it stays too. */
static enum st apply_rename_inbox(struct tx *tx, void *context, struct err *e)
{
    struct rename_change *c = context;
    struct str to = name_str(&c->to);
    struct tx_mailbox *inbox = tx_mailbox_named(tx, STR("INBOX")), *m;
    if (!inbox)
        return no_mailbox(e);
    ENSURE(!tx_mailbox_named(tx, to), e, ST_EXISTS, "A mailbox of the new name exists already");
    c->from_id = inbox->id;
    TRY(mailbox_tree_add_parents(tx, to, e));
    TRY(mailbox_tree_add(tx, to, &m, e));
    c->to_id = m->id;
    c->first.from = c->from_id;
    c->first.to = c->to_id;
    return message_copy_step(tx, &c->first, e);
}

static enum st rename_inbox(struct account *a, struct rename_change *c, struct err *e)
{
    c->first.move = true;
    enum st s = change_run(a, apply_rename_inbox, c, e);
    uidset_release(&c->first.from_uids);
    uidset_release(&c->first.to_uids);
    if (s != ST_OK || c->first.next == 0)
        return s;
    DEFER(uidset_release) struct uidset rest = UIDSET_EMPTY;
    if (uidset_add_range(&rest, c->first.next, c->first.below - 1) != ST_OK)
        return ERR(e, ST_TEMP, "Out of memory", "renaming INBOX");
    struct message_copy copy = {.move = true};
    s = message_copy(a, c->from_id, c->to_id, &rest, &copy, e);
    uidset_release(&copy.from_uids);
    uidset_release(&copy.to_uids);
    return s;
}

enum st mailbox_rename(struct account *a, struct str from, struct str to, struct err *e)
{
    struct rename_change c = {0};
    if (!name_canonical(from, &c.from))
        return no_mailbox(e);
    TRY(name_parse(to, &c.to, e));
    if (name_is_inbox(name_str(&c.from)))
        return rename_inbox(a, &c, e);
    return change_run(a, apply_rename, &c, e);
}
