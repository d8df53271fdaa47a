/* Many IMAP connections in IDLE: what they cost and how fast news reach them.
 *
 *   imap_idle --port P --user U --password W --count N [--mailbox M] [--tls] [--pid PID,PID...] [--wait MS] [--accounts A]
 *             [--first F] [--deliveries D [--smtp P]] [--spread]
 *
 * Opens N connections one after the other, logs in, selects the mailbox and sends IDLE. In --user %u becomes a number from F on, in
 * turn, of A numbers. Prints the proportional set size of the processes PID and all their children before, and --wait milliseconds
 * (1,000) after the last connection, and the difference for each connection. Then D messages are delivered, to one user after the
 * other, by an APPEND or with --smtp over one SMTP connection, and for each watcher of that user the time is measured from sending
 * the last byte to the EXISTS line. --spread takes the client addresses 127.1.x.y in turn, so that a limit for each address is not
 * met. Output: one line of JSON. Exit status 1 if a watcher missed news for 30 seconds. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 300, SETTLE_US = 50000, PATIENCE_MS = 30000 };

struct options {
    uint16_t port, smtp;
    const char *user, *password, *mailbox, *pids;
    int count, deliveries, wait_ms, accounts, first;
    bool spread, tls;
    SSL_CTX *ssl;
};

struct link {
    int fd;
    SSL *ssl; /* NULL: plain */
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "imap_idle: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- one connection ---- */

static struct link dial(const struct options *o, uint16_t port, int number)
{
    struct link l = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    int one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (l.fd < 0)
        fail("socket");
    if (o->spread) {
        struct sockaddr_in from = {.sin_family = AF_INET,
                                   .sin_addr.s_addr =
                                       htonl(0x7f010001U + (uint32_t)(number % 200) * 256 + (uint32_t)(number / 200))};
        if (bind(l.fd, (struct sockaddr *)&from, sizeof from) != 0)
            fail("bind");
    }
    if (connect(l.fd, (struct sockaddr *)&to, sizeof to) != 0)
        fail("connect");
    setsockopt(l.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!o->tls || port != o->port)
        return l;
    l.ssl = SSL_new(o->ssl);
    if (!l.ssl || SSL_set_fd(l.ssl, l.fd) != 1 || SSL_connect(l.ssl) != 1)
        fail("TLS handshake");
    return l;
}

static ssize_t receive(const struct link *l, char *to, size_t n)
{
    return l->ssl ? SSL_read(l->ssl, to, (int)n) : read(l->fd, to, n);
}

/* Reads until a line starts with `tag`; fails when the answer is not OK (or +, or an SMTP code). */
static void await(const struct link *l, const char *tag)
{
    char text[65536];
    size_t n = 0;
    for (;;) {
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        if (!(l->ssl && SSL_pending(l->ssl)) && poll(&p, 1, PATIENCE_MS) <= 0)
            fail("no answer within 30 s");
        ssize_t got = receive(l, text + n, sizeof text - 1 - n);
        if (got <= 0)
            fail("connection closed");
        n += (size_t)got;
        text[n] = '\0';
        for (char *line = text, *end; (end = strstr(line, "\r\n")) != NULL; line = end + 2) {
            if (strncmp(line, tag, strlen(tag)) != 0)
                continue;
            if (tag[0] >= 'a' && tag[0] <= 'z' && strncmp(line + strlen(tag), "OK", 2) != 0) {
                fprintf(stderr, "imap_idle: %.200s\n", line);
                exit(1);
            }
            return;
        }
        if (n > sizeof text / 2) {
            memmove(text, text + n - 1024, 1025);
            n = 1024;
        }
    }
}

static void say(const struct link *l, const char *text)
{
    size_t n = strlen(text);
    ssize_t sent = l->ssl ? SSL_write(l->ssl, text, (int)n) : write(l->fd, text, n);
    if (sent != (ssize_t)n)
        fail("write");
}

/* The name of the account that connection or delivery `number` uses. */
static void user_name(const struct options *o, int number, char *to)
{
    const char *mark = strstr(o->user, "%u");
    if (mark)
        snprintf(to, NAME_MAX_BYTES, "%.*s%d%s", (int)(mark - o->user), o->user, o->first + number % o->accounts, mark + 2);
    else
        snprintf(to, NAME_MAX_BYTES, "%s", o->user);
}

static struct link open_session(const struct options *o, int number)
{
    char line[1024], user[NAME_MAX_BYTES];
    struct link l = dial(o, o->port, number);
    user_name(o, number, user);
    await(&l, "* OK");
    snprintf(line, sizeof line, "a LOGIN \"%s\" \"%s\"\r\n", user, o->password);
    say(&l, line);
    await(&l, "a ");
    snprintf(line, sizeof line, "b SELECT \"%s\"\r\n", o->mailbox);
    say(&l, line);
    await(&l, "b ");
    return l;
}

/* ---- memory ---- */

static long pss_of(int pid)
{
    char path[64], line[256];
    long total = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "Pss: %ld", &total) == 1)
            break;
    if (f)
        fclose(f);
    return total;
}

/* PSS in KB of pid and everything below it. */
static long pss_tree(int pid, int depth)
{
    char path[128];
    long total = pss_of(pid);
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = depth < 8 ? opendir(path) : NULL;
    for (struct dirent *entry; tasks && (entry = readdir(tasks)) != NULL;) {
        char children[512];
        snprintf(children, sizeof children, "/proc/%d/task/%s/children", pid, entry->d_name);
        FILE *f = entry->d_name[0] == '.' ? NULL : fopen(children, "r");
        for (int child; f && fscanf(f, "%d", &child) == 1;)
            total += pss_tree(child, depth + 1);
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return total;
}

static long pss_all(const char *pids)
{
    long total = 0;
    for (char *end; *pids; pids = *end ? end + 1 : end)
        total += pss_tree((int)strtol(pids, &end, 10), 0);
    return total;
}

/* ---- news ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct watch {
    const struct options *o;
    struct link *links, writer;
    int poller;
    double *when; /* of each watcher, 0: not yet */
};

/* Sends one message to the user of delivery `number`; returns when its last byte was sent. */
static double send_message(struct watch *w, int number)
{
    static const char message[] = "Subject: news\r\nFrom: a@abcd.com\r\n\r\nnews\r\n";
    char line[2048], user[NAME_MAX_BYTES];
    user_name(w->o, number, user);
    if (w->o->smtp) {
        snprintf(line, sizeof line, "MAIL FROM:<a@abcd.com>\r\nRCPT TO:<%s>\r\nDATA\r\n", user);
        say(&w->writer, line);
        await(&w->writer, "354");
        snprintf(line, sizeof line, "%s.\r\n", message);
    } else {
        snprintf(line, sizeof line, "c APPEND \"%s\" {%zu+}\r\n%s\r\n", w->o->mailbox, sizeof message - 1, message);
    }
    double began = now_ms();
    say(&w->writer, line);
    return began;
}

/* One delivery; fills when[] of the watchers of its user, and returns how many these are. */
static int deliver(struct watch *w, int number)
{
    const struct options *o = w->o;
    int watchers = 0, missing;
    memset(w->when, 0, sizeof *w->when * (size_t)o->count);
    for (int i = number % o->accounts; i < o->count; i += o->accounts)
        watchers++;
    double began = send_message(w, number);
    for (missing = watchers; missing > 0;) {
        struct epoll_event events[256];
        int n = epoll_wait(w->poller, events, 256, PATIENCE_MS);
        if (n <= 0)
            fail("a watcher missed the news for 30 s");
        for (int i = 0; i < n; i++) {
            char text[4096];
            int k = (int)events[i].data.u32;
            ssize_t got = receive(&w->links[k], text, sizeof text - 1);
            if (got <= 0)
                fail("a watcher was disconnected");
            text[got] = '\0';
            if (k % o->accounts == number % o->accounts && w->when[k] == 0 && strstr(text, " EXISTS")) {
                w->when[k] = now_ms() - began;
                missing--;
            }
        }
    }
    await(&w->writer, o->smtp ? "250" : "c ");
    return watchers;
}

static struct link open_writer(const struct options *o)
{
    if (!o->smtp)
        return open_session(o, 0);
    struct link l = dial(o, o->smtp, 0);
    await(&l, "220");
    say(&l, "EHLO idle.test\r\n");
    await(&l, "250 ");
    return l;
}

static void watch(struct watch *w)
{
    const struct options *o = w->o;
    size_t n = 0;
    double *all = calloc((size_t)o->count * (size_t)o->deliveries, sizeof *all);
    w->when = calloc((size_t)o->count, sizeof *w->when);
    w->poller = epoll_create1(0);
    if (w->poller < 0 || !all || !w->when)
        fail("memory");
    for (int i = 0; i < o->count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(w->poller, EPOLL_CTL_ADD, w->links[i].fd, &e) != 0)
            fail("epoll");
    }
    for (int d = 0; d < o->deliveries; d++) {
        int watchers = deliver(w, d);
        for (int i = 0; i < o->count && watchers > 0; i++)
            if (w->when[i] > 0)
                all[n++] = w->when[i];
        usleep(SETTLE_US);
    }
    qsort(all, n, sizeof *all, by_size);
    if (n)
        printf(", \"exists_ms_p50\": %.2f, \"exists_ms_p99\": %.2f, \"exists_ms_max\": %.2f", all[n / 2], all[n * 99 / 100],
               all[n - 1]);
    free(all);
    free(w->when);
}

/* ---- all ---- */

static bool take_option(struct options *o, int c, char *value)
{
    const char **text = c == 'u' ? &o->user : c == 'w' ? &o->password : c == 'm' ? &o->mailbox : c == 'i' ? &o->pids : NULL;
    int *number = c == 'n'   ? &o->count
                  : c == 'd' ? &o->deliveries
                  : c == 't' ? &o->wait_ms
                  : c == 'a' ? &o->accounts
                  : c == 'f' ? &o->first
                             : NULL;
    uint16_t *port = c == 'p' ? &o->port : c == 'q' ? &o->smtp : NULL;
    bool *flag = c == 's' ? &o->spread : c == 'T' ? &o->tls : NULL;
    if (text)
        *text = value;
    else if (number)
        *number = atoi(value);
    else if (port)
        *port = (uint16_t)atoi(value);
    else if (flag)
        *flag = true;
    return text || number || port || flag;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'},     {"user", 1, 0, 'u'},       {"password", 1, 0, 'w'}, {"count", 1, 0, 'n'}, {"mailbox", 1, 0, 'm'},
        {"pid", 1, 0, 'i'},      {"deliveries", 1, 0, 'd'}, {"spread", 0, 0, 's'},   {"tls", 0, 0, 'T'},   {"wait", 1, 0, 't'},
        {"accounts", 1, 0, 'a'}, {"first", 1, 0, 'f'},      {"smtp", 1, 0, 'q'},     {0, 0, 0, 0}};
    *o = (struct options){.mailbox = "INBOX", .count = 100, .wait_ms = 1000, .accounts = 1, .first = 1};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
        if (!take_option(o, c, optarg))
            return false;
    o->ssl = o->tls ? SSL_CTX_new(TLS_client_method()) : NULL; /* takes any certificate: it measures on loopback */
    return o->port && o->user && o->password && o->count > 0 && o->deliveries >= 0 && o->accounts > 0 && (!o->tls || o->ssl) &&
           (o->smtp || o->accounts == 1 || !o->deliveries);
}

int main(int argc, char **argv)
{
    struct options o;
    struct rlimit files;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: see the top of test/tool/imap_idle.c\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct watch w = {.o = &o, .writer = open_writer(&o), .links = calloc((size_t)o.count, sizeof *w.links)};
    if (!w.links)
        fail("memory");
    usleep(300000);
    long before = o.pids ? pss_all(o.pids) : 0;
    double began = now_ms();
    for (int i = 0; i < o.count; i++) {
        w.links[i] = open_session(&o, i);
        say(&w.links[i], "i IDLE\r\n");
        await(&w.links[i], "+");
    }
    printf("{\"connections\": %d, \"setup_ms\": %.0f", o.count, now_ms() - began);
    fflush(stdout);
    usleep((useconds_t)o.wait_ms * 1000);
    if (o.pids) {
        long after = pss_all(o.pids);
        printf(", \"pss_kb_before\": %ld, \"pss_kb_after\": %ld, \"kb_each\": %.2f", before, after,
               (double)(after - before) / o.count);
    }
    if (o.deliveries)
        watch(&w);
    printf("}\n");
    free(w.links);
    return 0;
}
