#include "serve/testing/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/credential.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "serve/testing/pump.h"
#include "serve/testing/world.h"

enum { RUNS_OF_A_WORLD = 500, INPUT_MAX = 1 << 20, CODE = 4 };

#define LOGIN "EHLO c.example\r\nAUTH PLAIN AGVsaW5vckBhYmNkLmNvbQB2ZWdldGFibGVz\r\n"

static bool log_quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

static void stop(const char *why)
{
    fprintf(stderr, "fuzz: %s\n", why);
    abort();
}

/* Small limits, so that a fuzzer reaches them. */
static void settings_small(void)
{
    static const char text[] = "message { size_max = 65536 }\nsmtp { recipients_max = 100 hops_max = 10 data_line_max = 1000 }\n"
                               "auth { renew = false failures_per_client = 3 block = 1h }\n";
    struct settings *s;
    struct err e = {0};
    if (settings_parse("fuzz", str_of(text), &s, &e) != ST_OK)
        stop(e.detail);
    settings_use(&s);
}

static struct world *world_now(void)
{
    static struct world world;
    static struct buf credential = BUF_INIT(4096);
    static unsigned runs;
    struct err e = {0};
    if (credential.n == 0) {
        log_capture(log_quiet, NULL);
        settings_small();
        /* a plain digest of the password: a slow hash for each login would be all that is tested */
        if (credential_import(STR("{SHA256}Gmwe+ijV0R1jl2V1iIpEUvyRST3zOeuBVU/G15hOB28="), &credential, &e) != ST_OK)
            stop(e.detail);
    }
    if (runs++ % RUNS_OF_A_WORLD == 0) {
        world_close(&world);
        if (world_open(&world, buf_str(&credential), &e) != ST_OK ||
            world_alias(&world, STR("team@abcd.com"), STR("elinor@abcd.com,carolyn@xyz.com,x@elsewhere.example"), &e) != ST_OK ||
            world_relay(&world, STR("203.0.113.0/24 from=printer@abcd.com to=* rate=1000/1"), &e) != ST_OK ||
            world_deliver(&world, STR("carolyn@xyz.com"), STR("Subject: one\r\n\r\n.dot\r\n"), &e) != ST_OK ||
            world_deliver(&world, STR("carolyn@xyz.com"), STR("Subject: two\r\n\r\nno newline"), &e) != ST_OK)
            stop(e.detail);
        world.services.smtp_rates = NULL;
    }
    return &world;
}

static void peer_fill(struct session_peer *peer, uint8_t how)
{
    bool far = how & 8;
    snprintf(peer->address, sizeof peer->address, "%s", far ? "203.0.113.5" : how & 16 ? "127.0.0.2" : "127.0.0.1");
    snprintf(peer->local, sizeof peer->local, "%s", far ? "192.0.2.25" : "127.0.0.1");
    peer->loopback = !far;
    peer->tls.active = how & 4;
    if (peer->tls.active) {
        peer->tls.version = STR("TLSv1.3");
        peer->tls.cipher = STR("TLS_AES_256_GCM_SHA384");
    }
}

static void event(struct pump *p, struct session_peer *peer, char letter)
{
    if (letter == 'T' && p->outcome == SESSION_TLS) {
        peer->tls = (struct session_tls){.active = true, .version = STR("TLSv1.3"), .cipher = STR("TLS_AES_256_GCM_SHA384")};
        pump_event(p, SESSION_EV_TLS);
    } else if (letter == 'O') {
        pump_event(p, SESSION_EV_TIMEOUT);
    } else if (letter == 'S') {
        pump_event(p, SESSION_EV_STOPPING);
    } else if (letter == 'E') {
        pump_event(p, SESSION_EV_EOF);
    } else if (letter == 'W') {
        pump_event(p, SESSION_EV_WAKE);
    }
}

static void converse(struct pump *p, struct session_peer *peer, struct str input, size_t piece)
{
    while (input.n && !pump_closed(p)) {
        size_t at = str_find_char(input, '\xff');
        pump_feed(p, str_upto(input, at), piece);
        input = at == STR_NPOS ? STR_NONE : str_from(input, at + 1);
        if (at != STR_NPOS && input.n) {
            event(p, peer, input.p[0]);
            input = str_from(input, 1);
        }
    }
    pump_event(p, SESSION_EV_EOF);
    if (p->breach)
        stop(p->breach);
    if (!pump_closed(p) && p->outcome != SESSION_TLS)
        stop("the session is open after the end of its input");
}

/* The first bytes of every line: a code, +OK, -ERR. */
static void codes(struct str said, struct buf *out)
{
    struct str line;
    while (str_split(&said, '\n', &line)) {
        buf_add(out, str_upto(line, CODE));
        buf_add_c(out, '\n');
    }
}

/* Logins are counted and throttled over sessions, and what POP3 removes is gone: then two runs may differ. */
static bool comparable(struct str input, bool pop3) { return !pop3 && str_find_nocase(input, STR("AUTH")) == STR_NPOS; }

static void run(struct session *(*make)(void *context, const struct session_peer *peer), struct str input, size_t piece, bool pop3,
                struct buf *out)
{
    static const enum serve_profile profiles[] = {SERVE_SMTP, SERVE_SUBMISSION, SERVE_LMTP, SERVE_SMTP};
    struct world *w = world_now();
    struct session_peer peer = {0};
    struct pump pump;
    uint8_t how = (uint8_t)input.p[0];
    struct serve_context context = {
        .services = &w->services, .profile = pop3 ? SERVE_POP3 : profiles[how & 3], .tls_available = true};
    w->services.demo = (how & 3) == 3;
    peer_fill(&peer, how);
    pump_init(&pump, make(&context, &peer), piece == 1 ? SESSION_OUTPUT_LOW + 1024 : SESSION_OUTPUT_MAX);
    if (how & 16)
        pump_feed(&pump, pop3 ? STR("USER carolyn\r\nPASS vegetables\r\n") : STR(LOGIN), SIZE_MAX);
    converse(&pump, &peer, str_from(input, 1), piece);
    codes(buf_str(&pump.said), out);
    pump_release(&pump);
}

void fuzz_session(struct session *(*make)(void *context, const struct session_peer *peer), bool pop3, const uint8_t *data,
                  size_t size)
{
    if (size < 2 || size > INPUT_MAX)
        return;
    DEFER(buf_release) struct buf one = BUF_INIT(PUMP_SAID_MAX);
    DEFER(buf_release) struct buf two = BUF_INIT(PUMP_SAID_MAX);
    struct str input = str_make(data, size);
    run(make, input, SIZE_MAX, pop3, &one);
    run(make, input, 1, pop3, &two);
    if (comparable(input, pop3) && !str_eq(buf_str(&one), buf_str(&two))) {
        fprintf(stderr, "at once:\n%.*s\nbyte by byte:\n%.*s\n", STR_FMT(buf_str(&one)), STR_FMT(buf_str(&two)));
        stop("the replies depend on how the input arrives");
    }
}
