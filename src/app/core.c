#include "app/core.h"

#include <stdlib.h>

#include "auth/login.h"
#include "dns/resolver.h"
#include "kv/engine.h"
#include "queue/queue.h"
#include "rt/log.h"
#include "serve/smtp/rates.h"
#include "serve/smtp/relay_client.h"
#include "store/store.h"

struct core {
    struct services services;
    struct kv *kv;
    struct relay_clients *relay_clients;
    const struct settings *settings; /* those of the start, for what is borrowed from them */
    char spool_dir[CONFIG_PATH_MAX];
    bool started;
};

static enum st open_engine(struct core *c, const struct config *config, struct err *e)
{
    TRY(config_make_dir(config->data_dir, 0700, e));
    TRY(config_make_dir(config->spool_dir, 0700, e));
    struct kv_config kv = {.engine = c->settings->global_engine,
                           .path = config->store_dir,
                           .cache_bytes = (uint64_t)c->settings->global_cache,
                           .blob_cache_bytes = (uint64_t)c->settings->global_message_cache};
    return kv_open(&kv, &c->kv, e);
}

static enum st open_store(struct core *c, struct err *e)
{
    struct store_config s;
    store_config_defaults(&s);
    s.accounts_cached = (size_t)c->settings->store_accounts_cached;
    s.journal_max_changes = (size_t)c->settings->store_journal_changes;
    s.mailboxes_max = (unsigned)c->settings->store_mailboxes_max;
    s.blob_grace_s = (unsigned)(c->settings->store_blob_grace_ms / 1000);
    s.message_max_bytes = (uint64_t)c->settings->message_size_max;
    TRY(store_open(c->kv, &s, &c->services.store, e));
    TRY(directory_open(c->kv, &c->services.directory, e));
    return auth_open(c->services.directory, &c->services.auth, e);
}

static enum st open_queue(struct core *c, const struct core_options *options, struct err *e)
{
    if (options->mode == CORE_SERVE && !options->demo)
        TRY(resolver_configured(&c->services.resolver, e));
    struct queue_config q = {.store = c->services.store,
                             .directory = c->services.directory,
                             .resolver = c->services.resolver,
                             .hostname = c->services.hostname,
                             .relay = options->relay,
                             .spool_dir = c->services.spool_dir};
    return queue_open(&q, &c->services.queue, e);
}

static enum st open_smtp(struct core *c, struct err *e)
{
    if (c->settings->submission_relay_clients[0])
        TRY(relay_clients_load(c->settings->submission_relay_clients, &c->relay_clients, e));
    c->services.relay_clients = c->relay_clients;
    c->services.smtp_rates = smtp_rates_new();
    ENSURE(c->services.smtp_rates, e, ST_TEMP, "out of memory");
    return ST_OK;
}

enum st core_open(const struct config *config, const struct core_options *options, struct core **out, struct err *e)
{
    struct core *c = calloc(1, sizeof *c);
    ENSURE(c, e, ST_TEMP, "out of memory");
    c->settings = settings_current();
    memcpy(c->spool_dir, config->spool_dir, sizeof c->spool_dir);
    c->services.hostname = c->settings->global_hostname;
    c->services.spool_dir = c->spool_dir;
    c->services.demo = options->demo;
    enum st st = open_engine(c, config, e);
    if (st == ST_OK)
        st = open_store(c, e);
    if (st == ST_OK)
        st = open_queue(c, options, e);
    if (st == ST_OK && options->mode == CORE_SERVE)
        st = open_smtp(c, e);
    if (st != ST_OK) {
        core_close(c);
        return st;
    }
    *out = c;
    return ST_OK;
}

void core_close(struct core *c)
{
    if (!c)
        return;
    struct services *s = &c->services;
    queue_close(s->queue);
    resolver_close(s->resolver);
    smtp_rates_free(s->smtp_rates);
    relay_clients_free(c->relay_clients);
    auth_close(s->auth);
    directory_close(s->directory);
    if (s->store)
        store_close(s->store);
    kv_close(c->kv);
    settings_unref(c->settings);
    free(c);
}

enum st core_start(struct core *c, struct err *e)
{
    TRY(queue_start(c->services.queue, e));
    c->started = true;
    return ST_OK;
}

void core_stop(struct core *c, unsigned wait_ms)
{
    if (c->started)
        queue_stop(c->services.queue, wait_ms);
    c->started = false;
}

const struct services *core_services(const struct core *c) { return &c->services; }

void core_care(struct core *c)
{
    struct err e = {0};
    if (store_care(c->services.store, &e) != ST_OK)
        log_event(LOG_WARN, "store.care_failed", LOG_ERR(&e));
}
