/* The whole queue with its threads against a server on loopback that is moody: greylists, refuses at each stage, closes at any
 * byte, is slow. Every message arrives, and is acknowledged exactly once. */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "dns/resolver.h"
#include "format/dot.h"
#define TESTING_REAL_CLOCK
#include "queue/testing.h"
#include "rt/random.h"

enum { MESSAGES = 300, SENDERS = 4, CONNECTIONS_MAX = 4096, WAIT_S = 120 };

enum mood { MOOD_GOOD, MOOD_PLAIN, MOOD_BDAT, MOOD_CLOSES, MOOD_GREY, MOOD_BUSY, MOOD_SLOW, MOOD_REFUSES, MOOD_FULL, MOODS };

struct peer {
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_bool stopping;
    atomic_uint connections;
    pthread_t clients[CONNECTIONS_MAX];
    pthread_mutex_t lock;
    unsigned acknowledged[MESSAGES], seen[MESSAGES]; /* by number; seen: RCPT, for the greylist */
    unsigned unsure;                                 /* taken, but the answer did not get out */
    bool always_good;
};

struct guest {
    struct peer *peer;
    int fd;
    enum mood mood;
    size_t bytes_left; /* until it closes */
    struct buf in, message;
    unsigned rcpts, messages;
    bool mail;
};

static bool send_all(struct guest *g, const char *text)
{
    struct str s = str_of(text);
    while (s.n > 0) {
        size_t n = g->mood == MOOD_SLOW ? 1 : s.n;
        n = n < g->bytes_left ? n : g->bytes_left;
        ssize_t sent = n ? send(g->fd, s.p, n, MSG_NOSIGNAL) : -1;
        if (sent <= 0)
            return false;
        s = str_from(s, (size_t)sent);
        g->bytes_left -= (size_t)sent;
        if (g->mood == MOOD_SLOW)
            usleep(200);
    }
    return true;
}

static bool more(struct guest *g)
{
    struct pollfd p = {.fd = g->fd, .events = POLLIN};
    char *to = buf_reserve(&g->in, 4096);
    while (!atomic_load(&g->peer->stopping)) {
        if (poll(&p, 1, 50) <= 0)
            continue;
        ssize_t n = to ? recv(g->fd, to, 4096, 0) : 0;
        if (n > 0)
            buf_grew(&g->in, (size_t)n);
        return n > 0;
    }
    return false;
}

static bool read_line(struct guest *g, char out[512])
{
    size_t at;
    while ((at = str_find(buf_str(&g->in), STR("\r\n"))) == STR_NPOS)
        if (!more(g))
            return false;
    snprintf(out, 512, "%.*s", (int)at, g->in.p);
    buf_drop_front(&g->in, at + 2);
    return true;
}

static bool acknowledge(struct guest *g)
{
    struct peer *peer = g->peer;
    if (g->mood == MOOD_FULL && random_below(2))
        return send_all(g, "452 4.3.1 full\r\n");
    bool sent = send_all(g, "250 2.0.0 taken\r\n");
    size_t at = str_find(buf_str(&g->message), STR("X-Number: "));
    check(at != STR_NPOS); /* an assertion of cmocka belongs to the main thread */
    unsigned number = (unsigned)strtoul(g->message.p + at + 10, NULL, 10);
    check(number < MESSAGES);
    pthread_mutex_lock(&peer->lock);
    if (sent)
        peer->acknowledged[number]++;
    else
        peer->unsure++;
    pthread_mutex_unlock(&peer->lock);
    g->messages++;
    return sent;
}

static bool take_data(struct guest *g)
{
    struct dot_decoder dots;
    if (g->rcpts == 0)
        return send_all(g, "503 5.5.1 no recipients\r\n");
    if (g->mood == MOOD_REFUSES && random_below(3) == 0)
        return send_all(g, "451 4.3.0 not now\r\n");
    if (!send_all(g, "354 go\r\n"))
        return false;
    dot_decoder_init(&dots, 1000);
    buf_clear(&g->message);
    for (;;) {
        buf_drop_front(&g->in, dot_decode(&dots, buf_str(&g->in), &g->message));
        if (dots.done)
            break;
        if (!more(g))
            return false;
    }
    return acknowledge(g);
}

static bool take_bdat(struct guest *g, const char *line)
{
    size_t size = strtoul(line + 5, NULL, 10);
    while (g->in.n < size)
        if (!more(g))
            return false;
    buf_clear(&g->message);
    buf_add(&g->message, str_upto(buf_str(&g->in), size));
    buf_drop_front(&g->in, size);
    return g->rcpts ? acknowledge(g) : send_all(g, "503 5.5.1 no recipients\r\n");
}

static bool take_rcpt(struct guest *g, const char *line)
{
    const char *digits = strpbrk(line, "0123456789");
    unsigned number = digits ? (unsigned)strtoul(digits, NULL, 10) : 0;
    if (!g->mail)
        return send_all(g, "503 5.5.1 no sender\r\n");
    if (g->mood == MOOD_REFUSES && random_below(3) == 0)
        return send_all(g, "450 4.2.1 not now\r\n");
    if (g->mood == MOOD_GREY && number < MESSAGES) {
        pthread_mutex_lock(&g->peer->lock);
        bool grey = g->peer->seen[number]++ == 0;
        pthread_mutex_unlock(&g->peer->lock);
        if (grey)
            return send_all(g, "450 4.2.0 greylisted\r\n");
    }
    g->rcpts++;
    return send_all(g, "250 2.1.5 ok\r\n");
}

static bool answer(struct guest *g, const char *line)
{
    if (strncmp(line, "EHLO", 4) == 0) {
        if (g->mood == MOOD_PLAIN)
            return send_all(g, "500 what\r\n");
        return send_all(g, g->mood == MOOD_BDAT ? "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n" : "250-mx\r\n250 PIPELINING\r\n");
    }
    if (strncmp(line, "MAIL", 4) == 0) {
        g->rcpts = 0;
        g->mail = false;
        if (g->mood == MOOD_REFUSES && random_below(3) == 0)
            return send_all(g, "451 4.3.0 not now\r\n");
        if (g->mood == MOOD_BUSY && g->messages >= 2)
            return send_all(g, "421 4.3.2 enough\r\n") && false;
        g->mail = true;
        return send_all(g, "250 2.1.0 ok\r\n");
    }
    if (strncmp(line, "RCPT", 4) == 0)
        return take_rcpt(g, line);
    if (strcmp(line, "DATA") == 0)
        return take_data(g);
    if (strncmp(line, "BDAT ", 5) == 0)
        return take_bdat(g, line);
    if (strcmp(line, "QUIT") == 0)
        return send_all(g, "221 bye\r\n") && false;
    return send_all(g, "250 2.0.0 ok\r\n");
}

static void *guest_main(void *context)
{
    struct guest *g = context;
    char line[512];
    buf_init(&g->in, 1 << 20);
    buf_init(&g->message, 1 << 20);
    if (send_all(g, "220 mx\r\n"))
        while (read_line(g, line) && answer(g, line))
            continue;
    close(g->fd);
    buf_release(&g->in);
    buf_release(&g->message);
    free(g);
    return NULL;
}

static void *peer_main(void *context)
{
    struct peer *peer = context;
    struct pollfd p = {.fd = peer->listener, .events = POLLIN};
    while (!atomic_load(&peer->stopping)) {
        if (poll(&p, 1, 50) <= 0)
            continue;
        int fd = accept(peer->listener, NULL, NULL);
        unsigned n = atomic_load(&peer->connections);
        struct guest *g = fd >= 0 && n < CONNECTIONS_MAX ? calloc(1, sizeof *g) : NULL;
        if (!g) {
            close(fd);
            continue;
        }
        enum mood mood = peer->always_good ? MOOD_BDAT : (enum mood)(n % MOODS);
        *g = (struct guest){.peer = peer, .fd = fd, .mood = mood, .bytes_left = SIZE_MAX};
        if (mood == MOOD_CLOSES)
            g->bytes_left = (size_t)random_below(400);
        if (pthread_create(&peer->clients[n], NULL, guest_main, g) == 0)
            atomic_fetch_add(&peer->connections, 1);
    }
    return NULL;
}

static void peer_open(struct peer *peer)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    pthread_mutex_init(&peer->lock, NULL);
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(peer->listener, 128), 0);
    assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&a, &size), 0);
    peer->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&peer->thread, NULL, peer_main, peer), 0);
}

static void peer_close(struct peer *peer)
{
    atomic_store(&peer->stopping, true);
    pthread_join(peer->thread, NULL);
    for (unsigned i = 0; i < atomic_load(&peer->connections); i++)
        pthread_join(peer->clients[i], NULL);
    close(peer->listener);
    pthread_mutex_destroy(&peer->lock);
}

static void use_settings(const struct peer *peer)
{
    char text[1000];
    struct settings *settings;
    struct err e = {0};
    snprintf(text, sizeof text,
             "queue { retry_first = 1s retry_max = 10s host_pause = 100ms connection_idle = 100ms threads = 8 per_destination = 4 "
             "greeting_timeout = 5s command_timeout = 5s data_timeout = 5s }\n"
             "route \"*\" { host = \"127.0.0.1\" port = %u }\n",
             peer->port);
    OK(&e, settings_parse("test", str_of(text), &settings, &e));
    settings_use(&settings);
}

struct sender {
    struct queue *q;
    unsigned first;
    pthread_t thread;
};

static void *sender_main(void *context)
{
    const struct sender *s = context;
    for (unsigned i = s->first; i < MESSAGES; i += SENDERS) {
        char bytes[3000], address[64], id[24];
        int n = snprintf(bytes, sizeof bytes, "Subject: test\r\nX-Number: %u\r\n\r\n.\r\n%2000d\r\n", i, 1);
        snprintf(address, sizeof address, "%u@d%c.test", i, 'a' + (int)(i % 7));
        struct accept_recipient r = {.address = str_of(address), .route = {.kind = DIRECTORY_REMOTE}};
        struct accept_envelope envelope = {
            .reverse_path = STR("elinor@abcd.com"), .require_all = true, .recipients = &r, .count = 1};
        struct err e = {0};
        enum st st = accept_message(s->q, &envelope, str_make(bytes, (size_t)n), id, &e);
        check(st == ST_OK);
    }
    return NULL;
}

static bool quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context;
    (void)event;
    (void)fields;
    (void)count;
    return level < LOG_ERROR;
}

static void run_queue(struct testing *t)
{
    struct queue_config config = {.store = t->store, .directory = t->directory, .hostname = "me.test", .node = "node-1"};
    struct sender senders[SENDERS];
    queue_close(t->queue);
    OK(&t->err, queue_open(&config, &t->queue, &t->err));
    OK(&t->err, queue_start(t->queue, &t->err));
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.q = t->queue, .first = i};
        assert_int_equal(pthread_create(&senders[i].thread, NULL, sender_main, &senders[i]), 0);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(senders[i].thread, NULL);
    for (unsigned i = 0; i < WAIT_S * 20 && testing_entries(t) > 0; i++)
        clock_sleep_ms(50);
}

static void test_moods(void **state)
{
    static struct peer peer;
    struct testing t;
    (void)state;
    log_capture(quiet, NULL);
    peer_open(&peer);
    use_settings(&peer);
    testing_open(&t, false, false);
    run_queue(&t);
    assert_int_equal(testing_entries(&t), 0);
    queue_stop(t.queue, 1000);
    assert_int_equal(testing_look(&t, t.elinor, "INBOX").count, 0); /* no bounces */
    testing_close(&t);
    peer_close(&peer);
    for (unsigned i = 0; i < MESSAGES; i++)
        if (peer.acknowledged[i] != 1)
            fail_msg("message %u was acknowledged %u times", i, peer.acknowledged[i]);
    log_capture(NULL, NULL);
}

/* Connections are used again; a stop does not wait for a host that says nothing. */
static void test_reuse_and_stop(void **state)
{
    static struct peer peer;
    struct testing t;
    struct queue_stats stats;
    (void)state;
    log_capture(quiet, NULL);
    peer.always_good = true;
    peer_open(&peer);
    use_settings(&peer);
    testing_open(&t, false, false);
    run_queue(&t);
    queue_stats(t.queue, &stats);
    assert_int_equal(stats.delivered, MESSAGES);
    assert_in_range(atomic_load(&peer.connections), 1, MESSAGES / 2);
    testing_close(&t);
    peer_close(&peer);

    static struct peer silent; /* accepts by its backlog, never answers */
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    silent.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(silent.listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(silent.listener, 128), 0);
    assert_int_equal(getsockname(silent.listener, (struct sockaddr *)&a, &size), 0);
    silent.port = ntohs(a.sin_port);
    struct settings *settings = settings_defaults();
    settings->route = &(struct settings_route){.domain = "*", .host = "127.0.0.1", .port = silent.port};
    settings->route_count = 1;
    settings_use(&settings);
    testing_open(&t, false, false);
    struct queue_config config = {.store = t.store, .directory = t.directory, .hostname = "me.test", .node = "node-1"};
    queue_close(t.queue);
    OK(&t.err, queue_open(&config, &t.queue, &t.err));
    OK(&t.err, queue_start(t.queue, &t.err));
    assert_int_equal(testing_accept(&t, "elinor@abcd.com", "ok@remote.test", "A: b\r\n\r\nc\r\n", true, NULL), ST_OK);
    for (stats.connections = stats.active = 0; stats.active == 0;)
        queue_stats(t.queue, &stats);
    queue_stop(t.queue, 50); /* would take five minutes if it waited for the greeting */
    assert_int_equal(testing_entries(&t), 1);
    testing_close(&t);
    close(silent.listener);
    settings = settings_defaults();
    settings_use(&settings);
    log_capture(NULL, NULL);
}

static void *refuse_main(void *context)
{
    static const char words[] = "554 5.3.2 no mail here\r\n";
    const int *listener = context;
    for (int fd; (fd = accept(*listener, NULL, NULL)) >= 0; close(fd))
        check(write(fd, words, sizeof words - 1) == (ssize_t)sizeof words - 1);
    return NULL;
}

/* RFC 5321 5.1: a host whose address DNS does not tell now may take what the others refuse: that is no failure yet. */
static void test_refused_by_the_hosts_that_dns_tells(void **state)
{
    static const struct {
        const char *zone;
        unsigned deferred, failed;
    } cases[] = {
        {"x.test MX 10 down.test\nx.test MX 20 mx.x.test\nmx.x.test A 127.0.0.1\ndown.test TEMP\n", 1, 0},
        {"x.test MX 20 mx.x.test\nmx.x.test A 127.0.0.1\n", 0, 1},
    };
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t thread;
    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 128), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &size), 0);
    assert_int_equal(pthread_create(&thread, NULL, refuse_main, &listener), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct testing t;
        struct queue_stats stats = {0};
        struct settings *settings = settings_defaults();
        settings->queue_port = ntohs(a.sin_port);
        settings_use(&settings);
        testing_open(&t, false, false);
        struct queue_config config = {.store = t.store, .directory = t.directory, .hostname = "me.test", .node = "node-1"};
        OK(&t.err, resolver_static(str_of(cases[i].zone), &config.resolver, &t.err));
        queue_close(t.queue);
        OK(&t.err, queue_open(&config, &t.queue, &t.err));
        assert_int_equal(testing_accept(&t, "elinor@abcd.com", "a@x.test", "A: b\r\n\r\nc\r\n", true, NULL), ST_OK);
        OK(&t.err, queue_run_once(t.queue, NULL, &t.err));
        queue_stats(t.queue, &stats);
        assert_int_equal(stats.deferred, cases[i].deferred);
        assert_int_equal(stats.failed, cases[i].failed);
        testing_close(&t);
        resolver_close(config.resolver);
    }
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
    struct settings *settings = settings_defaults();
    settings_use(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_moods), cmocka_unit_test(test_reuse_and_stop),
                                       cmocka_unit_test(test_refused_by_the_hosts_that_dns_tells)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
