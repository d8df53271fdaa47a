/* Whole IMAP sessions from bytes.
 *
 * byte 0: bit 0 byte by byte, bit 1 small output buffer, bit 2 logged in already, bit 3 INBOX is selected too, bit 4 not on
 * loopback, bit 5 rev2 and QRESYNC are enabled, bit 6 TLS. Then what the client sends; 0xff and a letter is an event: T the TLS
 * handshake succeeded, O timeout, S stopping, E end of input, W wake-up, D a message is delivered, X another session flags and
 * expunges the first message, R it sets a flag.
 *
 * A breach of the session contract aborts, and so does output that is no sequence of IMAP responses. */
#include <stdio.h>
#include <stdlib.h>

#include "auth/credential.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "serve/testing/pump.h"
#include "serve/testing/world.h"
#include "store/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RUNS_OF_A_WORLD = 100, INPUT_MAX = 1 << 18, ARENA_MAX = 1 << 20 };

static const char message[] = "From: a@b.example\r\nTo: \"c\" <d@e.example>\r\nSubject: =?utf-8?q?=C3=A9?=\r\n"
                              "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMIME-Version: 1.0\r\n"
                              "Content-Type: multipart/mixed; boundary=x\r\n\r\npre\r\n--x\r\n\r\ntext one\r\n--x\r\n"
                              "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--x\r\n"
                              "Content-Type: application/octet-stream; name=f\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                              "AAECAwQF\r\n--x--\r\npost\r\n";

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

static void must(enum st st, const struct err *e)
{
    if (st != ST_OK)
        stop(e->detail);
}

/* ---- the world ---- */

/* Small limits, so that a fuzzer reaches them. */
static void settings_small(void)
{
    static const char text[] = "message { size_max = 65536 }\nimap { command_max = 8192 errors_max = 1000 }\n"
                               "auth { renew = false failures_per_client = 3 block = 1h }\nstore { mailboxes_max = 50 }\n";
    struct settings *s;
    struct err e = {0};
    must(settings_parse("fuzz", str_of(text), &s, &e), &e);
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
        /* a plain digest of "vegetables": a slow hash for each login would be all that is tested */
        must(credential_import(STR("{SHA256}Gmwe+ijV0R1jl2V1iIpEUvyRST3zOeuBVU/G15hOB28="), &credential, &e), &e);
    }
    if (runs++ % RUNS_OF_A_WORLD == 0) {
        world_close(&world);
        must(world_open(&world, buf_str(&credential), &e), &e);
        for (int i = 0; i < 3; i++)
            must(world_deliver(&world, STR("carolyn@xyz.com"), str_of(message), &e), &e);
    }
    return &world;
}

static struct account *open_account(struct world *w)
{
    struct arena arena = ARENA_INIT(ARENA_MAX);
    struct directory_account a;
    struct account *account = NULL;
    struct err e = {0};
    must(directory_account_find(w->directory, STR("carolyn@xyz.com"), &arena, &a, &e), &e);
    must(account_open(w->store, a.id, &account, &e), &e);
    arena_release(&arena);
    return account;
}

/* What somebody else does to the first message of INBOX. */
static void other_session(struct world *w, bool expunge)
{
    struct arena arena = ARENA_INIT(ARENA_MAX);
    struct account *a = open_account(w);
    struct mailbox_info *info = ARENA_NEW(&arena, struct mailbox_info);
    struct uidset uids = UIDSET_EMPTY, one = UIDSET_EMPTY, gone = UIDSET_EMPTY;
    struct err e = {0};
    uint64_t modseq;
    must(info ? mailbox_find(a, STR("INBOX"), &arena, info, &e) : ST_TEMP, &e);
    must(mailbox_uids(a, info->id, &uids, &modseq, &e), &e);
    if (!uidset_empty(&uids) && uidset_add(&one, uidset_min(&uids)) == ST_OK) {
        struct message_store change = {
            .mode = MESSAGE_STORE_ADD, .flags = expunge ? MESSAGE_DELETED : MESSAGE_FLAGGED, .unchanged_since = UINT64_MAX};
        must(message_store(a, info->id, &one, &change, &e), &e);
        uidset_release(&change.changed);
        uidset_release(&change.refused);
        if (expunge)
            must(message_expunge(a, info->id, &one, true, &gone, &modseq, &e), &e);
    }
    uidset_release(&uids);
    uidset_release(&one);
    uidset_release(&gone);
    account_unref(a);
    arena_release(&arena);
}

/* ---- the session ---- */

static void tls_fill(struct session_peer *peer)
{
    peer->tls = (struct session_tls){.active = true, .version = STR("TLSv1.3"), .cipher = STR("TLS_AES_256_GCM_SHA384")};
}

static void event(struct world *w, struct pump *p, struct session_peer *peer, char letter)
{
    struct err e = {0};
    if (letter == 'T' && p->outcome == SESSION_TLS) {
        tls_fill(peer);
        pump_event(p, SESSION_EV_TLS);
    } else if (letter == 'O') {
        pump_event(p, SESSION_EV_TIMEOUT);
    } else if (letter == 'S') {
        pump_event(p, SESSION_EV_STOPPING);
    } else if (letter == 'E') {
        pump_event(p, SESSION_EV_EOF);
    } else if (letter == 'W') {
        pump_event(p, SESSION_EV_WAKE);
    } else if (letter == 'D') {
        must(world_deliver(w, STR("carolyn@xyz.com"), str_of(message), &e), &e);
    } else if (letter == 'X' || letter == 'R') {
        other_session(w, letter == 'X');
    }
}

static void converse(struct world *w, struct pump *p, struct session_peer *peer, struct str input, size_t piece)
{
    while (input.n && !pump_closed(p)) {
        size_t at = str_find_char(input, '\xff');
        pump_feed(p, str_upto(input, at), piece);
        input = at == STR_NPOS ? STR_NONE : str_from(input, at + 1);
        if (at != STR_NPOS && input.n) {
            event(w, p, peer, input.p[0]);
            input = str_from(input, 1);
        }
    }
    pump_event(p, SESSION_EV_EOF);
    if (p->breach)
        stop(p->breach);
    if (!pump_closed(p) && p->outcome != SESSION_TLS)
        stop("the session is open after the end of its input");
}

/* ---- is the output IMAP? ---- */

/* A literal at the end of the line: its size. */
static bool announces(struct str line, uint64_t *size)
{
    size_t open = str_rfind_char(line, '{');
    return str_ends(line, STR("}")) && open != STR_NPOS && str_to_u64(str_sub(line, open + 1, line.n - open - 2), size);
}

/* "tag OK", "tag NO", "tag BAD" */
static bool is_tagged(struct str line)
{
    size_t space = str_find_char(line, ' ');
    struct str rest = str_from(line, space == STR_NPOS ? line.n : space + 1);
    return space != STR_NPOS && space > 0 &&
           (str_starts(rest, STR("OK ")) || str_starts(rest, STR("NO ")) || str_starts(rest, STR("BAD ")));
}

static void check_output(struct str said)
{
    bool begins = true;
    while (said.n) {
        size_t end = str_find(said, STR("\r\n"));
        uint64_t size;
        if (end == STR_NPOS)
            stop("output without a line end");
        struct str line = str_upto(said, end);
        if (begins && !str_starts(line, STR("* ")) && !str_starts(line, STR("+ ")) && !is_tagged(line))
            stop("a line that is no response");
        if (line.n && (memchr(line.p, '\0', line.n) || memchr(line.p, '\n', line.n) || memchr(line.p, '\r', line.n)))
            stop("a control character outside of literals");
        said = str_from(said, end + 2);
        begins = !announces(line, &size) || str_starts(line, STR("+ ")) || is_tagged(line);
        if (!begins && size > said.n)
            stop("a literal that is too short");
        if (!begins)
            said = str_from(said, (size_t)size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_MAX)
        return 0;
    struct world *w = world_now();
    struct serve_context context = {.services = &w->services, .profile = SERVE_IMAP, .tls_available = true};
    struct session_peer peer = {.loopback = !(data[0] & 16)};
    struct pump pump;
    snprintf(peer.address, sizeof peer.address, "%s", data[0] & 16 ? "203.0.113.5" : data[0] & 4 ? "127.0.0.2" : "127.0.0.1");
    if (data[0] & 64)
        tls_fill(&peer);
    pump_init(&pump, imap_session_make(&context, &peer), data[0] & 2 ? SESSION_OUTPUT_LOW + 1024 : SESSION_OUTPUT_MAX);
    if (data[0] & 4)
        pump_feed(&pump, STR("- AUTHENTICATE PLAIN AGNhcm9seW5AeHl6LmNvbQB2ZWdldGFibGVz\r\n"), SIZE_MAX);
    if (data[0] & 32)
        pump_feed(&pump, STR("- ENABLE IMAP4rev2 QRESYNC\r\n"), SIZE_MAX);
    if (data[0] & 8)
        pump_feed(&pump, STR("- SELECT INBOX\r\n"), SIZE_MAX);
    converse(w, &pump, &peer, str_make(data + 1, size - 1), data[0] & 1 ? 1 : SIZE_MAX);
    check_output(buf_str(&pump.said));
    pump_release(&pump);
    return 0;
}
