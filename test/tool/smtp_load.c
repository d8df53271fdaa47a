/* A load generator for SMTP and LMTP: one thread, epoll, many clients; every message has an id of its own, so that loss and
 * duplicates can be found afterwards.
 *
 *   smtp_load [--host 127.0.0.1] [--port 2525] [--clients 20] [--messages 1000] [--mode connect|kept|pipelined] [--lmtp]
 *             [--from load@abcd.com] [--to user%u@xyz.com] [--spread 1] [--size BYTES] [--run NAME] [--acked FILE] [--helo NAME]
 *             [--body FILE] [--tls] [--login user%u@xyz.com --password W] [--cut PERMILLE]
 *
 * connect: a connection for each message; kept: one for each client, a round trip for each command; pipelined: MAIL, RCPT and DATA
 * at once. In --to each %u becomes a number from 1 to --spread, which goes with the message; in --from and --login one that goes
 * with the client. --tls is TLS from the start (RFC 8314), a full handshake for each connection; --login says AUTH PLAIN. --cut: of
 * so many in a thousand messages the client sends a part and is gone. Sizes without --size: half of the messages around 8 KB, some
 * 100 KB, few 1 MB. --acked gets the ids that were acknowledged, --body the text of which each message has the first X-Load-Size
 * bytes, so that it can be rebuilt and compared. Prints one line of JSON; latencies are from the first byte of a message's dialogue
 * (with connect: from the connection) to its acknowledgement, in microseconds. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "format/base64.h"
#include "rt/clock.h"
#include "rt/random.h"

enum { EVENTS = 256, BODY_MAX = 1 << 20, CLIENTS_MAX = 20000, LINE_BYTES = 76, HEADER_MAX = 4096 };

enum mode { MODE_CONNECT, MODE_KEPT, MODE_PIPELINED };

struct options {
    const char *host, *from, *to, *run, *acked, *helo, *body, *login, *password;
    unsigned port, clients, spread, cut;
    size_t size;
    uint64_t messages;
    enum mode mode;
    bool lmtp, tls;
};

struct load {
    struct options o;
    int epoll;
    SSL_CTX *ssl;
    FILE *acked;
    char *body; /* BODY_MAX bytes of base64-like lines */
    uint64_t begun, done, failed, lost, bytes;
    uint32_t *latency_us;
    unsigned running;
    int last_code;
};

/* What the next reply answers. */
enum step { STEP_GREETING, STEP_HELO, STEP_AUTH, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_END, STEP_QUIT };

struct client {
    struct load *load;
    unsigned index;
    int fd;
    SSL *ssl;
    enum step step;
    bool bad; /* the transaction is refused already */
    bool cut; /* goes away when `out` is sent */
    uint64_t number;
    size_t size;
    int64_t from_us;
    struct buf in, out;
};

static size_t pick_size(const struct options *o)
{
    if (o->size)
        return o->size < BODY_MAX ? o->size : BODY_MAX;
    uint64_t dice = random_below(1000);
    if (dice < 3)
        return BODY_MAX;
    if (dice < 40)
        return 100 << 10;
    return 1000 + random_below(14 << 10);
}

static void add_address(const struct options *o, const char *form, uint64_t number, struct buf *out)
{
    struct str rest = str_of(form);
    for (size_t at; (at = str_find(rest, STR("%u"))) != STR_NPOS; rest = str_from(rest, at + 2)) {
        buf_add(out, str_upto(rest, at));
        buf_add_u64(out, number % o->spread + 1);
    }
    buf_add(out, rest);
}

static void add_mail(struct client *c)
{
    buf_add_z(&c->out, "MAIL FROM:<");
    add_address(&c->load->o, c->load->o.from, c->index, &c->out);
    buf_add_z(&c->out, ">\r\n");
}

/* RFC 4954 4: AUTH PLAIN with an initial response (RFC 4616). */
static void add_auth(struct client *c)
{
    const struct options *o = &c->load->o;
    struct buf plain = BUF_INIT(1024);
    buf_add_c(&plain, '\0');
    add_address(o, o->login, c->index, &plain);
    buf_add_c(&plain, '\0');
    buf_add_z(&plain, o->password);
    buf_add_z(&c->out, "AUTH PLAIN ");
    base64_encode(buf_str(&plain), &c->out);
    buf_add_z(&c->out, "\r\n");
    buf_release(&plain);
}

static void add_rcpt(struct client *c)
{
    buf_add_z(&c->out, "RCPT TO:<");
    add_address(&c->load->o, c->load->o.to, c->number, &c->out);
    buf_add_z(&c->out, ">\r\n");
}

static size_t whole_lines(size_t size) { return size / (LINE_BYTES + 2) * (LINE_BYTES + 2); }

/* A message as they are: a dozen fields, a multipart with text and an attachment. */
static void add_message(struct client *c)
{
    const struct options *o = &c->load->o;
    struct buf *out = &c->out;
    buf_add_z(out, "Date: Thu, 21 May 2026 05:33:29 -0700\r\nFrom: Load <");
    add_address(o, o->from, c->index, out);
    buf_add_z(out, ">\r\nTo: ");
    add_address(o, o->to, c->number, out);
    buf_printf(out, "\r\nSubject: load %s %llu\r\nMessage-ID: <%s.%llu@load.test>\r\nX-Load-Id: %s-%llu\r\nX-Load-Size: %zu\r\n",
               o->run, (unsigned long long)c->number, o->run, (unsigned long long)c->number, o->run, (unsigned long long)c->number,
               whole_lines(c->size));
    buf_add_z(
        out, "MIME-Version: 1.0\r\nX-Mailer: smtp_load\r\nReply-To: nobody@load.test\r\nList-Id: <load.test>\r\n"
             "References: <one@load.test> <two@load.test>\r\nIn-Reply-To: <two@load.test>\r\n"
             "Content-Type: multipart/mixed; boundary=\"=_load\"\r\n\r\n--=_load\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
             "A text of a few words.\r\n.\r\n..and lines that begin with dots.\r\n\r\n--=_load\r\n"
             "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n");
}

static void add_stuffed_message(struct client *c)
{
    struct buf plain = c->out;
    c->out = BUF_INIT(HEADER_MAX + 4096);
    add_message(c);
    struct str text = buf_str(&c->out), line;
    while (str_split(&text, '\n', &line)) {
        if (line.n > 0 && line.p[0] == '.')
            buf_add_c(&plain, '.');
        buf_add(&plain, line);
        if (line.n > 0)
            buf_add_c(&plain, '\n');
    }
    buf_release(&c->out);
    c->out = plain;
    size_t whole = whole_lines(c->size);
    buf_add(&c->out, str_make(c->load->body, whole));
    buf_add_z(&c->out, "\r\n--=_load--\r\n.\r\n");
    c->load->bytes += whole;
}

static bool next_message(struct client *c)
{
    struct load *l = c->load;
    if (l->begun >= l->o.messages)
        return false;
    c->number = l->begun++;
    c->size = pick_size(&l->o);
    c->bad = false;
    if (l->o.mode != MODE_CONNECT)
        c->from_us = clock_mono_us();
    add_mail(c);
    c->step = STEP_MAIL;
    if (l->o.mode == MODE_PIPELINED) {
        add_rcpt(c);
        buf_add_z(&c->out, "DATA\r\n");
    }
    return true;
}

static void client_close(struct client *c)
{
    if (c->ssl && !c->cut)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static bool client_tls(struct client *c)
{
    c->ssl = SSL_new(c->load->ssl);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
        return false;
    SSL_set_connect_state(c->ssl);
    return true;
}

/* As recv() and send() on a socket that does not block; with TLS the handshake happens on the way. */
static ssize_t client_result(struct client *c, int n)
{
    if (n > 0)
        return n;
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return -1;
}

static ssize_t client_recv(struct client *c, char *to, size_t n)
{
    return c->ssl ? client_result(c, SSL_read(c->ssl, to, (int)n)) : recv(c->fd, to, n, 0);
}

static ssize_t client_send(struct client *c, const char *p, size_t n)
{
    return c->ssl ? client_result(c, SSL_write(c->ssl, p, (int)n)) : send(c->fd, p, n, MSG_NOSIGNAL);
}

static void client_end(struct client *c)
{
    c->load->running--;
    client_close(c);
}

static bool client_connect(struct client *c)
{
    const struct options *o = &c->load->o;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    int one = 1;
    inet_pton(AF_INET, o->host, &a.sin_addr);
    client_close(c);
    c->cut = false;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->step = STEP_GREETING;
    c->from_us = clock_mono_us();
    buf_clear(&c->in);
    buf_clear(&c->out);
    if (c->fd < 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    bool ok = connect(c->fd, (struct sockaddr *)&a, sizeof a) == 0 || errno == EINPROGRESS;
    ok = ok && (!c->load->ssl || client_tls(c));
    return ok && epoll_ctl(c->load->epoll, EPOLL_CTL_ADD, c->fd, &event) == 0;
}

/* The acknowledgement, or not. */
static void finished(struct client *c, int code)
{
    struct load *l = c->load;
    if (code / 100 == 2 && !c->bad) {
        int64_t us = clock_mono_us() - c->from_us;
        l->latency_us[l->done++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
        if (l->acked)
            fprintf(l->acked, "%s-%llu\n", l->o.run, (unsigned long long)c->number);
    } else {
        l->failed++;
        if (!c->bad) /* else the refusal of MAIL or RCPT is what matters */
            l->last_code = code;
    }
}

static void after_message(struct client *c)
{
    if (c->load->o.mode == MODE_CONNECT || !next_message(c)) {
        buf_add_z(&c->out, "QUIT\r\n");
        c->step = STEP_QUIT;
    }
}

static void refuse(struct client *c, int code)
{
    c->bad = true;
    c->load->last_code = code;
}

/* The session may send now, or may not. */
static bool ready(struct client *c, int code)
{
    if (code / 100 != 2) {
        c->load->last_code = code;
        return false;
    }
    if (!next_message(c)) {
        buf_add_z(&c->out, "QUIT\r\n");
        c->step = STEP_QUIT;
    }
    return true;
}

/* One whole reply. False: the connection has ended. */
static bool reply(struct client *c, int code)
{
    bool pipelined = c->load->o.mode == MODE_PIPELINED, good = code / 100 == 2;
    switch (c->step) {
    case STEP_GREETING:
        buf_printf(&c->out, "%s %s\r\n", c->load->o.lmtp ? "LHLO" : "EHLO", c->load->o.helo);
        c->step = STEP_HELO;
        return good;
    case STEP_HELO:
        if (good && c->load->o.login) {
            add_auth(c);
            c->step = STEP_AUTH;
            return true;
        }
        return ready(c, code);
    case STEP_AUTH:
        return ready(c, code);
    case STEP_MAIL:
        if (!good)
            refuse(c, code);
        c->step = STEP_RCPT;
        if (!pipelined)
            add_rcpt(c);
        return true;
    case STEP_RCPT:
        if (!good)
            refuse(c, code);
        c->step = STEP_DATA;
        if (!pipelined)
            buf_add_z(&c->out, "DATA\r\n");
        return true;
    case STEP_DATA:
        if (code == 354) {
            add_stuffed_message(c);
            c->step = STEP_END;
            c->cut = random_below(1000) < c->load->o.cut;
            if (c->cut)
                c->out.n = random_below(c->out.n);
        } else {
            c->bad = true;
            finished(c, code);
            after_message(c);
        }
        return true;
    case STEP_END:
        finished(c, code);
        after_message(c);
        return true;
    case STEP_QUIT:
        return false;
    }
    return false;
}

static bool replies(struct client *c)
{
    struct str in = buf_str(&c->in);
    for (size_t at; (at = str_find_char(in, '\n')) != STR_NPOS; in = str_from(in, at + 1)) {
        struct str line = str_upto(in, at);
        if (line.n < 3 || (line.n > 3 && line.p[3] == '-'))
            continue;
        int code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
        if (!reply(c, code))
            return false;
    }
    buf_drop_front(&c->in, c->in.n - in.n);
    return true;
}

static bool flush(struct client *c)
{
    size_t at = 0;
    while (at < c->out.n) {
        ssize_t n = client_send(c, c->out.p + at, c->out.n - at);
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    bool ok = at == c->out.n || errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN;
    buf_drop_front(&c->out, at);
    return ok && !(c->cut && c->out.n == 0);
}

static bool pump(struct client *c)
{
    for (;;) {
        char *to = buf_reserve(&c->in, 16 << 10);
        ssize_t n = to ? client_recv(c, to, 16 << 10) : -1;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN))
            return flush(c);
        if (n <= 0)
            return false;
        buf_grew(&c->in, (size_t)n);
        if (!replies(c) || !flush(c))
            return false;
    }
}

static void client_ready(struct client *c)
{
    if (pump(c))
        return;
    struct load *l = c->load;
    if (c->step > STEP_AUTH && c->step < STEP_QUIT)
        l->lost++; /* no acknowledgement for the message under way */
    bool again = l->begun < l->o.messages && c->step > STEP_AUTH;
    if (!again || !client_connect(c))
        client_end(c);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(struct load *l, int64_t took_us)
{
    qsort(l->latency_us, l->done, sizeof *l->latency_us, by_size);
    uint32_t p50 = l->done ? l->latency_us[l->done / 2] : 0, p99 = l->done ? l->latency_us[l->done * 99 / 100] : 0;
    double seconds = (double)took_us / 1e6;
    printf(
        "{\"acknowledged\":%llu,\"failed\":%llu,\"lost\":%llu,\"last_code\":%d,\"seconds\":%.3f,\"per_second\":%.1f,\"bytes\":%llu,"
        "\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n",
        (unsigned long long)l->done, (unsigned long long)l->failed, (unsigned long long)l->lost, l->last_code, seconds,
        (double)l->done / seconds, (unsigned long long)l->bytes, p50, p99, l->done ? l->latency_us[l->done - 1] : 0);
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {{"host", 1, NULL, 'h'},
                                          {"port", 1, NULL, 'p'},
                                          {"clients", 1, NULL, 'c'},
                                          {"messages", 1, NULL, 'n'},
                                          {"mode", 1, NULL, 'm'},
                                          {"lmtp", 0, NULL, 'l'},
                                          {"from", 1, NULL, 'f'},
                                          {"to", 1, NULL, 't'},
                                          {"spread", 1, NULL, 's'},
                                          {"size", 1, NULL, 'z'},
                                          {"run", 1, NULL, 'r'},
                                          {"acked", 1, NULL, 'a'},
                                          {"helo", 1, NULL, 'e'},
                                          {"body", 1, NULL, 'b'},
                                          {"tls", 0, NULL, 'T'},
                                          {"login", 1, NULL, 'u'},
                                          {"password", 1, NULL, 'w'},
                                          {"cut", 1, NULL, 'x'},
                                          {0}};
    static char run[32];
    snprintf(run, sizeof run, "%08x", (unsigned)random_u64());
    *o = (struct options){.host = "127.0.0.1",
                          .from = "load@abcd.com",
                          .to = "user%u@xyz.com",
                          .run = run,
                          .helo = "load.test",
                          .port = 2525,
                          .clients = 20,
                          .spread = 1,
                          .messages = 1000};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        const char **text = c == 'h'   ? &o->host
                            : c == 'f' ? &o->from
                            : c == 't' ? &o->to
                            : c == 'r' ? &o->run
                            : c == 'a' ? &o->acked
                            : c == 'e' ? &o->helo
                            : c == 'b' ? &o->body
                            : c == 'u' ? &o->login
                            : c == 'w' ? &o->password
                                       : NULL;
        unsigned *number = c == 'p' ? &o->port : c == 'c' ? &o->clients : c == 's' ? &o->spread : c == 'x' ? &o->cut : NULL;
        if (text)
            *text = optarg;
        else if (number)
            *number = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'n')
            o->messages = strtoull(optarg, NULL, 10);
        else if (c == 'z')
            o->size = strtoul(optarg, NULL, 10);
        else if (c == 'l')
            o->lmtp = true;
        else if (c == 'T')
            o->tls = true;
        else if (c == 'm')
            o->mode = optarg[0] == 'c' ? MODE_CONNECT : optarg[0] == 'k' ? MODE_KEPT : MODE_PIPELINED;
        else
            return false;
    }
    return optind == argc && o->clients > 0 && o->clients <= CLIENTS_MAX && o->spread > 0 && o->messages < UINT32_MAX &&
           (!o->login || o->password);
}

static bool prepare(struct load *l)
{
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->ssl = l->o.tls ? SSL_CTX_new(TLS_client_method()) : NULL; /* takes any certificate: it measures on loopback */
    if (l->ssl)
        SSL_CTX_set_mode(l->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    signal(SIGPIPE, SIG_IGN);
    l->latency_us = calloc(l->o.messages + 1, sizeof *l->latency_us);
    l->body = malloc(BODY_MAX);
    l->acked = l->o.acked ? fopen(l->o.acked, "ae") : NULL;
    if (l->acked)
        setvbuf(l->acked, NULL, _IOLBF, 0);
    if (l->epoll < 0 || !l->latency_us || !l->body || (l->o.acked && !l->acked) || (l->o.tls && !l->ssl))
        return false;
    random_bytes(l->body, BODY_MAX);
    for (size_t i = 0; i < BODY_MAX; i++) {
        size_t column = i % (LINE_BYTES + 2);
        l->body[i] = column == LINE_BYTES ? '\r' : column > LINE_BYTES ? '\n' : (char)('A' + (unsigned char)l->body[i] % 26);
    }
    FILE *body = l->o.body ? fopen(l->o.body, "we") : NULL;
    bool written = body && fwrite(l->body, 1, BODY_MAX, body) == BODY_MAX;
    return (!body || fclose(body) == 0) && (!l->o.body || written);
}

int main(int argc, char **argv)
{
    struct load l = {0};
    if (!parse(argc, argv, &l.o)) {
        fprintf(stderr, "smtp_load: see the head of its source for the options\n");
        return 2;
    }
    struct client *clients = calloc(l.o.clients, sizeof *clients);
    if (!clients || !prepare(&l)) {
        perror("smtp_load");
        return 1;
    }
    int64_t from = clock_mono_us();
    for (unsigned i = 0; i < l.o.clients; i++) {
        clients[i] = (struct client){.load = &l, .index = i, .fd = -1, .in = BUF_INIT(1 << 20), .out = BUF_INIT(2 * BODY_MAX)};
        l.running++;
        if (!client_connect(&clients[i]))
            client_end(&clients[i]);
    }
    while (l.running > 0) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(l.epoll, events, EVENTS, 60000);
        if (n == 0)
            break; /* nothing for a minute */
        for (int i = 0; i < n; i++)
            if (((struct client *)events[i].data.ptr)->fd >= 0)
                client_ready(events[i].data.ptr);
    }
    report(&l, clock_mono_us() - from);
    return l.done == l.o.messages ? 0 : 1;
}
