/* Many IMAP connections in IDLE: what they cost and how fast news reach them.
 *
 *   imap_idle --port P --user U --password W --count N [--mailbox M] [--pid PID] [--deliveries D] [--spread]
 *
 * Opens N connections one after the other, logs in, selects the mailbox and sends IDLE. Prints the proportional set size of process
 * PID and all its children before and after, and for each connection; then appends D messages by a connection of its own and
 * measures for each watcher the time from sending the APPEND's last byte to the EXISTS line. --spread takes the client addresses
 * 127.1.x.y in turn, so that a limit for each address is not met. Output: one line of JSON. Exit status 1 if a watcher missed news
 * for 30 seconds. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
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

struct options {
    uint16_t port;
    const char *user, *password, *mailbox;
    int count, deliveries, pid;
    bool spread;
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

static int dial(const struct options *o, int number)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(o->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0)
        fail("socket");
    if (o->spread) {
        struct sockaddr_in from = {.sin_family = AF_INET,
                                   .sin_addr.s_addr =
                                       htonl(0x7f010001U + (uint32_t)(number % 200) * 256 + (uint32_t)(number / 200))};
        if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0)
            fail("bind");
    }
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Reads until a line starts with `tag`; fails when the answer is not OK (or +). */
static void await(int fd, const char *tag)
{
    char text[65536];
    size_t n = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 30000) <= 0)
            fail("no answer within 30 s");
        ssize_t got = read(fd, text + n, sizeof text - 1 - n);
        if (got <= 0)
            fail("connection closed");
        n += (size_t)got;
        text[n] = '\0';
        for (char *line = text, *end; (end = strstr(line, "\r\n")) != NULL; line = end + 2) {
            if (strncmp(line, tag, strlen(tag)) != 0)
                continue;
            if (*tag != '+' && *tag != '*' && strncmp(line + strlen(tag), "OK", 2) != 0) {
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

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        fail("write");
}

static int open_session(const struct options *o, int number)
{
    char line[512];
    int fd = dial(o, number);
    await(fd, "* OK");
    snprintf(line, sizeof line, "a LOGIN \"%s\" \"%s\"\r\n", o->user, o->password);
    say(fd, line);
    await(fd, "a ");
    snprintf(line, sizeof line, "b SELECT \"%s\"\r\n", o->mailbox);
    say(fd, line);
    await(fd, "b ");
    return fd;
}

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

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One APPEND; fills when[] with the milliseconds until each watcher's EXISTS. */
static void deliver(int writer, const int *fds, const struct options *o, int poller, double *when)
{
    static const char message[] = "Subject: news\r\nFrom: a@abcd.com\r\n\r\nnews\r\n";
    char line[512];
    int missing = o->count;
    memset(when, 0, sizeof *when * (size_t)o->count);
    snprintf(line, sizeof line, "c APPEND \"%s\" {%zu+}\r\n%s\r\n", o->mailbox, sizeof message - 1, message);
    double began = now_ms();
    say(writer, line);
    while (missing > 0) {
        struct epoll_event events[256];
        int n = epoll_wait(poller, events, 256, 30000);
        if (n <= 0)
            fail("a watcher missed the news for 30 s");
        for (int i = 0; i < n; i++) {
            char text[4096];
            int number = (int)events[i].data.u32;
            ssize_t got = read(fds[number], text, sizeof text - 1);
            if (got <= 0)
                fail("a watcher was disconnected");
            text[got] = '\0';
            if (when[number] == 0 && strstr(text, " EXISTS")) {
                when[number] = now_ms() - began;
                missing--;
            }
        }
    }
    await(writer, "c ");
}

static void watch(const struct options *o, const int *fds, int writer)
{
    int poller = epoll_create1(0);
    size_t total = (size_t)o->count * (size_t)o->deliveries, n = 0;
    double *all = calloc(total ? total : 1, sizeof *all), *when = calloc((size_t)o->count, sizeof *when);
    if (poller < 0 || !all || !when)
        fail("memory");
    for (int i = 0; i < o->count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fds[i], &e) != 0)
            fail("epoll");
    }
    for (int d = 0; d < o->deliveries; d++) {
        deliver(writer, fds, o, poller, when);
        memcpy(all + n, when, sizeof *when * (size_t)o->count);
        n += (size_t)o->count;
        usleep(50000);
    }
    qsort(all, n, sizeof *all, by_size);
    if (n)
        printf(", \"exists_ms_p50\": %.2f, \"exists_ms_p99\": %.2f, \"exists_ms_max\": %.2f", all[n / 2], all[n * 99 / 100],
               all[n - 1]);
    free(all);
    free(when);
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.mailbox = "INBOX", .count = 100, .deliveries = 0};
    static const struct option names[] = {{"port", 1, 0, 'p'},       {"user", 1, 0, 'u'},    {"password", 1, 0, 'w'},
                                          {"count", 1, 0, 'n'},      {"mailbox", 1, 0, 'm'}, {"pid", 1, 0, 'i'},
                                          {"deliveries", 1, 0, 'd'}, {"spread", 0, 0, 's'},  {0, 0, 0, 0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'p':
            o.port = (uint16_t)atoi(optarg);
            break;
        case 'u':
            o.user = optarg;
            break;
        case 'w':
            o.password = optarg;
            break;
        case 'n':
            o.count = atoi(optarg);
            break;
        case 'm':
            o.mailbox = optarg;
            break;
        case 'i':
            o.pid = atoi(optarg);
            break;
        case 'd':
            o.deliveries = atoi(optarg);
            break;
        case 's':
            o.spread = true;
            break;
        default:
            exit(2);
        }
    }
    if (!o.port || !o.user || !o.password || o.count < 1 || o.deliveries < 0) {
        fprintf(
            stderr,
            "usage: imap_idle --port P --user U --password W --count N [--mailbox M] [--pid PID] [--deliveries D] [--spread]\n");
        exit(2);
    }
    return o;
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int writer = open_session(&o, 0);
    usleep(300000);
    long before = o.pid ? pss_tree(o.pid, 0) : 0;
    double began = now_ms();
    int *fds = calloc((size_t)o.count, sizeof *fds);
    for (int i = 0; fds && i < o.count; i++) {
        fds[i] = open_session(&o, i);
        say(fds[i], "i IDLE\r\n");
        await(fds[i], "+");
    }
    if (!fds)
        fail("memory");
    printf("{\"connections\": %d, \"setup_ms\": %.0f", o.count, now_ms() - began);
    usleep(1000000);
    if (o.pid) {
        long after = pss_tree(o.pid, 0);
        printf(", \"pss_kb_before\": %ld, \"pss_kb_after\": %ld, \"kb_each\": %.2f", before, after,
               (double)(after - before) / o.count);
    }
    if (o.deliveries)
        watch(&o, fds, writer);
    printf("}\n");
    free(fds);
    return 0;
}
