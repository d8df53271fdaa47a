#include "app/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "app/helper.h"
#include "app/sandbox.h"
#include "rt/clock.h"
#include "rt/helper.h"
#include "rt/log.h"
#include "rt/random.h"
#include "rt/settings.h"

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 10000,
    STABLE_MS = 60000, /* after so long a life the back-off begins anew */
    CERTIFICATE_INTERVAL_MS = 30000,
    STOP_MARGIN_MS = 20000, /* beyond what sessions and deliveries get; then the server is killed */
    KEY_FILE_MAX = 1 << 20,
    EXIT_NOT_STARTED = 70, /* the server could not start: its reason comes by the pipe */
};

/* A file of a certificate and the anonymous copy that the server reads. */
struct copy {
    const char *path;
    int fd;
    struct timespec changed;
};

struct supervisor {
    struct server_options options; /* as given, with our sockets */
    const struct settings *settings;
    struct copy *copies; /* two for each certificate */
    size_t copy_count;
    int fds[SETTINGS_LISTEN_MAX];
    int report; /* the server's end of the pipe: a byte when ready, or its error */
    struct helpers *helpers;
    int signals;  /* signalfd */
    pid_t server; /* 0: none runs */
    int status;   /* of the last one that ended */
    bool stopping;
    int64_t kill_ms;    /* when the patience with a stopping server ends; INT64_MAX: it is not stopping */
    int64_t refresh_ms; /* when the certificates are looked at next */
};

/* ---- certificates ---- */

static enum st refresh_copy(struct copy *c, bool *changed, struct err *e)
{
    struct stat st;
    if (!c->path)
        return ERR(e, ST_BUG, "a certificate without a file", "copy");
    int fd = open(c->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size > KEY_FILE_MAX) {
        enum st s =
            ERR_PUBLIC(e, ST_PERM, "%s cannot be read: %s", c->path, fd < 0 ? strerror(errno) : "too large for a certificate");
        if (fd >= 0)
            close(fd);
        return s;
    }
    if (memcmp(&st.st_mtim, &c->changed, sizeof st.st_mtim) != 0) {
        char *bytes = malloc(KEY_FILE_MAX);
        ssize_t n = bytes ? read(fd, bytes, KEY_FILE_MAX) : -1;
        if (n > 0 && ftruncate(c->fd, 0) == 0 && pwrite(c->fd, bytes, (size_t)n, 0) == n) {
            c->changed = st.st_mtim;
            *changed = true;
        }
        if (bytes)
            explicit_bzero(bytes, KEY_FILE_MAX);
        free(bytes);
    }
    close(fd);
    return ST_OK;
}

static enum st refresh_copies(struct supervisor *s, bool *changed, struct err *e)
{
    for (size_t i = 0; i < s->copy_count; i++)
        TRY(refresh_copy(&s->copies[i], changed, e));
    return ST_OK;
}

/* Replaces the paths of the settings in force by those of anonymous copies. */
static enum st copy_certificates(struct supervisor *s, struct err *e)
{
    size_t n = s->settings->certificate_count;
    s->copies = calloc(n * 2 + 1, sizeof *s->copies);
    ENSURE(s->copies, e, ST_TEMP, "out of memory");
    struct settings *mine = (struct settings *)(uintptr_t)s->settings; /* not shared yet: this is the only thread */
    for (size_t i = 0; i < n * 2; i++) {
        struct settings_certificate *c = &mine->certificate[i / 2];
        const char **path = i % 2 ? &c->key : &c->chain;
        char name[64];
        int fd = memfd_create("certificate", 0);
        ENSURE(fd >= 0, e, ST_TEMP, "out of memory for certificates");
        s->copies[s->copy_count++] = (struct copy){*path, fd, {0}};
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        *path = settings_text(mine, str_of(name));
    }
    bool changed;
    return refresh_copies(s, &changed, e);
}

/* ---- sockets ---- */

/* A socket that systemd passed for this address and port, or -1. */
static int inherited(const struct settings_listen *l, int count)
{
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; fd++)
        if (l->port ? sd_is_socket_inet(fd, AF_UNSPEC, SOCK_STREAM, 1, l->port) > 0
                    : sd_is_socket_unix(fd, SOCK_STREAM, 1, l->address, 0) > 0)
            return fd;
    return -1;
}

static enum st bind_all(struct supervisor *s, struct err *e)
{
    int count = sd_listen_fds(1);
    for (size_t i = 0; i < s->settings->listen_count; i++) {
        const struct settings_listen *l = &s->settings->listen[i];
        s->fds[i] = inherited(l, count);
        if (s->fds[i] >= 0)
            fcntl(s->fds[i], F_SETFL, fcntl(s->fds[i], F_GETFL) | O_NONBLOCK);
        else
            TRY(server_bind(l, &s->fds[i], e));
    }
    s->options.fds = s->fds;
    return server_bind_unix(s->options.config->admin_socket, 0600, &s->options.admin_fd, e);
}

/* ---- the server process ---- */

static enum st enter_sandbox(const struct supervisor *s, struct err *e)
{
    const struct config *c = s->options.config;
    struct sandbox box = {
        .user = s->settings->global_user, .write_paths = {c->data_dir, c->spool_dir, c->store_dir}, .read_paths = {c->path}};
    /* files that the settings name, which the server reads by itself */
    const char *const named[] = {s->settings->tls_client_ca, s->settings->submission_relay_clients,
                                 s->settings->queue_smarthost_password_file, s->settings->dns_zone};
    for (size_t i = 0, n = 1; i < sizeof named / sizeof *named; i++)
        if (named[i][0])
            box.read_paths[n++] = named[i];
    for (size_t i = 0; box.write_paths[i]; i++)
        TRY(config_make_dir(box.write_paths[i], 0700, e));
    TRY(sandbox_become_user(&box, e));
    TRY(sandbox_files(&box, e));
    return sandbox_system_calls(e);
}

struct relayed {
    const struct server_options *options;
    int report;
};

static void tell_ready(void *context)
{
    struct relayed *r = context;
    ssize_t n = write(r->report, "+", 1);
    (void)n;
    close(r->report);
    if (r->options->ready)
        r->options->ready(r->options->context);
}

static enum st prepare_in_server(void *context, const struct services *services, struct err *e)
{
    const struct relayed *r = context;
    return r->options->prepare ? r->options->prepare(r->options->context, services, e) : ST_OK;
}

static _Noreturn void run_server(struct supervisor *s, pid_t parent)
{
    struct err e = {0};
    struct relayed relayed = {&s->options, s->report};
    struct server_options own = s->options;
    uint8_t key[16];
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    random_bytes(key, sizeof key);
    str_hash_key(key); /* a new one for each life */
    close(s->signals);
    close(helpers_fd(s->helpers));
    helper_connect(helpers_server_fd(s->helpers));
    own.prepare = prepare_in_server;
    own.ready = tell_ready;
    own.context = &relayed;
    enum st st = enter_sandbox(s, &e);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* changing the user forgets it */
    if (st == ST_OK)
        st = server_run(&own, &e);
    if (st != ST_OK) {
        ssize_t n = write(s->report, e.text, strlen(e.text));
        (void)n;
        log_event(LOG_ERROR, "server.failed", LOG_ERR(&e));
    }
    _exit(st == ST_OK ? 0 : EXIT_NOT_STARTED);
}

/* ---- watching ---- */

static void refresh(struct supervisor *s, bool always)
{
    struct err e = {0};
    bool changed = false;
    s->refresh_ms = clock_mono_ms() + CERTIFICATE_INTERVAL_MS;
    if (refresh_copies(s, &changed, &e) != ST_OK)
        log_event(LOG_ERROR, "supervisor.certificate", LOG_ERR(&e));
    if ((changed || always) && s->server > 0)
        kill(s->server, SIGHUP);
}

static void begin_stop(struct supervisor *s)
{
    const struct settings *now = s->settings;
    if (!s->stopping)
        s->kill_ms = clock_mono_ms() + 2 * now->net_stop_timeout_ms + STOP_MARGIN_MS;
    s->stopping = true;
    sd_notify(0, "STOPPING=1");
    if (s->server > 0)
        kill(s->server, SIGTERM);
}

static void reap(struct supervisor *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == s->server) {
            s->server = 0;
            s->status = status;
        } else {
            helpers_reaped(s->helpers, pid, status);
        }
    }
}

static void handle_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;
    if (read(s->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    switch (info.ssi_signo) {
    case SIGHUP:
        refresh(s, true);
        return;
    case SIGCHLD:
        reap(s);
        return;
    case SIGTERM:
    case SIGINT:
        begin_stop(s);
        return;
    }
}

/* Waits at most `ms` for signals, for helpers to start, and for `also` (-1: none) to be readable; does what is due. */
static void attend(struct supervisor *s, int also, int64_t ms)
{
    struct pollfd fds[] = {{s->signals, POLLIN, 0}, {helpers_fd(s->helpers), POLLIN, 0}, {also, POLLIN, 0}};
    int64_t now = clock_mono_ms();
    if (s->refresh_ms - now < ms)
        ms = s->refresh_ms > now ? s->refresh_ms - now : 0;
    if (s->kill_ms - now < ms)
        ms = s->kill_ms > now ? s->kill_ms - now : 0;
    if (poll(fds, 3, (int)helpers_look(s->helpers, (unsigned)ms)) > 0) {
        if (fds[0].revents)
            handle_signal(s);
        if (fds[1].revents)
            helpers_serve(s->helpers);
    }
    now = clock_mono_ms();
    if (now >= s->refresh_ms)
        refresh(s, false);
    if (now >= s->kill_ms && s->server > 0) {
        log_event(LOG_ERROR, "supervisor.server_does_not_stop");
        kill(s->server, SIGKILL);
        s->kill_ms = INT64_MAX;
    }
}

/* Until the server has ended. */
static void watch(struct supervisor *s)
{
    while (s->server > 0)
        attend(s, -1, CERTIFICATE_INTERVAL_MS);
}

static void back_off(struct supervisor *s, unsigned ms)
{
    for (int64_t end = clock_mono_ms() + ms; !s->stopping && clock_mono_ms() < end;)
        attend(s, -1, end - clock_mono_ms());
}

/* ---- starting ---- */

/* Waits until the server says that it serves ("+"), or why it does not. */
static enum st hear(struct supervisor *s, int fd, struct err *e)
{
    char said[192] = {0};
    size_t n = 0;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (;;) {
        ssize_t got = read(fd, said + n, sizeof said - 1 - n);
        if (got > 0)
            n += (size_t)got;
        else if (got == 0 || (errno != EAGAIN && errno != EINTR))
            break;
        else
            attend(s, fd, CERTIFICATE_INTERVAL_MS);
    }
    if (n == 1 && said[0] == '+')
        return ST_OK;
    return ERR_PUBLIC(e, ST_PERM, "%s", said[0] ? said : "the server died while it started");
}

static enum st start_server(struct supervisor *s, struct err *e)
{
    int ends[2];
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) != 0)
        return ERR_PUBLIC(e, ST_TEMP, "the server cannot be started: %s", strerror(errno));
    s->report = ends[1];
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        run_server(s, parent);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return ERR_PUBLIC(e, ST_TEMP, "the server cannot be started: %s", strerror(errno));
    }
    s->server = pid;
    enum st st = hear(s, ends[0], e);
    close(ends[0]);
    return st;
}

static enum st keep_running(struct supervisor *s, struct err *e)
{
    unsigned wait_ms = BACKOFF_FIRST_MS;
    bool served = false;
    while (!s->stopping) {
        int64_t born = clock_mono_ms();
        enum st st = start_server(s, e);
        if (st == ST_OK && !served)
            sd_notify(0, "READY=1");
        else if (st != ST_OK)
            log_event(LOG_ERROR, "supervisor.start_failed", LOG_ERR(e));
        watch(s);
        if (s->stopping)
            return ST_OK;
        if (st != ST_OK && !served)
            return st; /* never worked: a wrong configuration, which trying again does not mend */
        if (WIFEXITED(s->status) && WEXITSTATUS(s->status) == 0)
            return ST_OK;
        served = true;
        wait_ms = clock_mono_ms() - born > STABLE_MS ? BACKOFF_FIRST_MS : wait_ms;
        log_event(LOG_ERROR, "supervisor.server_died", LOG_INT("signal", WIFSIGNALED(s->status) ? WTERMSIG(s->status) : 0),
                  LOG_INT("exit", WIFEXITED(s->status) ? WEXITSTATUS(s->status) : 0), LOG_UINT("again_in_ms", wait_ms));
        back_off(s, wait_ms);
        wait_ms = wait_ms * 2 < BACKOFF_MAX_MS ? wait_ms * 2 : BACKOFF_MAX_MS;
    }
    return ST_OK;
}

static void close_all(struct supervisor *s)
{
    for (size_t i = 0; i < s->settings->listen_count; i++)
        if (s->fds[i] >= 0)
            close(s->fds[i]);
    for (size_t i = 0; i < s->copy_count; i++)
        close(s->copies[i].fd);
    if (s->options.admin_fd >= 0) {
        close(s->options.admin_fd);
        unlink(s->options.config->admin_socket);
    }
    if (s->signals >= 0)
        close(s->signals);
    helpers_free(s->helpers);
    free(s->copies);
    settings_unref(s->settings);
    free(s);
}

enum st supervisor_run(const struct server_options *options, struct err *e)
{
    sigset_t signals;
    struct supervisor *s = calloc(1, sizeof *s);
    ENSURE(s, e, ST_TEMP, "out of memory");
    s->options = *options;
    s->options.admin_fd = s->signals = -1;
    s->settings = settings_current();
    s->kill_ms = INT64_MAX;
    s->refresh_ms = clock_mono_ms() + CERTIFICATE_INTERVAL_MS;
    memset(s->fds, 0xff, sizeof s->fds);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    s->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    enum st st = s->signals < 0 ? ERR(e, ST_TEMP, "the server cannot be started", "signalfd: %s", strerror(errno))
                                : helpers_new(s->settings, &s->helpers, e);
    if (st == ST_OK)
        st = copy_certificates(s, e);
    if (st == ST_OK)
        st = bind_all(s, e);
    if (st == ST_OK)
        st = keep_running(s, e);
    close_all(s);
    return st;
}
