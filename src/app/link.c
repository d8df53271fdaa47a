#include "app/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/admin.h"
#include "app/config.h"
#include "app/core.h"
#include "rt/log.h"

enum { LINK_READ = 64 << 10, LINK_IN_MAX = 256 << 20, SAID_WAIT_MS = 200 };

struct link {
    struct config config;
    int fd; /* -1: in this process */
    struct core *core;
    struct admin_context context;
    struct serve_context imap;
    struct session_peer peer;
    struct session *session;
    struct session_io io;
    struct buf step_out;
    bool again;    /* the session has more to say */
    bool closed;   /* no more answers */
    bool unsent;   /* the server did not take what we sent */
    struct buf to; /* in this process: what the session has not taken yet */
    struct buf in; /* what came from the server */
    size_t in_at;  /* used of it */
    json_t *value; /* of the last reply */
};

/* ---- opening ---- */

static int dial(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path)
        return -1;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void pump(struct link *l, enum session_event event);

static enum st open_here(struct link *l, struct err *e)
{
    struct core_options options = {.mode = CORE_OFFLINE};
    log_level_set(LOG_WARN); /* what opening has to tell is for servers */
    TRY(core_open(&l->config, &options, &l->core, e));
    l->imap = (struct serve_context){.services = core_services(l->core), .profile = SERVE_IMAP};
    l->context = (struct admin_context){.services = core_services(l->core),
                                        .data_dir = l->config.data_dir,
                                        .message_max_bytes = l->config.message_max_bytes,
                                        .imap = &l->imap};
    l->peer.trusted_local = true;
    l->peer.loopback = true;
    l->session = admin_session_make(&l->context, &l->peer);
    ENSURE(l->session, e, ST_TEMP, "out of memory");
    pump(l, SESSION_EV_START);
    return ST_OK;
}

enum st link_open(const struct command_line *line, struct link **out, struct err *e)
{
    struct link *l = calloc(1, sizeof *l);
    ENSURE(l, e, ST_TEMP, "out of memory");
    l->fd = -1;
    buf_init(&l->step_out, SESSION_OUTPUT_MAX);
    buf_init(&l->to, LINK_IN_MAX);
    buf_init(&l->in, LINK_IN_MAX);
    enum st st = config_load_for(line, &l->config, e);
    if (st == ST_OK) {
        l->fd = dial(l->config.admin_socket);
        if (l->fd < 0)
            st = open_here(l, e);
    }
    if (st != ST_OK) {
        link_close(l);
        return st;
    }
    *out = l;
    return ST_OK;
}

void link_close(struct link *l)
{
    if (!l)
        return;
    json_decref(l->value);
    if (l->fd >= 0)
        close(l->fd);
    if (l->session)
        l->session->class->free(l->session);
    core_close(l->core);
    buf_release(&l->step_out);
    buf_release(&l->to);
    buf_release(&l->in);
    free(l);
}

bool link_is_local(const struct link *l) { return l->fd < 0; }

/* ---- bytes ---- */

/* Steps the session of this process once; what it says goes to l->in. */
static void pump(struct link *l, enum session_event event)
{
    struct str all = buf_str(&l->to);
    struct session_io *io = &l->io;
    io->event = event;
    io->in = str_upto(all, SESSION_INPUT_MAX);
    io->in_full = io->in.n == SESSION_INPUT_MAX;
    io->used = 0;
    io->out = &l->step_out;
    enum session_outcome o = l->session->class->step(l->session, io);
    buf_drop_front(&l->to, io->used);
    buf_add(&l->in, buf_str(&l->step_out));
    buf_clear(&l->step_out);
    l->again = o == SESSION_OUTPUT;
    l->closed = o == SESSION_CLOSE;
}

/* Lets the session of this process take all that it was given. */
static void settle(struct link *l)
{
    size_t before = l->to.n + 1;
    while (!l->closed && l->to.n && (l->to.n < before || l->again)) {
        before = l->to.n;
        pump(l, l->again ? SESSION_EV_OUTPUT : SESSION_EV_INPUT);
    }
}

static enum st send_bytes(struct link *l, struct str bytes, struct err *e)
{
    if (l->fd < 0) {
        while (bytes.n && !l->closed) {
            struct str part = str_upto(bytes, SESSION_INPUT_MAX);
            buf_add(&l->to, part);
            bytes = str_from(bytes, part.n);
            settle(l);
        }
        ENSURE(buf_ok(&l->to) && buf_ok(&l->in), e, ST_TEMP, "out of memory");
        l->unsent = bytes.n > 0;
        ENSURE(bytes.n == 0, e, ST_TEMP, "the request was ended");
        return ST_OK;
    }
    while (bytes.n) {
        ssize_t n = send(l->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        l->unsent = n < 0;
        ENSURE(n >= 0, e, ST_TEMP, "the server closed the connection");
        bytes = str_from(bytes, (size_t)n);
    }
    return ST_OK;
}

/* More bytes from the server in l->in. */
static enum st receive(struct link *l, struct err *e)
{
    if (l->in_at) {
        buf_drop_front(&l->in, l->in_at);
        l->in_at = 0;
    }
    if (l->fd < 0) {
        size_t before = l->in.n;
        for (unsigned idle = 0; l->in.n == before && !l->closed && idle < 2; idle += !l->again)
            pump(l, l->again ? SESSION_EV_OUTPUT : SESSION_EV_INPUT);
        ENSURE(l->in.n > before, e, ST_TEMP, "the request got no answer");
        return ST_OK;
    }
    char *room = buf_reserve(&l->in, LINK_READ);
    ENSURE(room, e, ST_LIMIT, "the answer is too long");
    ssize_t n;
    do
        n = recv(l->fd, room, LINK_READ, 0);
    while (n < 0 && errno == EINTR);
    ENSURE(n > 0, e, ST_TEMP, "the server closed the connection");
    buf_grew(&l->in, (size_t)n);
    return ST_OK;
}

/* ---- messages ---- */

static enum st send_json(struct link *l, json_t *value, struct err *e)
{
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    ENSURE(text, e, ST_BUG, "not a request");
    size_t n = strlen(text);
    enum st st = n < ADMIN_LINE_MAX ? ST_OK : ERR_PUBLIC(e, ST_LIMIT, "the request is too long");
    if (st == ST_OK) {
        text[n] = '\n'; /* in place of the NUL */
        st = send_bytes(l, str_make(text, n + 1), e);
        explicit_bzero(text, n);
    }
    free(text);
    return st;
}

enum st link_request(struct link *l, json_t *request, struct err *e) { return send_json(l, request, e); }

enum st link_append(struct link *l, json_t *meta, struct str bytes, struct err *e)
{
    json_object_set_new(meta, "size", json_integer((json_int_t)bytes.n));
    TRY(send_json(l, json_pack("{s:o}", "append", meta), e));
    return send_bytes(l, bytes, e);
}

enum st link_end(struct link *l, struct err *e) { return send_json(l, json_pack("{s:b}", "end", 1), e); }

static enum st class_of(const char *name)
{
    for (int i = ST_OK; i <= ST_BUG; i++)
        if (name && strcmp(name, st_name((enum st)i)) == 0)
            return (enum st)i;
    return ST_TEMP;
}

static enum st reply_error(json_t *error, struct err *e)
{
    const char *text = json_string_value(json_object_get(error, "text"));
    const char *detail = json_string_value(json_object_get(error, "detail"));
    enum st st = class_of(json_string_value(json_object_get(error, "class")));
    if (st == ST_OK)
        st = ST_TEMP;
    (void)!ERR(e, st, text ? text : "failed", "%s", detail ? detail : "");
    return st;
}

static enum st read_line(struct link *l, json_t **out, struct err *e)
{
    for (;;) {
        struct str left = str_from(buf_str(&l->in), l->in_at);
        size_t n = str_find_char(left, '\n');
        if (n != STR_NPOS) {
            json_error_t why;
            l->in_at += n + 1;
            *out = json_loadb(left.p, n, 0, &why);
            ENSURE(*out, e, ST_BUG, "the server's answer is not JSON");
            return ST_OK;
        }
        TRY(receive(l, e));
    }
}

static enum st read_bytes(struct link *l, size_t n, struct str *out, struct err *e)
{
    while (l->in.n - l->in_at < n)
        TRY(receive(l, e));
    *out = str_sub(buf_str(&l->in), l->in_at, n);
    l->in_at += n;
    return ST_OK;
}

enum st link_next(struct link *l, struct link_reply *reply, struct err *e)
{
    static const char *const kinds[] = {[LINK_ROW] = "row", [LINK_NOTE] = "note", [LINK_MESSAGE] = "message", [LINK_DONE] = "done"};
    *reply = (struct link_reply){0};
    json_decref(l->value);
    l->value = NULL;
    TRY(read_line(l, &l->value, e));
    json_t *error = json_object_get(l->value, "error");
    if (error)
        return reply_error(error, e);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !reply->value; i++) {
        reply->kind = (enum link_kind)i;
        reply->value = json_object_get(l->value, kinds[i]);
    }
    ENSURE(reply->value, e, ST_BUG, "the server's answer is of an unknown kind");
    if (reply->kind == LINK_MESSAGE)
        return read_bytes(l, (size_t)json_integer_value(json_object_get(reply->value, "size")), &reply->bytes, e);
    return ST_OK;
}

bool link_said_why(struct link *l, struct err *e)
{
    struct err said = {0};
    struct link_reply reply;
    struct pollfd p = {l->fd, POLLIN, 0};
    if (!l->unsent)
        return false;
    bool there = l->in.n > l->in_at || (l->fd >= 0 && poll(&p, 1, SAID_WAIT_MS) == 1 && receive(l, NULL) == ST_OK);
    if (!there)
        return false;
    if (link_next(l, &reply, &said) == ST_OK || said.class == ST_OK)
        return false;
    *e = said;
    return true;
}

enum st link_ask(struct link *l, json_t *request, link_row *row, void *context, json_t **done, struct err *e)
{
    struct link_reply reply = {0};
    TRY(link_request(l, request, e));
    do {
        TRY(link_next(l, &reply, e));
        if (reply.kind == LINK_ROW && row)
            row(context, reply.value);
        if (reply.kind == LINK_NOTE)
            fprintf(stderr, "%s\n", json_string_value(reply.value) ? json_string_value(reply.value) : "");
    } while (reply.kind != LINK_DONE);
    if (done)
        *done = json_incref(reply.value);
    return ST_OK;
}

/* ---- another protocol on the same connection ---- */

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno != EINTR)
            return false;
        bytes = str_from(bytes, n > 0 ? (size_t)n : 0);
    }
    return true;
}

static bool flush_in(struct link *l, int out_fd)
{
    bool ok = write_all(out_fd, str_from(buf_str(&l->in), l->in_at));
    buf_clear(&l->in);
    l->in_at = 0;
    return ok;
}

/* Wakes the loop of relay_here when another thread has news for the session. */
struct relay_waker {
    struct session_waker waker;
    int pipe[2];
};

static void relay_wake(struct session_waker *w)
{
    struct relay_waker *r = (struct relay_waker *)w;
    ssize_t n = write(r->pipe[1], "", 1);
    (void)n; /* a full pipe will wake as well */
}

/* One round of the loop: what the session has to say goes out, then its next event. False at the end. */
static bool relay_round(struct link *l, struct relay_waker *waker, int in_fd, int out_fd)
{
    if (!flush_in(l, out_fd) || l->closed)
        return false;
    if (l->again) {
        pump(l, SESSION_EV_OUTPUT);
        return true;
    }
    struct pollfd fds[] = {{in_fd, POLLIN, 0}, {waker->pipe[0], POLLIN, 0}};
    int n = poll(fds, 2, l->io.timeout_ms ? (int)l->io.timeout_ms : -1);
    if (n < 0)
        return errno == EINTR;
    if (n == 0) {
        pump(l, SESSION_EV_TIMEOUT);
        return true;
    }
    if (fds[1].revents) {
        char drop[64];
        ssize_t got = read(waker->pipe[0], drop, sizeof drop);
        (void)got;
        pump(l, SESSION_EV_WAKE);
    }
    if (fds[0].revents) {
        char *room = buf_reserve(&l->to, LINK_READ);
        ssize_t got = room ? read(in_fd, room, LINK_READ) : -1;
        if (got > 0)
            buf_grew(&l->to, (size_t)got);
        if (got <= 0)
            l->closed = true;
        pump(l, got > 0 ? SESSION_EV_INPUT : SESSION_EV_EOF);
        settle(l);
    }
    return true;
}

static enum st relay_here(struct link *l, int in_fd, int out_fd, struct err *e)
{
    struct relay_waker waker = {.waker = {relay_wake}};
    ENSURE(pipe2(waker.pipe, O_NONBLOCK | O_CLOEXEC) == 0, e, ST_TEMP, "no pipe");
    l->session->waker = &waker.waker;
    pump(l, SESSION_EV_INPUT);
    while (relay_round(l, &waker, in_fd, out_fd))
        continue;
    flush_in(l, out_fd);
    l->session->class->free(l->session);
    l->session = NULL;
    close(waker.pipe[0]);
    close(waker.pipe[1]);
    return ST_OK;
}

static enum st relay_socket(struct link *l, int in_fd, int out_fd)
{
    bool in_open = true;
    char chunk[LINK_READ];
    while (flush_in(l, out_fd)) {
        struct pollfd fds[] = {{l->fd, POLLIN, 0}, {in_open ? in_fd : -1, POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents) {
            ssize_t n = read(in_fd, chunk, sizeof chunk);
            if (n > 0)
                (void)!write_all(l->fd, str_make(chunk, (size_t)n));
            else {
                in_open = false;
                shutdown(l->fd, SHUT_WR);
            }
        }
        if (fds[0].revents) {
            ssize_t n = recv(l->fd, chunk, sizeof chunk, 0);
            if (n <= 0)
                break;
            buf_add(&l->in, str_make(chunk, (size_t)n));
        }
    }
    return ST_OK;
}

enum st link_relay(struct link *l, int in_fd, int out_fd, struct err *e)
{
    return l->fd < 0 ? relay_here(l, in_fd, out_fd, e) : relay_socket(l, in_fd, out_fd);
}
