#include "serve/testing/world.h"

#include "auth/credential.h"
#include "auth/login.h"
#include "queue/queue.h"
#include "rt/settings.h"
#include "serve/smtp/rates.h"
#include "serve/smtp/relay_client.h"
#include "store/message.h"

enum { ARENA_MAX = 1 << 20, MESSAGE_MAX = 256 << 20 };

static enum st open_all(struct world *w, struct err *e)
{
    struct kv_config kv = {.engine = "memory", .path = ""};
    struct store_config config;
    struct kv *inner;
    TRY(kv_open(&kv, &inner, e));
    TRY(kv_fault_new(&inner, false, &w->kv, e));
    store_config_defaults(&config);
    TRY(store_open(w->kv, &config, &w->store, e));
    TRY(directory_open(w->kv, &w->directory, e));
    TRY(auth_open(w->directory, &w->auth, e));
    struct queue_config queue = {.store = w->store, .directory = w->directory, .hostname = "mail.abcd.com"};
    TRY(queue_open(&queue, &w->queue, e));
    w->rates = smtp_rates_new();
    w->services = (struct services){.store = w->store,
                                    .directory = w->directory,
                                    .auth = w->auth,
                                    .queue = w->queue,
                                    .smtp_rates = w->rates,
                                    .hostname = "mail.abcd.com",
                                    .spool_dir = "/tmp"};
    w->context = (struct serve_context){.services = &w->services, .profile = SERVE_SMTP, .tls_available = true};
    TRY(world_domain(w, STR("abcd.com"), STR(""), e));
    TRY(world_domain(w, STR("xyz.com"), STR(""), e));
    TRY(world_account(w, STR("elinor@abcd.com"), e));
    return world_account(w, STR("carolyn@xyz.com"), e);
}

enum st world_credential(struct buf *out, struct err *e) { return credential_make(STR(WORLD_PASSWORD), out, e); }

enum st world_open(struct world *w, struct str credential, struct err *e)
{
    *w = (struct world){.credential = credential};
    enum st st = open_all(w, e);
    if (st != ST_OK)
        world_close(w);
    return st;
}

void world_close(struct world *w)
{
    queue_close(w->queue);
    if (w->auth)
        auth_close(w->auth);
    if (w->directory)
        directory_close(w->directory);
    if (w->store)
        store_close(w->store);
    if (w->kv)
        kv_close(w->kv);
    relay_clients_free(w->relay_clients);
    smtp_rates_free(w->rates);
    *w = (struct world){0};
}

/* ---- changing ---- */

enum st world_domain(struct world *w, struct str name, struct str catch_all, struct err *e)
{
    struct directory_domain d = {.name = name, .catch_all = catch_all, .is_default = str_eq(name, STR("abcd.com"))};
    return directory_domain_put(w->directory, &d, e);
}

enum st world_account(struct world *w, struct str address, struct err *e)
{
    account_id id;
    struct directory_account a = {.address = address,
                                  .name = str_upto(address, str_find_char(address, '@')),
                                  .state = DIRECTORY_ACTIVE,
                                  .quota_bytes = UINT64_MAX,
                                  .quota_messages = UINT64_MAX};
    a.password = w->credential;
    return directory_account_add(w->directory, w->store, &a, &id, e);
}

enum st world_alias(struct world *w, struct str address, struct str targets, struct err *e)
{
    DEFER(buf_release) struct buf lines = BUF_INIT(64 << 10);
    buf_add(&lines, targets);
    for (size_t i = 0; i < lines.n; i++)
        if (lines.p[i] == ',')
            lines.p[i] = '\n';
    struct directory_alias alias = {.address = address, .targets = buf_str(&lines)};
    return directory_alias_put(w->directory, &alias, e);
}

enum st world_state(struct world *w, struct str address, enum directory_state state, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(ARENA_MAX);
    struct directory_account a;
    TRY(directory_account_find(w->directory, address, &arena, &a, e));
    a.state = state;
    return directory_account_update(w->directory, &a, e);
}

static enum st open_account(struct world *w, struct str address, struct account **out, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(ARENA_MAX);
    struct directory_account a;
    TRY(directory_account_find(w->directory, address, &arena, &a, e));
    return account_open(w->store, a.id, out, e);
}

enum st world_quota(struct world *w, struct str address, uint64_t bytes, uint64_t messages, struct err *e)
{
    struct account *a;
    TRY(open_account(w, address, &a, e));
    enum st st = account_quota_set(a, bytes, messages, e);
    account_unref(a);
    return st;
}

enum st world_relay(struct world *w, struct str rules, struct err *e)
{
    relay_clients_free(w->relay_clients);
    w->relay_clients = NULL;
    w->services.relay_clients = NULL;
    TRY(relay_clients_parse(rules, &w->relay_clients, e));
    w->services.relay_clients = w->relay_clients;
    return ST_OK;
}

static enum st inbox_of(struct account *a, struct mailbox_info *out, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(ARENA_MAX);
    return mailbox_find(a, STR("INBOX"), &arena, out, e); /* only numbers of it are used */
}

enum st world_deliver(struct world *w, struct str address, struct str bytes, struct err *e)
{
    struct account *a;
    struct mailbox_info inbox;
    struct message_append append = {.bytes = bytes};
    TRY(open_account(w, address, &a, e));
    enum st st = inbox_of(a, &inbox, e);
    if (st == ST_OK)
        st = message_append(a, inbox.id, &append, 1, e);
    account_unref(a);
    return st;
}

/* ---- looking ---- */

enum st world_inbox_count(struct world *w, struct str address, uint32_t *count, struct err *e)
{
    struct account *a;
    struct mailbox_info inbox = {0};
    TRY(open_account(w, address, &a, e));
    enum st st = inbox_of(a, &inbox, e);
    account_unref(a);
    *count = inbox.exists;
    return st;
}

static enum st read_nth(struct account *a, uint32_t n, struct buf *out, struct err *e)
{
    struct mailbox_info inbox;
    struct message_entry entry = {0};
    uint32_t next = 1;
    size_t count = 0;
    TRY(inbox_of(a, &inbox, e));
    while (n-- > 0) {
        TRY(message_page(a, inbox.id, NULL, &next, (struct message_room){&entry, 1, &count}, e));
        ENSURE(count == 1, e, ST_NOTFOUND, "no such message");
    }
    return message_read(a, entry.email, 0, entry.size, out, e);
}

enum st world_inbox_read(struct world *w, struct str address, uint32_t n, struct buf *out, struct err *e)
{
    struct account *a;
    TRY(open_account(w, address, &a, e));
    enum st st = read_nth(a, n, out, e);
    account_unref(a);
    return st;
}

static bool count_entry(void *context, const struct queue_info *info)
{
    (void)info;
    ++*(size_t *)context;
    return true;
}

enum st world_queued(struct world *w, size_t *entries, struct err *e)
{
    *entries = 0;
    return queue_list(w->queue, NULL, count_entry, entries, e);
}
