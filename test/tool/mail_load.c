/* A load generator for IMAP and POP3: lines that clients say over and over, each as soon as the one before is answered. It looks at
 * no more of an answer than it needs to find its end (literals are skipped, not searched), so that it costs little beside the
 * server.
 *
 *   mail_load --port P [--pop3] [--tls] [--clients N] [--count N] [--pipeline N] [--again] [--range N] [--user U] [--password W]
 *             [--setup LINE]... [--other-setup LINE]... [--other LINE]... [--before LINE]... --line LINE... [--literal FILE]
 *             [--save FILE]
 *
 * Each client connects, logs in, says the --setup lines, waits for the others, and then says the --line lines in turn, --count of
 * them, of which --pipeline are on their way at once. --again: a new connection with log-in and set-up for each of them, and these
 * count too. In lines and names %u becomes the number of the client, %n the number of the repetition, both from 1, %r a random
 * number from 1 to --range, %p the %r before, %v and %m the UIDVALIDITY and HIGHESTMODSEQ that the client was told last. Before
 * each line a second connection of the same user says the --other lines and the client the --before lines; neither is timed. A line
 * that ends with {} gets the octets of --literal as a non-synchronizing literal (RFC 7888).
 * --save writes what the server sent for the lines, of all clients. Prints one line of JSON: bytes are what was received,
 * "untagged" counts lines that begin with "* ", latencies are in microseconds. Exit status 1 if anything was refused. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "line_client.h"
#include "rt/clock.h"

enum { LINES_MAX = 16, INPUT_BYTES = 16 << 20, OUTPUT_MAX = 64 << 20, CLIENTS_MAX = 1000 };

struct options {
    const char *user, *password, *setup[LINES_MAX], *lines[LINES_MAX], *before[LINES_MAX], *other[LINES_MAX],
        *other_setup[LINES_MAX], *save;
    unsigned port, clients, count, pipeline, range, setup_count, line_count, before_count, other_count, other_setup_count;
    bool pop3, tls, again;
    struct buf literal;
    SSL_CTX *ssl;
    FILE *saving;
    pthread_barrier_t start;
    pthread_mutex_t saving_lock;
};

struct client {
    struct line_client link; /* first */
    struct options *o;
    unsigned number;
    pthread_t thread;
    uint64_t seed, drawn;
    struct buf out;
    unsigned tag, said;
    int64_t began_us, ended_us;
    uint64_t bytes, untagged, validity, modseq;
    struct client *other; /* owns; a second connection of the same user */
    uint32_t *latency_us;
    bool saving, is_other;
};

static _Noreturn void fail(const struct client *c, const char *what, struct str detail)
{
    fprintf(stderr, "mail_load: client %u: %s: %.*s\n", c->number, what, (int)(detail.n < 300 ? detail.n : 300), detail.p);
    exit(1);
}

/* ---- the connection ---- */

static void client_connect(struct client *c)
{
    if (!line_client_dial(&c->link, c->o->port, c->o->tls ? c->o->ssl : NULL))
        fail(c, "connecting", c->link.ssl ? STR("TLS handshake") : str_of(strerror(errno)));
}

static void client_send(struct client *c)
{
    if (!line_client_send(&c->link, buf_str(&c->out)))
        fail(c, "sending", str_of(strerror(errno)));
    buf_clear(&c->out);
}

/* More input behind what is there. */
static void client_receive(struct client *c)
{
    if (!line_client_receive(&c->link))
        fail(c, "receiving", STR("the server closed the connection, or a line is too long"));
}

static void received(struct line_client *link, struct str bytes)
{
    struct client *c = (struct client *)link; /* the link is its first member */
    c->bytes += bytes.n;
    if (!c->saving)
        return;
    pthread_mutex_lock(&c->o->saving_lock);
    fwrite(bytes.p, 1, bytes.n, c->o->saving);
    pthread_mutex_unlock(&c->o->saving_lock);
}

/* ---- answers ---- */

static struct str next_line(struct client *c)
{
    struct str line = line_client_next(&c->link);
    if (!line.p)
        fail(c, "receiving", STR("the server closed the connection, or a line is too long"));
    return line;
}

static void skip(struct client *c, uint64_t n)
{
    while (n > 0) {
        size_t have = c->link.end - c->link.at;
        size_t now = n < have ? (size_t)n : have;
        c->link.at += now;
        n -= now;
        if (n > 0)
            client_receive(c);
    }
}

static void note_code(struct str line, struct str name, uint64_t *value)
{
    struct str digits;
    size_t at = str_find(line, name);
    if (at == STR_NPOS)
        return;
    digits = str_from(line, at + name.n);
    size_t end = str_find_char(digits, ']');
    if (end != STR_NPOS)
        (void)str_to_u64(str_upto(digits, end), value);
}

/* `* OK [UIDVALIDITY n]` and `* OK [HIGHESTMODSEQ n]` */
static void note_codes(struct client *c, struct str line)
{
    if (!str_starts(line, STR("* OK [")))
        return;
    note_code(line, STR("[UIDVALIDITY "), &c->validity);
    note_code(line, STR("[HIGHESTMODSEQ "), &c->modseq);
}

static void imap_answer(struct client *c, unsigned tag)
{
    char text[16];
    struct str want = str_make(text, (size_t)snprintf(text, sizeof text, "q%u ", tag));
    for (bool begins = true;;) {
        struct str line = next_line(c);
        uint64_t size = line_literal(line);
        if (begins && line.n && line.p[0] == '*') {
            c->untagged++;
            note_codes(c, line);
        }
        if (begins && line.n && line.p[0] == 'q') {
            if (!str_starts(line, want) || !str_starts(str_from(line, want.n), STR("OK")))
                fail(c, "refused", line);
            return;
        }
        begins = size == 0;
        skip(c, size);
    }
}

/* Where CRLF "." CRLF begins, NULL: nowhere. Dots are rare in what the load generators send. */
static const char *end_mark(const char *p, size_t n)
{
    for (size_t at = 2; at + 2 < n; at++) {
        const char *dot = memchr(p + at, '.', n - 2 - at);
        if (!dot)
            return NULL;
        if (memcmp(dot - 2, "\r\n.\r\n", 5) == 0)
            return dot - 2;
        at = (size_t)(dot - p);
    }
    return NULL;
}

static void pop3_answer(struct client *c, bool multi_line)
{
    struct str line = next_line(c);
    if (!str_starts(line, STR("+OK")))
        fail(c, "refused", line);
    if (!multi_line)
        return;
    c->link.at -= 2; /* the end of a status line belongs to the end mark of an empty answer */
    for (;;) {
        const char *end = end_mark(c->link.in + c->link.at, c->link.end - c->link.at);
        if (end) {
            c->link.at = (size_t)(end - c->link.in) + 5;
            return;
        }
        if (c->link.end - c->link.at > 4)
            c->link.at = c->link.end - 4;
        client_receive(c);
    }
}

/* RFC 1939 3 */
static bool is_multi_line(const char *line)
{
    static const char *const verbs[] = {"RETR", "TOP", "LIST", "UIDL", "CAPA"};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strncmp(line, verbs[i], strlen(verbs[i])) == 0)
            return i < 2 || i == 4 || !strchr(line, ' ');
    return false;
}

/* ---- commands ---- */

static uint64_t draw(struct client *c) /* xorshift: free */
{
    c->seed ^= c->seed << 13;
    c->seed ^= c->seed >> 7;
    c->seed ^= c->seed << 17;
    return c->drawn = c->seed % c->o->range + 1;
}

static void add_text(struct client *c, const char *text)
{
    for (; *text; text++)
        if (text[0] == '%' && text[1] == 'u')
            buf_add_u64(&c->out, c->number), text++;
        else if (text[0] == '%' && text[1] == 'n')
            buf_add_u64(&c->out, c->said + 1), text++;
        else if (text[0] == '%' && text[1] == 'r')
            buf_add_u64(&c->out, draw(c)), text++;
        else if (text[0] == '%' && text[1] == 'p')
            buf_add_u64(&c->out, c->drawn), text++;
        else if (text[0] == '%' && text[1] == 'v')
            buf_add_u64(&c->out, c->validity), text++;
        else if (text[0] == '%' && text[1] == 'm')
            buf_add_u64(&c->out, c->modseq), text++;
        else if (text[0] == '{' && text[1] == '}')
            buf_printf(&c->out, "{%zu+}", c->o->literal.n), text++;
        else
            buf_add_c(&c->out, *text);
}

static void add_command(struct client *c, const char *line)
{
    if (!c->o->pop3)
        buf_printf(&c->out, "q%u ", ++c->tag);
    add_text(c, line);
    buf_add_z(&c->out, "\r\n");
    if (strstr(line, "{}")) {
        buf_add(&c->out, buf_str(&c->o->literal));
        buf_add_z(&c->out, "\r\n");
    }
}

static void say(struct client *c, const char *line)
{
    add_command(c, line);
    client_send(c);
    if (c->o->pop3)
        pop3_answer(c, is_multi_line(line));
    else
        imap_answer(c, c->tag);
}

static void say_all(struct client *c, const char *const *lines, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        say(c, lines[i]);
}

static void log_in(struct client *c)
{
    struct options *o = c->o;
    char line[512];
    client_connect(c);
    (void)next_line(c);
    if (o->pop3) {
        snprintf(line, sizeof line, "USER %s", o->user);
        say(c, line);
    }
    snprintf(line, sizeof line, o->pop3 ? "PASS %s%s" : "LOGIN %s %s", o->pop3 ? "" : o->user, o->password);
    say(c, line);
    say_all(c, c->is_other ? o->other_setup : o->setup, c->is_other ? o->other_setup_count : o->setup_count);
}

/* From the first command of `count` to the answer of the last; latency from when all were sent. */
static void say_lines(struct client *c, unsigned count)
{
    struct options *o = c->o;
    if (c->other)
        say_all(c->other, o->other, o->other_count);
    say_all(c, o->before, o->before_count);
    unsigned tag = c->tag, first = c->said;
    for (; c->said < first + count; c->said++)
        add_command(c, o->lines[c->said % o->line_count]);
    int64_t from_us = clock_mono_us();
    client_send(c);
    for (unsigned i = first; i < c->said; i++) {
        if (o->pop3)
            pop3_answer(c, is_multi_line(o->lines[i % o->line_count]));
        else
            imap_answer(c, ++tag);
        c->latency_us[i] = (uint32_t)(clock_mono_us() - from_us);
    }
}

static void work_again(struct client *c)
{
    while (c->said < c->o->count) {
        int64_t from_us = clock_mono_us();
        log_in(c);
        say_lines(c, 1);
        say(c, c->o->pop3 ? "QUIT" : "LOGOUT");
        line_client_hang_up(&c->link, false);
        c->latency_us[c->said - 1] = (uint32_t)(clock_mono_us() - from_us);
    }
}

static void work_on(struct client *c)
{
    const struct options *o = c->o;
    while (c->said < o->count)
        say_lines(c, o->count - c->said < o->pipeline ? o->count - c->said : o->pipeline);
}

static void *work(void *context)
{
    struct client *c = context;
    if (c->other)
        log_in(c->other);
    if (!c->o->again)
        log_in(c);
    c->bytes = c->untagged = 0;
    c->saving = c->o->saving != NULL;
    pthread_barrier_wait(&c->o->start);
    c->began_us = clock_mono_us();
    if (c->o->again)
        work_again(c);
    else
        work_on(c);
    c->ended_us = clock_mono_us();
    c->saving = false;
    if (!c->o->again) {
        say(c, c->o->pop3 ? "QUIT" : "LOGOUT");
        line_client_hang_up(&c->link, false);
    }
    return NULL;
}

/* ---- all ---- */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const struct options *o, const struct client *clients)
{
    size_t all = (size_t)o->clients * o->count;
    uint32_t *latency_us = malloc(all * sizeof *latency_us);
    int64_t began = INT64_MAX, ended = 0;
    uint64_t bytes = 0, untagged = 0;
    if (!latency_us)
        exit(1);
    for (unsigned i = 0; i < o->clients; i++) {
        const struct client *c = &clients[i];
        memcpy(latency_us + (size_t)i * o->count, c->latency_us, o->count * sizeof *latency_us);
        began = c->began_us < began ? c->began_us : began;
        ended = c->ended_us > ended ? c->ended_us : ended;
        bytes += c->bytes;
        untagged += c->untagged;
    }
    qsort(latency_us, all, sizeof *latency_us, by_size);
    double seconds = (double)(ended - began) / 1e6;
    printf("{\"commands\":%zu,\"seconds\":%.6f,\"per_second\":%.1f,\"bytes\":%llu,\"untagged\":%llu,\"p50_us\":%u,\"p99_us\":%u,"
           "\"max_us\":%u}\n",
           all, seconds, (double)all / seconds, (unsigned long long)bytes, (unsigned long long)untagged, latency_us[all / 2],
           latency_us[all * 99 / 100], latency_us[all - 1]);
    free(latency_us);
}

static bool read_literal(struct options *o, const char *path)
{
    FILE *f = fopen(path, "re");
    char *to;
    for (size_t n = 1; f && n > 0;) {
        to = buf_reserve(&o->literal, 64 << 10);
        n = to ? fread(to, 1, 64 << 10, f) : 0;
        buf_grew(&o->literal, n);
    }
    return f && fclose(f) == 0 && o->literal.n > 0;
}

static bool take_option(struct options *o, int c, char *value)
{
    unsigned *number = c == 'p'   ? &o->port
                       : c == 'c' ? &o->clients
                       : c == 'n' ? &o->count
                       : c == 'i' ? &o->pipeline
                       : c == 'r' ? &o->range
                                  : NULL;
    const char **text = c == 'u' ? &o->user : c == 'w' ? &o->password : c == 'v' ? &o->save : NULL;
    if (number)
        return (*number = (unsigned)strtoul(value, NULL, 10)) > 0;
    if (text)
        *text = value;
    else if (c == 's' && o->setup_count < LINES_MAX)
        o->setup[o->setup_count++] = value;
    else if (c == 'l' && o->line_count < LINES_MAX)
        o->lines[o->line_count++] = value;
    else if (c == 'b' && o->before_count < LINES_MAX)
        o->before[o->before_count++] = value;
    else if (c == 'o' && o->other_count < LINES_MAX)
        o->other[o->other_count++] = value;
    else if (c == 'e' && o->other_setup_count < LINES_MAX)
        o->other_setup[o->other_setup_count++] = value;
    else if (c == 'f')
        return read_literal(o, value);
    else
        return false;
    return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {{"port", 1, NULL, 'p'},     {"clients", 1, NULL, 'c'},     {"count", 1, NULL, 'n'},
                                          {"pipeline", 1, NULL, 'i'}, {"range", 1, NULL, 'r'},       {"user", 1, NULL, 'u'},
                                          {"password", 1, NULL, 'w'}, {"setup", 1, NULL, 's'},       {"line", 1, NULL, 'l'},
                                          {"save", 1, NULL, 'v'},     {"pop3", 0, NULL, '3'},        {"tls", 0, NULL, 't'},
                                          {"again", 0, NULL, 'a'},    {"literal", 1, NULL, 'f'},     {"before", 1, NULL, 'b'},
                                          {"other", 1, NULL, 'o'},    {"other-setup", 1, NULL, 'e'}, {0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        if (c == '3')
            o->pop3 = true;
        else if (c == 't')
            o->tls = true;
        else if (c == 'a')
            o->again = true;
        else if (!take_option(o, c, optarg))
            return false;
    }
    return optind == argc && o->port && o->line_count && o->clients <= CLIENTS_MAX;
}

static bool prepare(struct options *o)
{
    pthread_mutex_init(&o->saving_lock, NULL);
    pthread_barrier_init(&o->start, NULL, o->clients);
    o->ssl = o->tls ? SSL_CTX_new(TLS_client_method()) : NULL; /* takes any certificate: it measures on loopback */
    o->saving = o->save ? fopen(o->save, "we") : NULL;
    return (!o->tls || o->ssl) && (!o->save || o->saving);
}

static void client_init(struct client *c, struct options *o, unsigned number)
{
    *c = (struct client){
        .o = o, .number = number, .seed = (uint64_t)clock_mono_us() * 4096 + number + 1, .out = BUF_INIT(OUTPUT_MAX)};
    c->link = (struct line_client){.fd = -1, .in = malloc(INPUT_BYTES), .in_max = INPUT_BYTES, .received = received};
    c->latency_us = calloc(o->count, sizeof *c->latency_us);
    if (!c->link.in || !c->latency_us)
        fail(c, "starting", STR("out of memory"));
}

static void client_start(struct client *c, struct options *o, unsigned number)
{
    client_init(c, o, number);
    if (o->other_count > 0) {
        c->other = malloc(sizeof *c->other);
        if (!c->other)
            fail(c, "starting", STR("out of memory"));
        client_init(c->other, o, number);
        c->other->is_other = true;
    }
    if (pthread_create(&c->thread, NULL, work, c) != 0)
        fail(c, "starting", STR("no thread"));
}

int main(int argc, char **argv)
{
    static struct options o = {
        .user = "user%u@xyz.com", .password = "vegetables", .clients = 1, .count = 1, .pipeline = 1, .range = 1};
    o.literal = BUF_INIT(OUTPUT_MAX);
    if (!parse(argc, argv, &o) || !prepare(&o)) {
        fprintf(stderr, "usage: see the top of test/tool/mail_load.c\n");
        return 2;
    }
    struct client *clients = calloc(o.clients, sizeof *clients);
    for (unsigned i = 0; clients && i < o.clients; i++)
        client_start(&clients[i], &o, i + 1);
    for (unsigned i = 0; clients && i < o.clients; i++)
        pthread_join(clients[i].thread, NULL);
    bool saved = !o.saving || fclose(o.saving) == 0;
    if (clients)
        report(&o, clients);
    return clients && saved ? 0 : 1;
}
