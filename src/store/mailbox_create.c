/* Creating mailboxes, subscribing to them, giving them roles. */
#include "store/mailbox_tree.h"

enum st mailbox_tree_add(struct tx *tx, struct str name, struct tx_mailbox **out, struct err *e)
{
    size_t count = tx->a->head.count;
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        count += !m->base;
    ENSURE(count < account_config(tx->a)->mailboxes_max, e, ST_LIMIT, "There are too many mailboxes");
    TRY(tx_mailbox_new(tx, name, out, e));
    if (!tx_subscribed(tx, name))
        return ST_OK;
    (*out)->r.subscribed = true;
    return tx_subscribe(tx, name, false, e);
}

enum st mailbox_tree_add_parents(struct tx *tx, struct str name, struct err *e)
{
    for (size_t i = 1; i < name.n; i++) {
        struct tx_mailbox *m;
        struct str parent = str_upto(name, i);
        if (name.p[i] == '/' && !tx_mailbox_named(tx, parent))
            TRY(mailbox_tree_add(tx, parent, &m, e));
    }
    return ST_OK;
}

static bool role_taken(struct tx *tx, enum mailbox_role role, uint32_t except)
{
    for (struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        if (m->id != except && m->r.role == role && m->r.state == RECORD_LIVE)
            return true;
    for (size_t i = 0; i < tx->a->head.count; i++) {
        const struct mbox *m = tx->a->head.by_id[i];
        if (!m->tx && m->id != except && m->r.role == role)
            return true;
    }
    return false;
}

struct create_change {
    struct name name;
    enum mailbox_role role;
    uint32_t id;
};

static enum st apply_create(struct tx *tx, void *context, struct err *e)
{
    struct create_change *c = context;
    struct str name = name_str(&c->name);
    struct tx_mailbox *m = tx_mailbox_named(tx, name);
    ENSURE(!m || !m->r.selectable, e, ST_EXISTS, "The mailbox exists already");
    ENSURE(c->role == MAILBOX_ROLE_NONE || !role_taken(tx, c->role, 0), e, ST_EXISTS, "Another mailbox has this special use");
    if (m) { /* a level of hierarchy becomes a mailbox */
        TRY(tx_mailbox(tx, m->id, &m, e));
        m->r.selectable = true;
        tx_mailbox_changed(tx, m, JOURNAL_CHANGED);
    } else {
        TRY(mailbox_tree_add_parents(tx, name, e));
        TRY(mailbox_tree_add(tx, name, &m, e));
    }
    if (c->role != MAILBOX_ROLE_NONE)
        m->r.role = c->role;
    c->id = m->id;
    return ST_OK;
}

static bool role_ok(enum mailbox_role role)
{
    return role >= MAILBOX_ROLE_NONE && role <= MAILBOX_ROLE_IMPORTANT && (role & (role - 1)) == 0 && role != MAILBOX_ROLE_INBOX;
}

enum st mailbox_create(struct account *a, struct str name, enum mailbox_role role, uint32_t *id, struct err *e)
{
    struct create_change c = {.role = role};
    TRY(name_parse(name, &c.name, e));
    ENSURE(role_ok(role), e, ST_PERM, "A mailbox has one special use, and not that of INBOX");
    TRY(change_run(a, apply_create, &c, e));
    *id = c.id;
    return ST_OK;
}

struct subscribe_change {
    struct name name;
    bool subscribed;
};

static enum st apply_subscribe(struct tx *tx, void *context, struct err *e)
{
    const struct subscribe_change *c = context;
    struct str name = name_str(&c->name);
    struct tx_mailbox *m = tx_mailbox_named(tx, name);
    if (!m) {
        ENSURE(!c->subscribed || tx->a->head.subs_count < account_config(tx->a)->mailboxes_max, e, ST_LIMIT,
               "There are too many subscriptions");
        return tx_subscribe(tx, name, c->subscribed, e);
    }
    if (m->r.subscribed == c->subscribed)
        return ST_OK;
    TRY(tx_mailbox(tx, m->id, &m, e));
    m->r.subscribed = c->subscribed;
    tx_mailbox_changed(tx, m, JOURNAL_CHANGED);
    return ST_OK;
}

enum st mailbox_subscribe(struct account *a, struct str name, bool subscribed, struct err *e)
{
    struct subscribe_change c = {.subscribed = subscribed};
    TRY(name_parse(name, &c.name, e));
    return change_run(a, apply_subscribe, &c, e);
}

struct role_change {
    uint32_t id;
    enum mailbox_role role;
};

/* A role has one mailbox: it is taken from the one that had it. */
static enum st take_role(struct tx *tx, enum mailbox_role role, uint32_t except, struct err *e)
{
    uint32_t had = 0;
    for (size_t i = 0; i < tx->a->head.count; i++) {
        const struct mbox *m = tx->a->head.by_id[i];
        if (!m->tx && m->r.role == role)
            had = m->id;
    }
    for (const struct tx_mailbox *m = tx->mailboxes; m; m = m->next)
        if (m->r.state == RECORD_LIVE && m->r.role == role)
            had = m->id;
    if (had == 0 || had == except)
        return ST_OK;
    struct tx_mailbox *m;
    TRY(tx_mailbox(tx, had, &m, e));
    m->r.role = MAILBOX_ROLE_NONE;
    tx_mailbox_changed(tx, m, JOURNAL_CHANGED);
    return ST_OK;
}

static enum st apply_role(struct tx *tx, void *context, struct err *e)
{
    const struct role_change *c = context;
    struct tx_mailbox *m;
    TRY(tx_mailbox(tx, c->id, &m, e));
    ENSURE(m->r.role != MAILBOX_ROLE_INBOX, e, ST_DENIED, "INBOX keeps its use");
    if (m->r.role == c->role)
        return ST_OK;
    if (c->role != MAILBOX_ROLE_NONE)
        TRY(take_role(tx, c->role, c->id, e));
    m->r.role = c->role;
    tx_mailbox_changed(tx, m, JOURNAL_CHANGED);
    return ST_OK;
}

enum st mailbox_set_role(struct account *a, uint32_t id, enum mailbox_role role, struct err *e)
{
    ENSURE(role_ok(role), e, ST_PERM, "A mailbox has one special use, and not that of INBOX");
    return change_run(a, apply_role, &(struct role_change){id, role}, e);
}
