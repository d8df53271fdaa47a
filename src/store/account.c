#include "store/account.h"
#include "rt/clock.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/change.h"
#include "store/name.h"
#include "store/store_internal.h"
#include "store/tx.h"

struct kv *account_kv(const struct account *a) { return a->store->kv; }
const struct store_config *account_config(const struct account *a) { return &a->store->config; }
account_id account_id_of(const struct account *a) { return a->id; }
void account_partition(account_id id, char name[20]) { snprintf(name, 20, "a-%016llx", (unsigned long long)id); }

enum st account_alive(struct account *a, struct err *e)
{
    pthread_mutex_lock(&a->lock);
    bool gone = a->state == ACCOUNT_GONE;
    pthread_mutex_unlock(&a->lock);
    return gone ? ERR(e, ST_NOTFOUND, "No such account", "account %s was removed", a->name) : ST_OK;
}

enum st account_ready(struct account *a, struct err *e)
{
    return a->stale ? change_run(a, NULL, NULL, e) : account_alive(a, e); /* the leader reloads */
}

uint64_t account_modseq(struct account *a)
{
    pthread_mutex_lock(&a->lock);
    uint64_t v = a->head.rec.modseq;
    pthread_mutex_unlock(&a->lock);
    return v;
}

/* ---- creating and removing ---- */

static const struct {
    const char *name;
    enum mailbox_role role;
} first_mailboxes[] = {
    {"INBOX", MAILBOX_ROLE_INBOX}, {"Sent", MAILBOX_ROLE_SENT}, {"Drafts", MAILBOX_ROLE_DRAFTS},
    {"Trash", MAILBOX_ROLE_TRASH}, {"Junk", MAILBOX_ROLE_JUNK}, {"Archive", MAILBOX_ROLE_ARCHIVE},
};

static enum st make_mailboxes(struct tx *tx, struct err *e)
{
    for (size_t i = 0; i < sizeof first_mailboxes / sizeof first_mailboxes[0]; i++) {
        struct tx_mailbox *m;
        TRY(tx_mailbox_new(tx, str_of(first_mailboxes[i].name), &m, e));
        m->r.role = first_mailboxes[i].role;
        m->r.subscribed = true;
    }
    return ST_OK;
}

static enum st create_partition(struct account *a, struct err *e)
{
    struct tx tx;
    a->head.rec = (struct record_account){
        .next_mailbox = 1, .next_email = 1, .bytes_max = UINT64_MAX, .messages_max = UINT64_MAX, .created_ms = clock_wall_ms()};
    TRY(tx_begin(&tx, a, e));
    enum st s = make_mailboxes(&tx, e);
    if (s == ST_OK)
        s = tx_commit(&tx, e);
    tx_end(&tx);
    return s;
}

/* The partition is there: a living account, or one whose removal was interrupted (then it goes on here). */
static enum st create_over(struct account *a, struct err *e)
{
    struct head head;
    enum st s = head_load(account_kv(a), a->partition, &head, e);
    bool dying = s == ST_OK && head.rec.state == RECORD_DYING;
    if (s == ST_OK)
        head_release(&head);
    TRY(s);
    if (!dying)
        return ERR_PUBLIC(e, ST_EXISTS, "The account exists already");
    TRY(kv_partition_drop(account_kv(a), a->partition, e));
    return create_partition(a, e);
}

enum st account_create(struct store *s, account_id id, struct err *e)
{
    ENSURE(id != 0, e, ST_PERM, "Bad account id");
    struct account *a = account_new(s, id);
    if (!a)
        return ERR(e, ST_TEMP, "Out of memory", "creating an account");
    enum st st = create_partition(a, e);
    if (st == ST_CONFLICT)
        st = create_over(a, e);
    a->head = (struct head){0};
    account_unref(a);
    return st;
}

static enum st apply_remove(struct tx *tx, void *context, struct err *e)
{
    (void)context, (void)e;
    tx->rec.state = RECORD_DYING;
    tx->dirty = true;
    return ST_OK;
}

/* First the tombstone, which makes the account invisible, then its records: see doc/formats/crash-states.md. */
enum st account_remove(struct store *s, account_id id, struct err *e)
{
    struct account *a;
    char name[20];
    account_partition(id, name);
    enum st st = account_open(s, id, &a, e);
    if (st == ST_OK) {
        st = change_run(a, apply_remove, NULL, e);
        if (st == ST_OK)
            account_forget(a);
        account_unref(a);
        TRY(st);
        return kv_partition_drop(s->kv, str_of(name), e);
    }
    if (st != ST_NOTFOUND)
        return st;
    uint64_t version;
    TRY(kv_version(s->kv, str_of(name), &version, e));
    return version > 0 ? kv_partition_drop(s->kv, str_of(name), e) : ST_NOTFOUND;
}

/* ---- quota ---- */

void account_quota(struct account *a, struct account_quota *out)
{
    pthread_mutex_lock(&a->lock);
    const struct record_account *r = &a->head.rec;
    *out = (struct account_quota){r->bytes_used, r->bytes_max, r->messages_used, r->messages_max};
    pthread_mutex_unlock(&a->lock);
}

static enum st apply_quota(struct tx *tx, void *context, struct err *e)
{
    const struct account_quota *q = context;
    (void)e;
    if (tx->rec.bytes_max == q->bytes_max && tx->rec.messages_max == q->messages_max)
        return ST_OK;
    tx->rec.bytes_max = q->bytes_max;
    tx->rec.messages_max = q->messages_max;
    tx->dirty = true;
    return ST_OK;
}

enum st account_quota_set(struct account *a, uint64_t bytes_max, uint64_t messages_max, struct err *e)
{
    struct account_quota q = {.bytes_max = bytes_max, .messages_max = messages_max};
    return change_run(a, apply_quota, &q, e);
}

/* ---- watching ---- */

void account_watch(struct account *a, struct account_watch *w)
{
    pthread_mutex_lock(&a->watch_lock);
    w->next = a->watches;
    w->prev = &a->watches;
    if (w->next)
        w->next->prev = &w->next;
    a->watches = w;
    pthread_mutex_unlock(&a->watch_lock);
}

void account_unwatch(struct account *a, struct account_watch *w)
{
    pthread_mutex_lock(&a->watch_lock);
    if (w->prev) {
        *w->prev = w->next;
        if (w->next)
            w->next->prev = w->prev;
        w->prev = NULL;
    }
    pthread_mutex_unlock(&a->watch_lock);
}

static bool concerns(const struct account_watch *w, const uint32_t *mailboxes, size_t count)
{
    if (w->mailbox == 0 || count == SIZE_MAX)
        return true;
    for (size_t i = 0; i < count; i++)
        if (mailboxes[i] == w->mailbox)
            return true;
    return false;
}

void account_notify(struct account *a, const uint32_t *mailboxes, size_t count, uint64_t modseq)
{
    pthread_mutex_lock(&a->watch_lock);
    for (struct account_watch *w = a->watches; w; w = w->next)
        if (concerns(w, mailboxes, count))
            w->changed(w, modseq);
    pthread_mutex_unlock(&a->watch_lock);
}
