#include "app/server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/admin.h"
#include "app/allocator.h"
#include "app/core.h"
#include "net/host.h"
#include "rt/clock.h"
#include "rt/log.h"

enum { CARE_INTERVAL_MS = 1000, CERTIFICATE_INTERVAL_MS = 60000 };

struct server {
    const struct server_options *options;
    const struct settings *settings; /* of the start */
    struct core *core;
    struct host *host;
    struct tls_server *tls;
    struct serve_context contexts[SETTINGS_LISTEN_MAX];
    struct admin_context admin;
    struct serve_context imap; /* of IMAP sessions on the administration socket */
    struct admin_host admin_host;
    int64_t certificates_ms; /* when their files were looked at last */
};

/* Which factory serves which protocol of the configuration. */
struct protocol {
    const char *name;
    const char *alpn; /* RFC 7301 registry */
    enum serve_profile profile;
    struct session *(*make)(void *context, const struct session_peer *peer);
    bool starttls;
};
static const struct protocol protocols[] = {
    {"smtp", NULL, SERVE_SMTP, smtp_session_make, true},   {"submission", NULL, SERVE_SUBMISSION, smtp_session_make, true},
    {"lmtp", NULL, SERVE_LMTP, smtp_session_make, true},   {"pop3", "pop3", SERVE_POP3, pop3_session_make, true},
    {"imap", "imap", SERVE_IMAP, imap_session_make, true}, {"http", "http/1.1", SERVE_HTTP, http_session_make, false},
};

static const struct protocol *find_protocol(const char *name)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(protocols[i].name, name) == 0)
            return &protocols[i];
    return NULL;
}

/* ---- administration ---- */

static enum st reload(void *context, struct err *e)
{
    struct server *s = context;
    struct settings *new = NULL;
    enum log_level level;
    if (s->options->config->path[0]) {
        TRY(settings_load(s->options->config->path, &new, e));
        if (log_level_parse(str_of(new->log_level), &level))
            log_level_set(level);
        log_json(new->log_json);
        settings_use(&new);
        struct host_config limits;
        host_config_load(&limits);
        host_limits(s->host, &limits);
    }
    if (s->tls)
        TRY(tls_server_reload(s->tls, e));
    log_event(LOG_INFO, "server.reloaded", LOG_Z("file", s->options->config->path));
    return ST_OK;
}

static void stop(void *context)
{
    (void)context;
    kill(getpid(), SIGTERM); /* server_run waits for it */
}

static void status(void *context, json_t *into)
{
    struct server *s = context;
    struct host_stats h;
    host_stats(s->host, &h);
    json_object_set_new(into, "connections", json_integer(h.connections));
    json_object_set_new(into, "accepted", json_integer((json_int_t)h.accepted));
    json_object_set_new(into, "refused", json_integer((json_int_t)h.refused));
    json_t *listeners = json_array();
    for (size_t i = 0; i < s->settings->listen_count; i++) {
        const struct settings_listen *l = &s->settings->listen[i];
        json_array_append_new(listeners, json_pack("{s:s, s:s, s:s, s:i, s:b}", "name", l->name, "protocol", l->protocol, "address",
                                                   l->address, "port", (int)l->port, "tls", l->tls));
    }
    json_object_set_new(into, "listeners", listeners);
}

/* ---- opening ---- */

static void limits(const struct settings *settings)
{
    struct rlimit r;
    rlim_t want = (rlim_t)settings->net_connections + 1024;
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    r.rlim_cur = r.rlim_max < want ? r.rlim_max : want > r.rlim_cur ? want : r.rlim_cur;
    setrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_cur < want)
        log_event(LOG_WARN, "server.few_files", LOG_UINT("allowed", r.rlim_cur), LOG_UINT("wanted", want));
}

static enum st open_tls(struct server *s, struct err *e)
{
    size_t n = s->settings->certificate_count;
    if (n == 0)
        return ST_OK;
    struct tls_certificate *list = calloc(n, sizeof *list);
    ENSURE(list, e, ST_TEMP, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const struct settings_certificate *c = &s->settings->certificate[i];
        list[i] = (struct tls_certificate){c->host, c->chain, c->key};
    }
    enum st st = tls_server_new(list, n, &s->tls, e);
    free(list);
    if (st == ST_OK && s->settings->tls_client_ca[0])
        st = tls_server_trust_clients(s->tls, s->settings->tls_client_ca, e);
    return st;
}

static enum st open_listener(struct server *s, size_t i, struct err *e)
{
    const struct settings_listen *l = &s->settings->listen[i];
    const struct protocol *p = find_protocol(l->protocol);
    ENSURE(p, e, ST_PERM, "listen \"%s\": %s is not served", l->name, l->protocol);
    ENSURE(!l->tls || s->tls, e, ST_PERM, "listen \"%s\": tls needs a certificate section", l->name);
    int fd = s->options->fds ? s->options->fds[i] : -1;
    if (fd < 0)
        TRY(server_bind(l, &fd, e));
    s->contexts[i] = (struct serve_context){core_services(s->core), p->profile, s->tls && !l->tls && p->starttls};
    struct host_listener listener = {.fd = fd,
                                     .factory = {l->name, p->make, &s->contexts[i]},
                                     .tls = s->tls,
                                     .implicit_tls = l->tls,
                                     .alpn = p->alpn,
                                     .connections = l->connections};
    return host_listen(s->host, &listener, e);
}

static enum st open_admin(struct server *s, struct err *e)
{
    int fd = s->options->admin_fd;
    s->admin_host = (struct admin_host){.context = s, .reload = reload, .stop = stop, .status = status};
    s->imap = (struct serve_context){.services = core_services(s->core), .profile = SERVE_IMAP};
    s->admin = (struct admin_context){.services = core_services(s->core),
                                      .host = &s->admin_host,
                                      .data_dir = s->options->config->data_dir,
                                      .message_max_bytes = s->options->config->message_max_bytes,
                                      .imap = &s->imap};
    if (fd < 0)
        TRY(server_bind_unix(s->options->config->admin_socket, 0600, &fd, e));
    struct host_listener listener = {.fd = fd, .factory = {"admin", admin_session_make, &s->admin}};
    return host_listen(s->host, &listener, e);
}

static enum st open_all(struct server *s, struct err *e)
{
    const struct server_options *o = s->options;
    struct core_options core = {.mode = CORE_SERVE, .demo = o->demo, .relay = o->relay};
    struct host_config host;
    limits(s->settings);
    TRY(core_open(o->config, &core, &s->core, e));
    if (o->prepare)
        TRY(o->prepare(o->context, core_services(s->core), e));
    TRY(open_tls(s, e));
    host_config_load(&host);
    TRY(host_new(&host, &s->host, e));
    for (size_t i = 0; i < s->settings->listen_count; i++)
        TRY(open_listener(s, i, e));
    TRY(open_admin(s, e));
    allocator_start();
    TRY(core_start(s->core, e));
    return host_start(s->host, e);
}

static void close_all(struct server *s, bool running)
{
    unsigned wait_ms = (unsigned)s->settings->net_stop_timeout_ms;
    if (s->host && running)
        host_stop(s->host, wait_ms);
    if (s->core)
        core_stop(s->core, wait_ms);
    host_free(s->host);
    tls_server_free(s->tls);
    core_close(s->core);
    if (running && s->options->admin_fd < 0)
        unlink(s->options->config->admin_socket);
    settings_unref(s->settings);
}

/* ---- running ---- */

static void tick(struct server *s)
{
    int64_t now = clock_mono_ms();
    struct err e = {0};
    core_care(s->core);
    if (s->tls && now - s->certificates_ms >= CERTIFICATE_INTERVAL_MS) {
        s->certificates_ms = now;
        if (tls_server_reload(s->tls, &e) != ST_OK)
            log_event(LOG_ERROR, "server.certificate_failed", LOG_ERR(&e));
    }
}

/* Waits for signals; between them does the background work. */
static void serve_until_told(struct server *s, const sigset_t *signals)
{
    struct timespec interval = {CARE_INTERVAL_MS / 1000, CARE_INTERVAL_MS % 1000 * 1000000L};
    for (;;) {
        struct err e = {0};
        int number = sigtimedwait(signals, NULL, &interval);
        if (number == SIGTERM || number == SIGINT)
            return;
        if (number == SIGHUP && reload(s, &e) != ST_OK)
            log_event(LOG_ERROR, "server.reload_failed", LOG_ERR(&e));
        if (number < 0 && errno == EAGAIN)
            tick(s);
    }
}

enum st server_run(const struct server_options *options, struct err *e)
{
    sigset_t signals;
    struct server *s = calloc(1, sizeof *s);
    ENSURE(s, e, ST_TEMP, "out of memory");
    s->options = options;
    s->settings = settings_current();
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* before there are threads, so that all of them have it */
    enum st st = open_all(s, e);
    if (st == ST_OK) {
        log_event(LOG_INFO, "server.started", LOG_Z("version", POSTRIDER_VERSION),
                  LOG_UINT("listeners", s->settings->listen_count));
        if (options->ready)
            options->ready(options->context);
        serve_until_told(s, &signals);
        log_event(LOG_INFO, "server.stopping");
    }
    close_all(s, st == ST_OK);
    free(s);
    return st;
}
