/* server.*, store.*: the running server, backup, fsck, and handing a connection over to IMAP. */
#include <stdlib.h>
#include <unistd.h>

#include "app/admin.h"
#include "auth/directory.h"
#include "kv/engine.h"
#include "queue/queue.h"
#include "serve/imap/imap.h"

static enum st server_status(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome, (void)e;
    const struct services *sv = c->context->services;
    struct kv_stats kv;
    kv_stats(store_kv(sv->store), &kv);
    json_t *j = json_pack("{s:s, s:s, s:s, s:b}", "version", POSTRIDER_VERSION, "hostname", sv->hostname, "directory",
                          c->context->data_dir, "running", c->context->host != NULL);
    json_object_set_new(j, "pid", json_integer(c->context->host ? getpid() : 0));
    json_object_set_new(j, "engine",
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "gets", (json_int_t)kv.gets, "scans", (json_int_t)kv.scans,
                                  "commits", (json_int_t)kv.commits, "conflicts", (json_int_t)kv.conflicts, "failures",
                                  (json_int_t)kv.failures, "bytes_written", (json_int_t)kv.bytes_written, "blobs_written",
                                  (json_int_t)kv.blobs_written));
    if (sv->queue) {
        struct queue_stats q;
        queue_stats(sv->queue, &q);
        json_object_set_new(j, "queue",
                            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "entries", (json_int_t)q.entries, "active",
                                      (json_int_t)q.active, "accepted", (json_int_t)q.accepted, "delivered",
                                      (json_int_t)q.delivered, "deferred", (json_int_t)q.deferred, "failed", (json_int_t)q.failed));
    }
    if (c->context->host)
        c->context->host->status(c->context->host->context, j);
    admin_done(c, j);
    return ST_OK;
}

static enum st server_reload(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    ENSURE(c->context->host, e, ST_NOTFOUND, "no server runs here");
    TRY(c->context->host->reload(c->context->host->context, e));
    admin_done(c, NULL);
    return ST_OK;
}

static enum st server_stop(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    ENSURE(c->context->host, e, ST_NOTFOUND, "no server runs here");
    admin_done(c, NULL);
    c->context->host->stop(c->context->host->context);
    return ST_OK;
}

/* The engine's consistent copy goes below the data directory, since the server may write nowhere else; the command moves it. */
static enum st store_backup(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct str name;
    TRY(admin_text(c, "name", true, &name, e));
    for (size_t i = 0; i < name.n; i++)
        ENSURE(ascii_alpha(name.p[i]) || ascii_digit(name.p[i]) || name.p[i] == '-', e, ST_PERM, "the name is malformed");
    struct str path = arena_printf(&c->arena, "%s/%.*s", c->context->data_dir, STR_FMT(name));
    ENSURE(path.p, e, ST_TEMP, "out of memory");
    TRY(kv_backup(store_kv(c->context->services->store), path.p, e));
    admin_done(c, json_pack("{s:o}", "path", admin_json(path)));
    return ST_OK;
}

static void note_finding(void *context, const char *what) { admin_note(context, what); }

static enum st store_fsck_request(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct fsck_result r = {0};
    TRY(store_fsck(c->context->services->store, admin_flag(c, "repair"), admin_flag(c, "blobs"), note_finding, c, &r, e));
    admin_done(c, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "accounts", (json_int_t)r.accounts, "mailboxes",
                            (json_int_t)r.mailboxes, "messages", (json_int_t)r.messages, "blobs", (json_int_t)r.blobs, "findings",
                            (json_int_t)r.findings, "repaired", (json_int_t)r.repaired));
    return ST_OK;
}

/* The connection becomes an IMAP session that is logged in already. */
static enum st become_imap(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct str user;
    struct directory_account a;
    struct identity who = {0};
    TRY(admin_text(c, "user", true, &user, e));
    enum st st = directory_account_login(c->context->services->directory, user, &c->arena, &a, e);
    ENSURE(st != ST_NOTFOUND, e, ST_NOTFOUND, "no account %.*s", STR_FMT(user));
    TRY(st);
    ENSURE(a.state == DIRECTORY_ACTIVE && a.address.n < sizeof who.address, e, ST_DENIED, "the account is not active");
    who.account = a.id;
    memcpy(who.address, a.address.p, a.address.n);
    c->become = imap_session_make_preauth((void *)(uintptr_t)c->context->imap, c->peer, &who);
    ENSURE(c->become, e, ST_TEMP, "out of memory");
    admin_done(c, NULL);
    return ST_OK;
}

const struct admin_request admin_servers[] = {{"server.status", server_status},
                                              {"server.reload", server_reload},
                                              {"server.stop", server_stop},
                                              {"imap", become_imap},
                                              {"store.backup", store_backup},
                                              {"store.fsck", store_fsck_request},
                                              {0}};
