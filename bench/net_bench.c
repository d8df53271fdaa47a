/* What net/host alone can do: small requests and replies a second, and the memory of idle connections, plain and TLS.
 *
 *   net_bench rate [CONNECTIONS [SECONDS [PIPELINE]]]
 *   net_bench idle [CONNECTIONS] [tls]
 *
 * THREADS and RUNNING in the environment replace net { threads, threads_running }.
 *
 * The clients are a child process, so that the memory shown is the server's. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/host.h"
#include "rt/clock.h"
#include "rt/log.h"

/* ---- the server: answers each line with a short one ---- */

static enum session_outcome line_step(struct session *s, struct session_io *io)
{
    (void)s;
    io->timeout_ms = 1800000;
    if (io->event == SESSION_EV_START)
        buf_add_z(io->out, "hello\n");
    if (io->event == SESSION_EV_STOPPING || io->event == SESSION_EV_TIMEOUT)
        return SESSION_CLOSE;
    for (;;) {
        struct str rest = str_from(io->in, io->used);
        size_t end = str_find_char(rest, '\n');
        if (end == STR_NPOS)
            return io->in_full ? SESSION_CLOSE : SESSION_PARKED;
        io->used += end + 1;
        buf_add_z(io->out, "250 2.1.0 OK\r\n");
        if (buf_room(io->out) < SESSION_OUTPUT_LOW)
            return SESSION_OUTPUT;
    }
}

static void line_free(struct session *s) { free(s); }
static const struct session_class line_class = {"line", line_step, line_free};

static struct session *line_make(void *context, const struct session_peer *peer)
{
    (void)context, (void)peer;
    struct session *s = calloc(1, sizeof *s);
    if (s)
        s->class = &line_class;
    return s;
}

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_any(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) != 0 || listen(fd, 4096) != 0)
        die("listen");
    getsockname(fd, (struct sockaddr *)&a, &n);
    *port = ntohs(a.sin_port);
    return fd;
}

static int dial(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* ---- rate ---- */

static _Noreturn void rate_client(uint16_t port, int count, int seconds, int pipeline, int report)
{
    char request[4096] = {0}, reply[65536];
    int epoll = epoll_create1(0);
    uint64_t bytes = 0, want = (uint64_t)pipeline * 14;
    size_t *got = calloc((size_t)count, sizeof *got);
    int *fds = calloc((size_t)count, sizeof *fds);
    for (int i = 0; i < pipeline; i++)
        memcpy(request + i * 20, "MAIL FROM:<a@b.com>\n", 20);
    for (int i = 0; i < count; i++) {
        fds[i] = dial(port);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (read(fds[i], reply, 6) != 6 || epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &e) != 0 ||
            write(fds[i], request, (size_t)pipeline * 20) < 0)
            die("client");
    }
    int64_t end = clock_mono_ms() + seconds * 1000;
    while (clock_mono_ms() < end) {
        struct epoll_event e[64];
        int n = epoll_wait(epoll, e, 64, 1000);
        for (int i = 0; i < n; i++) {
            size_t k = e[i].data.u32;
            ssize_t r = read(fds[k], reply, sizeof reply);
            if (r <= 0)
                die("read");
            bytes += (uint64_t)r;
            got[k] += (size_t)r;
            if (got[k] >= want) {
                got[k] -= want;
                if (write(fds[k], request, (size_t)pipeline * 20) < 0)
                    die("write");
            }
        }
    }
    uint64_t replies = bytes / 14;
    if (write(report, &replies, sizeof replies) < 0)
        die("report");
    _exit(0);
}

static double cpu_seconds(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* ---- idle ---- */

static _Noreturn void idle_client(uint16_t port, int count, bool tls, int report, int go)
{
    char c;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    for (int i = 0; i < count; i++) {
        char hello[6];
        int fd = dial(port);
        if (tls) {
            SSL *ssl = SSL_new(ctx);
            SSL_set_fd(ssl, fd);
            if (SSL_connect(ssl) != 1 || SSL_read(ssl, hello, 6) != 6)
                die("SSL_connect");
        } else if (read(fd, hello, 6) != 6) {
            die("read");
        }
    }
    if (write(report, "+", 1) != 1 || read(go, &c, 1) < 0)
        die("report");
    _exit(0);
}

static long private_kb(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long kb = 0, n;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "Private_Dirty: %ld", &n) == 1)
            kb += n;
    if (f)
        fclose(f);
    return kb;
}

/* ---- */

static struct host *open_host(int fd, bool tls)
{
    struct err e = {0};
    struct host *h = NULL;
    struct tls_server *t = NULL;
    struct host_config config;
    host_config_load(&config);
    config.connections = 100000;
    if (getenv("THREADS"))
        config.threads = (unsigned)atoi(getenv("THREADS"));
    if (getenv("RUNNING"))
        config.running = (unsigned)atoi(getenv("RUNNING"));
    if (tls) {
        struct tls_certificate c = {"bench.example", "/tmp/net-bench-chain.pem", "/tmp/net-bench-key.pem"};
        if (tls_self_signed(c.host, c.chain, c.key, &e) != ST_OK || tls_server_new(&c, 1, &t, &e) != ST_OK)
            die(e.text);
    }
    struct host_listener l = {.fd = fd, .factory = {"line", line_make, NULL}, .tls = t, .implicit_tls = tls};
    if (host_new(&config, &h, &e) != ST_OK || host_listen(h, &l, &e) != ST_OK || host_start(h, &e) != ST_OK)
        die(e.text);
    return h;
}

int main(int argc, char **argv)
{
    bool idle = argc > 1 && strcmp(argv[1], "idle") == 0, tls = argc > 3 && strcmp(argv[3], "tls") == 0;
    int count = argc > 2 ? atoi(argv[2]) : idle ? 10000 : 50, seconds = !idle && argc > 3 ? atoi(argv[3]) : 5;
    int pipeline = !idle && argc > 4 ? atoi(argv[4]) : 1, up[2], down[2];
    struct rlimit files = {1 << 17, 1 << 17};
    uint16_t port;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    if (pipe(up) != 0 || pipe(down) != 0 || pipeline < 1 || pipeline > 200)
        die("pipe");
    int fd = listen_any(&port);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (idle)
            idle_client(port, count, tls, up[1], down[0]);
        rate_client(port, count, seconds, pipeline, up[1]);
    }
    struct host *h = open_host(fd, tls);
    long before = private_kb();
    if (idle) {
        char c;
        if (read(up[0], &c, 1) != 1)
            die("client");
        sleep(1);
        printf("%d idle %s connections: %.2f KB each\n", count, tls ? "TLS" : "plain", (double)(private_kb() - before) / count);
        if (write(down[1], "x", 1) != 1)
            die("client");
    } else {
        uint64_t replies = 0;
        if (read(up[0], &replies, sizeof replies) != sizeof replies)
            die("client");
        double cpu = cpu_seconds(RUSAGE_SELF);
        printf("%d connections, pipeline %d: %.0f replies/s, %.2f us of server CPU each\n", count, pipeline,
               (double)replies / seconds, cpu * 1e6 / (double)replies);
    }
    waitpid(child, NULL, 0);
    host_stop(h, 1000);
    host_free(h);
    return 0;
}
