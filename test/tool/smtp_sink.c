/* An SMTP server that takes everything and keeps nothing, for benches and crash tests: one thread, epoll, thousands of connections.
 *
 *   smtp_sink [--host 127.0.0.1] [--port 2525] [--ports 1] [--ids FILE] [--messages DIR] [--count N]
 *             [--no-pipelining] [--no-chunking] [--dsn] [--temp PERCENT] [--drop PERCENT] [--greylist SECONDS] [--delay MS]
 *
 * Listens on `ports` ports from `port` on. Each message is named by its field "X-Load-Id:" (smtp_load writes it). --ids appends a
 * line "ID SIZE RECIPIENTS" for each message before it is acknowledged; --messages keeps each in a file NUMBER-ID. --temp answers
 * that share of the messages 451, --drop closes the connection instead of acknowledging (the message counts as not taken),
 * --greylist answers a recipient 450 until so long after it was first seen. On SIGTERM, SIGINT or after --count messages it prints
 * one line of JSON: messages, distinct ids, doubled ones, ... */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/rd.h"
#include "format/dot.h"
#include "rt/clock.h"
#include "rt/random.h"

enum {
    LINE_MAX_BYTES = 64 << 10,
    MESSAGE_MAX_BYTES = 256 << 20,
    EVENTS = 256,
    IDS_MIN = 1 << 16,
    GREY_SLOTS = 1 << 16,
};

struct options {
    const char *host, *ids, *messages;
    unsigned port, ports, temp, drop, greylist_s, delay_ms;
    uint64_t count;
    bool no_pipelining, no_chunking, dsn;
};

struct ids { /* digests of the ids seen */
    uint64_t *slots;
    size_t size, used;
};

struct sink {
    struct options o;
    int epoll, signals, ids_fd;
    uint64_t connections, open, messages, recipients, bytes, temp, dropped, doubled, unnamed;
    struct ids seen;
    struct {
        uint64_t hash;
        int64_t first_ms;
    } grey[GREY_SLOTS];
    bool ended;
};

enum kind { KIND_LISTENER, KIND_SIGNAL, KIND_CLIENT };
struct client {
    enum kind kind;
    int fd;
    struct sink *sink;
    struct buf in, out, message;
    struct dot_decoder dots;
    bool data, bdat_last, writing;
    uint64_t chunk; /* bytes of BDAT still to come */
    bool in_chunk;
    unsigned rcpts;
};

static bool grow(struct ids *ids)
{
    size_t size = ids->size ? ids->size * 2 : IDS_MIN;
    uint64_t *slots = calloc(size, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < ids->size; i++) {
        size_t at = ids->slots[i] & (size - 1);
        while (ids->slots[i] && slots[at])
            at = (at + 1) & (size - 1);
        if (ids->slots[i])
            slots[at] = ids->slots[i];
    }
    free(ids->slots);
    *ids = (struct ids){slots, size, ids->used};
    return true;
}

/* True: new. */
static bool ids_add(struct ids *ids, uint64_t hash)
{
    if (ids->used * 2 >= ids->size && !grow(ids))
        return true;
    size_t at = hash & (ids->size - 1);
    while (ids->slots[at] && ids->slots[at] != hash)
        at = (at + 1) & (ids->size - 1);
    bool fresh = ids->slots[at] == 0;
    ids->slots[at] = hash;
    ids->used += fresh;
    return fresh;
}

static struct str message_id(struct str message)
{
    size_t at = str_find_nocase(str_upto(message, 64 << 10), STR("\r\nX-Load-Id:"));
    if (at == STR_NPOS)
        return STR_NONE;
    struct str rest = str_from(message, at + 12);
    return str_trim(str_upto(rest, str_find_char(rest, '\r')));
}

/* A file has its name when it is whole: who reads the folder passes over what begins with a dot. */
static void store(struct sink *s, struct str id, struct str message)
{
    char part[512], path[512];
    snprintf(part, sizeof part, "%s/.part", s->o.messages);
    snprintf(path, sizeof path, "%s/%llu-%.*s", s->o.messages, (unsigned long long)s->messages, STR_FMT(str_upto(id, 100)));
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool whole = fd >= 0 && write(fd, message.p, message.n) == (ssize_t)message.n;
    if (fd >= 0)
        close(fd);
    if (!whole || rename(part, path))
        perror(path);
}

static bool chance(unsigned percent) { return percent > 0 && random_below(100) < percent; }

/* The end of a message. False: the connection is to be closed. */
static bool taken(struct client *c)
{
    struct sink *s = c->sink;
    struct str message = buf_str(&c->message), id = message_id(message);
    char line[256];
    if (s->o.delay_ms)
        clock_sleep_ms(s->o.delay_ms);
    if (chance(s->o.drop)) {
        s->dropped++;
        return false;
    }
    if (chance(s->o.temp)) {
        s->temp++;
        buf_add_z(&c->out, "451 4.3.0 not now\r\n");
        return true;
    }
    if (s->o.messages)
        store(s, id, message);
    s->messages++;
    s->recipients += c->rcpts;
    s->bytes += message.n;
    if (id.n == 0)
        s->unnamed++;
    else if (!ids_add(&s->seen, str_hash(id) | 1))
        s->doubled++;
    if (s->ids_fd >= 0) {
        int n = snprintf(line, sizeof line, "%.*s %zu %u\n", STR_FMT(str_upto(id, 150)), message.n, c->rcpts);
        if (write(s->ids_fd, line, (size_t)n) != n)
            perror("ids");
    }
    buf_add_z(&c->out, "250 2.0.0 taken\r\n");
    s->ended = s->o.count > 0 && s->messages >= s->o.count;
    return true;
}

static bool end_of_message(struct client *c)
{
    bool go_on = taken(c);
    c->data = c->in_chunk = false;
    c->rcpts = 0;
    if (c->message.cap > 1 << 20)
        buf_release(&c->message);
    buf_clear(&c->message);
    return go_on;
}

static bool is_grey(struct sink *s, struct str line)
{
    uint64_t hash = str_hash_nocase(line) | 1;
    int64_t now = clock_mono_ms();
    size_t at = hash % GREY_SLOTS;
    if (s->o.greylist_s == 0)
        return false;
    if (s->grey[at].hash != hash) {
        s->grey[at].hash = hash;
        s->grey[at].first_ms = now;
    }
    return now - s->grey[at].first_ms < (int64_t)s->o.greylist_s * 1000;
}

static void hello(struct client *c, bool extended)
{
    const struct options *o = &c->sink->o;
    if (!extended) {
        buf_add_z(&c->out, "250 sink\r\n");
        return;
    }
    buf_add_z(&c->out, "250-sink\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n");
    if (!o->no_pipelining)
        buf_add_z(&c->out, "250-PIPELINING\r\n");
    if (!o->no_chunking)
        buf_add_z(&c->out, "250-CHUNKING\r\n");
    if (o->dsn)
        buf_add_z(&c->out, "250-DSN\r\n");
    buf_add_z(&c->out, "250 SIZE 104857600\r\n");
}

static void rcpt(struct client *c, struct str line)
{
    if (is_grey(c->sink, line)) {
        buf_add_z(&c->out, "450 4.2.0 greylisted\r\n");
        return;
    }
    c->rcpts++;
    buf_add_z(&c->out, "250 2.1.5 ok\r\n");
}

static void bdat(struct client *c, struct str line)
{
    struct rd in = rd_of(str_from(line, 5));
    c->chunk = rd_decimal(&in);
    rd_skip_space(&in);
    c->bdat_last = rd_accept_nocase(&in, STR("LAST"));
    c->in_chunk = rd_ok(&in);
    if (!c->in_chunk)
        buf_add_z(&c->out, "501 5.5.4 BDAT size\r\n");
}

/* False: close. */
static bool command(struct client *c, struct str line)
{
    if (str_starts_nocase(line, STR("EHLO")) || str_starts_nocase(line, STR("LHLO"))) {
        hello(c, true);
    } else if (str_starts_nocase(line, STR("HELO"))) {
        hello(c, false);
    } else if (str_starts_nocase(line, STR("RCPT TO:"))) {
        rcpt(c, line);
    } else if (str_starts_nocase(line, STR("DATA"))) {
        c->data = c->rcpts > 0;
        dot_decoder_init(&c->dots, LINE_MAX_BYTES);
        buf_add_z(&c->out, c->data ? "354 go\r\n" : "554 5.5.1 no recipients\r\n");
    } else if (str_starts_nocase(line, STR("BDAT "))) {
        bdat(c, line);
    } else if (str_starts_nocase(line, STR("QUIT"))) {
        buf_add_z(&c->out, "221 bye\r\n");
        return false;
    } else {
        if (str_starts_nocase(line, STR("MAIL")) || str_starts_nocase(line, STR("RSET"))) {
            c->rcpts = 0;
            buf_clear(&c->message);
        }
        buf_add_z(&c->out, "250 2.0.0 ok\r\n");
    }
    return true;
}

static bool take_chunk(struct client *c, struct str *in)
{
    struct str piece = str_upto(*in, c->chunk);
    buf_add(&c->message, piece);
    c->chunk -= piece.n;
    *in = str_from(*in, piece.n);
    if (c->chunk > 0)
        return true;
    c->in_chunk = false;
    if (!c->bdat_last) {
        buf_add_z(&c->out, "250 2.0.0 more\r\n");
        return true;
    }
    if (c->rcpts > 0)
        return end_of_message(c);
    buf_add_z(&c->out, "554 5.5.1 no recipients\r\n");
    buf_clear(&c->message);
    return true;
}

/* Works on what has arrived. False: close. */
static bool work(struct client *c)
{
    struct str in = buf_str(&c->in);
    bool go_on = true;
    while (go_on && in.n > 0) {
        if (c->in_chunk) {
            go_on = take_chunk(c, &in);
        } else if (c->data) {
            in = str_from(in, dot_decode(&c->dots, in, &c->message));
            if (c->dots.done)
                go_on = end_of_message(c);
        } else {
            size_t at = str_find_char(in, '\n');
            if (at == STR_NPOS)
                break;
            struct str line = str_trim(str_upto(in, at));
            in = str_from(in, at + 1);
            go_on = command(c, line);
        }
        if (c->in_chunk && c->chunk == 0 && go_on)
            go_on = take_chunk(c, &in);
    }
    buf_drop_front(&c->in, c->in.n - in.n);
    return go_on && c->in.n < LINE_MAX_BYTES;
}

static void client_close(struct client *c)
{
    c->sink->open--;
    close(c->fd);
    buf_release(&c->in);
    buf_release(&c->out);
    buf_release(&c->message);
    free(c);
}

/* False: broken. */
static bool flush(struct client *c)
{
    while (c->out.n > 0) {
        ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0)
            return false;
        buf_drop_front(&c->out, (size_t)n);
    }
    bool writing = c->out.n > 0;
    if (writing != c->writing) {
        struct epoll_event event = {.events = EPOLLIN | (writing ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(c->sink->epoll, EPOLL_CTL_MOD, c->fd, &event);
        c->writing = writing;
    }
    return true;
}

static void client_ready(struct client *c)
{
    bool go_on = true;
    for (unsigned i = 0; i < 8 && go_on; i++) {
        char *to = buf_reserve(&c->in, 64 << 10);
        ssize_t n = to ? recv(c->fd, to, 64 << 10, 0) : -1;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            break;
        go_on = n > 0;
        if (n > 0) {
            buf_grew(&c->in, (size_t)n);
            go_on = work(c);
        }
        if (n < 64 << 10)
            break;
    }
    if (!flush(c) || !go_on)
        client_close(c);
}

static void accept_all(struct client *listener)
{
    struct sink *s = listener->sink;
    for (;;) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct client *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (!c || epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            free(c);
            close(fd);
            continue;
        }
        *c = (struct client){.kind = KIND_CLIENT, .fd = fd, .sink = s};
        buf_init(&c->in, LINE_MAX_BYTES + (64 << 10));
        buf_init(&c->out, 1 << 20);
        buf_init(&c->message, MESSAGE_MAX_BYTES);
        s->connections++;
        s->open++;
        buf_add_z(&c->out, "220 sink ESMTP\r\n");
        if (!flush(c))
            client_close(c);
    }
}

static bool listen_on(struct sink *s, unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct client *l = calloc(1, sizeof *l);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};
    if (fd < 0 || !l || inet_pton(AF_INET, s->o.host, &a.sin_addr) != 1)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    *l = (struct client){.kind = KIND_LISTENER, .fd = fd, .sink = s};
    return bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 4096) == 0 &&
           epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void report(const struct sink *s)
{
    printf("{\"messages\":%llu,\"distinct\":%zu,\"doubled\":%llu,\"unnamed\":%llu,\"recipients\":%llu,\"bytes\":%llu,"
           "\"connections\":%llu,\"temp\":%llu,\"dropped\":%llu}\n",
           (unsigned long long)s->messages, s->seen.used, (unsigned long long)s->doubled, (unsigned long long)s->unnamed,
           (unsigned long long)s->recipients, (unsigned long long)s->bytes, (unsigned long long)s->connections,
           (unsigned long long)s->temp, (unsigned long long)s->dropped);
    fflush(stdout);
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {{"host", 1, NULL, 'h'},          {"port", 1, NULL, 'p'},
                                          {"ports", 1, NULL, 'n'},         {"ids", 1, NULL, 'i'},
                                          {"messages", 1, NULL, 'm'},      {"count", 1, NULL, 'c'},
                                          {"no-pipelining", 0, NULL, 'P'}, {"no-chunking", 0, NULL, 'C'},
                                          {"dsn", 0, NULL, 'D'},           {"temp", 1, NULL, 't'},
                                          {"drop", 1, NULL, 'd'},          {"greylist", 1, NULL, 'g'},
                                          {"delay", 1, NULL, 'y'},         {0}};
    *o = (struct options){.host = "127.0.0.1", .port = 2525, .ports = 1};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        unsigned v = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        const char **text = c == 'h' ? &o->host : c == 'i' ? &o->ids : c == 'm' ? &o->messages : NULL;
        unsigned *number = c == 'p'   ? &o->port
                           : c == 'n' ? &o->ports
                           : c == 't' ? &o->temp
                           : c == 'd' ? &o->drop
                           : c == 'g' ? &o->greylist_s
                           : c == 'y' ? &o->delay_ms
                                      : NULL;
        bool *flag = c == 'P' ? &o->no_pipelining : c == 'C' ? &o->no_chunking : c == 'D' ? &o->dsn : NULL;
        if (text)
            *text = optarg;
        else if (number)
            *number = v;
        else if (flag)
            *flag = true;
        else if (c == 'c')
            o->count = strtoull(optarg, NULL, 10);
        else
            return false;
    }
    return optind == argc && o->ports > 0 && o->port + o->ports < 65536;
}

static bool start(struct sink *s)
{
    static struct client signals;
    sigset_t set;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &signals};
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC);
    signals = (struct client){.kind = KIND_SIGNAL, .fd = s->signals, .sink = s};
    s->ids_fd = s->o.ids ? open(s->o.ids, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->signals, &event) != 0)
        return false;
    for (unsigned i = 0; i < s->o.ports; i++)
        if (!listen_on(s, s->o.port + i))
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct sink *s = calloc(1, sizeof *s);
    if (!s || !parse(argc, argv, &s->o)) {
        fprintf(stderr, "smtp_sink: see the head of its source for the options\n");
        return 2;
    }
    if (!start(s)) {
        perror("smtp_sink");
        return 1;
    }
    while (!s->ended) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(s->epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (c->kind == KIND_SIGNAL)
                s->ended = true;
            else if (c->kind == KIND_LISTENER)
                accept_all(c);
            else
                client_ready(c);
        }
    }
    report(s);
    return 0;
}
