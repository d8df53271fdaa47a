/* SMTP and LMTP to other hosts: finding one that talks, TLS, login; then the transactions of smtp_client. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/connect.h"
#include "queue/lines.h"
#include "queue/queue_internal.h"
#include "queue/route.h"
#include "queue/smtp_auth.h"
#include "queue/smtp_client.h"
#include "queue/transport.h"
#include "rt/log.h"
#include "rt/settings.h"

enum { ROUTE_ARENA_MAX = 1 << 20, PASSWORD_MAX = 1024, TARGET_NAME_MAX = 320 };

enum tls_want { TLS_OFF, TLS_MAY, TLS_MUST, TLS_FROM_START };

struct smtp_link {
    struct transport base;
    struct queue *q;
    struct stream *stream;
    struct line line;
    struct smtp_client client;
    struct tls_client *tls; /* borrowed: the queue's */
    struct smtp_client_times times;
    unsigned connect_ms;
    char host[256];               /* of the target, for TLS and reports */
    char target[TARGET_NAME_MAX]; /* "address:port" for hosts.h */
    bool verify;
    bool worked; /* took at least one command of a transaction well */
};

/* ---- the wire ---- */

static enum st wire_write(void *context, struct str bytes, unsigned timeout_ms, struct err *e)
{
    struct smtp_link *l = context;
    return stream_write(l->stream, bytes, timeout_ms, e);
}

static enum st wire_read_line(void *context, size_t max, unsigned timeout_ms, struct str *line, struct err *e)
{
    struct smtp_link *l = context;
    return stream_read_line(l->stream, max, timeout_ms, line, e);
}

static enum st wire_start_tls(void *context, struct err *e)
{
    struct smtp_link *l = context;
    return stream_start_tls(l->stream, l->tls, l->host, l->times.command, e);
}

/* ---- settings of a connection ---- */

struct plan {
    const struct settings *settings;
    struct route route;
    enum tls_want tls;
    bool verify;
};

static enum tls_want tls_of(const char *word)
{
    if (strcmp(word, "off") == 0)
        return TLS_OFF;
    if (strcmp(word, "must") == 0 || strcmp(word, "starttls") == 0)
        return TLS_MUST;
    return strcmp(word, "tls") == 0 ? TLS_FROM_START : TLS_MAY;
}

static void read_times(const struct settings *s, struct smtp_client_times *out)
{
    *out = (struct smtp_client_times){
        .greeting = (unsigned)s->queue_greeting_timeout_ms,
        .command = (unsigned)s->queue_command_timeout_ms,
        .data_start = (unsigned)s->queue_data_start_timeout_ms,
        .data_block = (unsigned)s->queue_data_block_timeout_ms,
        .data_end = (unsigned)s->queue_data_timeout_ms,
        .quit = (unsigned)s->queue_quit_timeout_ms,
    };
}

/* The first line of the file. */
static bool read_password(const char *path, char out[PASSWORD_MAX])
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(out, PASSWORD_MAX, f);
    if (f)
        fclose(f);
    if (ok)
        out[strcspn(out, "\r\n")] = '\0';
    return ok;
}

/* ---- one host ---- */

static void failure(struct transport_failure *why, enum attempt_result result, bool smtp, const char *status, const char *host)
{
    why->result = result;
    why->smtp = smtp;
    snprintf(why->status, sizeof why->status, "%s", status);
    snprintf(why->host, sizeof why->host, "%s", host);
}

static void link_free(struct smtp_link *l)
{
    if (l->stream) {
        lines_remove(&l->q->lines, &l->line);
        stream_close(l->stream);
    }
    smtp_client_release(&l->client);
    free(l);
}

static struct smtp_link *link_new(struct queue *q, const struct plan *plan, const struct route_target *target)
{
    struct smtp_link *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->base.class = &transport_smtp;
    l->q = q;
    l->verify = plan->verify;
    l->tls = plan->verify ? q->tls_verified : q->tls_any;
    l->connect_ms = (unsigned)plan->settings->queue_connect_timeout_ms;
    read_times(plan->settings, &l->times);
    snprintf(l->host, sizeof l->host, "%.*s", STR_FMT(target->host));
    snprintf(l->target, sizeof l->target, "%s:%u", target->address, target->port);
    struct smtp_wire wire = {l, wire_write, wire_read_line, wire_start_tls};
    smtp_client_init(&l->client, &wire, &l->times, str_of(q->hostname));
    l->client.lmtp = plan->route.lmtp;
    l->client.chunking = plan->settings->queue_chunking;
    l->client.recipients_max = (unsigned)plan->settings->queue_recipients_per_message;
    return l;
}

static bool dial(struct smtp_link *l, const struct route_target *target, enum tls_want tls, struct transport_failure *why)
{
    struct stream_address address;
    struct err e = {0};
    char text[512];
    size_t which;
    if (!stream_address_make(target->address, target->port, &address)) {
        failure(why, ATTEMPT_TEMP, false, "4.4.4 bad address", l->host);
        return false;
    }
    if (stream_connect_unless(&address, 1, l->connect_ms, &l->q->breaking, &l->stream, &which, &e) != ST_OK) {
        snprintf(text, sizeof text, "4.4.1 %s: %.150s", l->target, e.text);
        failure(why, ATTEMPT_TEMP, false, text, l->host);
        l->stream = NULL;
        return false;
    }
    lines_add(&l->q->lines, &l->line, l->stream);
    if (tls == TLS_FROM_START && wire_start_tls(l, &e) != ST_OK) {
        snprintf(text, sizeof text, "4.7.5 %.200s", e.text);
        failure(why, ATTEMPT_TEMP, false, text, l->host);
        return false;
    }
    return true;
}

static bool hello_failed(const struct smtp_link *l, enum smtp_hello hello, struct transport_failure *why)
{
    failure(why, hello == SMTP_HELLO_PERM ? ATTEMPT_PERM : ATTEMPT_TEMP, l->client.why_smtp, l->client.why, l->host);
    return false;
}

enum secured { SECURED, SECURED_NOT, SECURED_RETRY_PLAIN };

/* Opportunistic TLS (RFC 7435) takes what there is; a policy that demands TLS is never met halfway. */
static enum secured secure(struct smtp_link *l, enum tls_want tls, struct transport_failure *why)
{
    struct smtp_client *c = &l->client;
    if (tls == TLS_OFF || tls == TLS_FROM_START)
        return SECURED;
    if (c->ehlo.extensions & SMTP_EXT_STARTTLS) {
        enum smtp_hello hello = smtp_client_starttls(c);
        if (hello == SMTP_HELLO_OK || (tls == TLS_MAY && hello == SMTP_HELLO_PERM && !c->broken && !stream_is_tls(l->stream)))
            return SECURED;
        hello_failed(l, SMTP_HELLO_TEMP, why);
        return tls == TLS_MAY ? SECURED_RETRY_PLAIN : SECURED_NOT;
    }
    if (tls == TLS_MAY)
        return SECURED;
    failure(why, ATTEMPT_TEMP, false, "4.7.4 The host offers no TLS, which is required here", l->host);
    return SECURED_NOT;
}

static bool log_in(struct smtp_link *l, const struct plan *plan, const struct route_target *target, struct transport_failure *why)
{
    const struct settings *s = plan->settings;
    char password[PASSWORD_MAX] = "", text[300];
    struct err e = {0};
    if (!plan->route.smarthost || !s->queue_smarthost_user[0])
        return true;
    bool loopback = strncmp(target->address, "127.", 4) == 0 || strcmp(target->address, "::1") == 0;
    bool clear_text = loopback || (stream_is_tls(l->stream) && l->verify);
    enum st st = ST_PERM;
    if (!read_password(s->queue_smarthost_password_file, password))
        snprintf(e.text, sizeof e.text, "cannot read the password file of the smarthost");
    else
        st = smtp_auth(&l->client, s->queue_smarthost_user, password, clear_text, &e);
    explicit_bzero(password, sizeof password);
    if (st == ST_OK)
        return true;
    /* A wrong password is our mistake: nobody's mail is returned for it. */
    snprintf(text, sizeof text, "4.7.8 Login at the smarthost failed: %.200s", e.text);
    failure(why, ATTEMPT_TEMP, false, text, l->host);
    return false;
}

enum tried { TRIED_WELL, TRIED_IN_VAIN, TRIED_AGAIN_PLAIN };

static enum tried try_target(struct queue *q, const struct plan *plan, const struct route_target *target, enum tls_want tls,
                             struct transport **out, struct transport_failure *why)
{
    struct smtp_link *l = link_new(q, plan, target);
    enum tried tried = TRIED_IN_VAIN;
    if (!l) {
        failure(why, ATTEMPT_TEMP, false, "4.3.0 Out of memory", "");
        return TRIED_IN_VAIN;
    }
    enum smtp_hello hello = SMTP_HELLO_TEMP;
    if (dial(l, target, tls, why)) {
        hello = smtp_client_greet(&l->client);
        enum secured secured = SECURED_NOT;
        if (hello != SMTP_HELLO_OK)
            hello_failed(l, hello, why);
        else
            secured = secure(l, tls, why);
        if (secured == SECURED_RETRY_PLAIN)
            tried = TRIED_AGAIN_PLAIN;
        if (secured == SECURED && log_in(l, plan, target, why))
            tried = TRIED_WELL;
    }
    if (tried == TRIED_WELL) {
        *out = &l->base;
        return tried;
    }
    if (tried == TRIED_IN_VAIN)
        hosts_failed(q->hosts, str_of(l->target));
    if (l->stream && !l->client.broken)
        smtp_client_quit(&l->client);
    link_free(l);
    return tried;
}

/* ---- all hosts ---- */

static bool route_failed(enum st st, const struct err *e, struct transport_failure *why)
{
    bool coded = ascii_digit(e->text[0]) && e->text[1] == '.';
    char text[300];
    snprintf(text, sizeof text, "%s%s", coded ? "" : "4.3.0 ", e->text);
    failure(why, st == ST_NOTFOUND || st == ST_PERM ? ATTEMPT_PERM : ATTEMPT_TEMP, false, text, "");
    return false;
}

/* Hosts in order of the route; those that failed a short while ago are left out. It is a final failure only if every host said so,
 * those included whose address DNS does not tell now. */
static bool try_all(struct queue *q, const struct plan *plan, struct transport **out, struct transport_failure *why)
{
    struct transport_failure one = {0}, temp = {0}, perm = {0};
    bool any_temp = plan->route.partial, any = false;
    for (size_t i = 0; i < plan->route.count && !atomic_load(&q->breaking); i++) {
        const struct route_target *target = &plan->route.targets[i];
        char name[TARGET_NAME_MAX];
        snprintf(name, sizeof name, "%s:%u", target->address, target->port);
        if (!hosts_usable(q->hosts, str_of(name), NULL)) {
            any_temp = true;
            continue;
        }
        enum tried tried = try_target(q, plan, target, plan->tls, out, &one);
        if (tried == TRIED_AGAIN_PLAIN)
            tried = try_target(q, plan, target, TLS_OFF, out, &one);
        if (tried == TRIED_WELL)
            return true;
        any = true;
        any_temp = any_temp || one.result == ATTEMPT_TEMP;
        *(one.result == ATTEMPT_TEMP ? &temp : &perm) = one;
    }
    *why = any_temp || !any ? temp : perm;
    if (why->status[0] == '\0')
        failure(why, ATTEMPT_TEMP, false,
                plan->route.partial ? "4.4.3 DNS does not tell all hosts of the destination, and the others refuse or do not answer"
                                    : "4.4.1 No host of the destination has answered for a while",
                "");
    return false;
}

static bool smtp_open(struct queue *q, struct str destination, struct transport **out, struct transport_failure *why)
{
    struct arena arena = ARENA_INIT(ROUTE_ARENA_MAX);
    struct plan plan = {.settings = settings_current()};
    struct err e = {0};
    enum st st = route_find(q, destination, &arena, &plan.route, &e);
    plan.tls = tls_of(plan.route.smarthost ? plan.settings->queue_smarthost_tls : plan.settings->queue_tls);
    if (plan.tls == TLS_FROM_START && !plan.route.smarthost)
        plan.tls = TLS_MUST;
    if (plan.route.lmtp)
        plan.tls = plan.tls == TLS_MUST ? TLS_MAY : plan.tls;
    plan.verify = plan.route.smarthost && plan.tls >= TLS_MUST && plan.settings->queue_smarthost_verify;
    bool ok = st == ST_OK ? try_all(q, &plan, out, why) : route_failed(st, &e, why);
    settings_unref(plan.settings);
    arena_release(&arena);
    return ok;
}

static void smtp_close(struct transport *t)
{
    struct smtp_link *l = (struct smtp_link *)t;
    if (!l->client.broken && !atomic_load(&l->q->breaking))
        smtp_client_quit(&l->client);
    link_free(l);
}

/* ---- transactions ---- */

static enum st read_entry(void *context, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    return attempt_read(context, offset, length, out, e);
}

static void fill_send(struct smtp_send *s, struct attempt *a)
{
    for (size_t i = 0; i < a->record.count; i++) {
        const struct record_recipient *r = &a->record.recipients[i];
        if (attempt_open(a, i))
            s->recipients[s->count++] = (struct smtp_send_recipient){.address = r->address, .orcpt = r->orcpt, .notify = r->notify};
    }
}

static void take_fates(struct smtp_link *l, struct attempt *a, const struct smtp_send *s)
{
    bool dsn = l->client.extended && l->client.ehlo.extensions & SMTP_EXT_DSN;
    size_t n = 0;
    for (size_t i = 0; i < a->record.count; i++) {
        if (!attempt_open(a, i))
            continue;
        const struct smtp_send_recipient *r = &s->recipients[n++];
        enum attempt_result result = ATTEMPT_NONE;
        switch (r->fate) {
        case SMTP_FATE_OPEN:
            continue;
        case SMTP_FATE_SENT:
            result = dsn ? ATTEMPT_OK : ATTEMPT_RELAYED;
            break;
        case SMTP_FATE_TEMP:
            result = ATTEMPT_TEMP;
            break;
        case SMTP_FATE_PERM:
            result = ATTEMPT_PERM;
            break;
        }
        l->worked = l->worked || r->status_smtp;
        attempt_set(a, i, result, r->status, r->status_smtp, str_of(l->host));
    }
}

static enum transport_state gone(struct smtp_link *l)
{
    l->client.broken = true;
    failure(&l->base.lost, ATTEMPT_TEMP, l->client.why_smtp, l->client.why, l->host);
    /* One that does not even get through a first transaction is no better for the next message. */
    if (!l->worked)
        hosts_failed(l->q->hosts, str_of(l->target));
    return TRANSPORT_GONE;
}

static enum transport_state smtp_deliver(struct transport *t, struct attempt *a)
{
    static const enum smtp_ret rets[] = {SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS};
    struct smtp_link *l = (struct smtp_link *)t;
    struct arena arena = ARENA_INIT(RECORD_ARENA_MAX);
    if (l->worked && !stream_is_quiet(l->stream)) { /* it said 421 or closed while nothing was to do */
        snprintf(l->client.why, sizeof l->client.why, "4.4.2 connection closed between messages");
        l->client.why_smtp = false;
        return gone(l);
    }
    struct smtp_send s = {
        .arena = &arena,
        .reverse_path = a->record.reverse_path,
        .envid = a->record.envid,
        .ret = rets[a->record.ret],
        .body = (enum smtp_body)a->record.body,
        .smtputf8 = a->record.smtputf8,
        .size = attempt_size(a),
        .read = read_entry,
        .context = a,
        .recipients = ARENA_ARRAY(&arena, a->record.count, struct smtp_send_recipient),
    };
    if (!s.recipients) {
        attempt_set_all(a, ATTEMPT_TEMP, STR("4.3.0 Out of memory"), false, STR_NONE);
        return TRANSPORT_READY;
    }
    fill_send(&s, a);
    smtp_client_send(&l->client, &s);
    take_fates(l, a, &s);
    a->broken_store = s.read_failed == ST_NOTFOUND || s.read_failed == ST_CORRUPT;
    arena_release(&arena);
    if (l->client.broken)
        return gone(l);
    if (!l->worked)
        hosts_worked(l->q->hosts, str_of(l->target));
    l->worked = true;
    return TRANSPORT_READY;
}

const struct transport_class transport_smtp = {"smtp", smtp_open, smtp_deliver, smtp_close};
