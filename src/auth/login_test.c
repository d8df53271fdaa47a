#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <gsasl.h>

#include "auth/access.h"
#include "auth/credential.h"
#include "auth/login.h"
#include "format/base64.h"
#include "kv/engine.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "rt/settings.h"
#include "store/store.h"

/* Accounts: carolyn (vegetables), elinor (fruit), suspended sue (vegetables), old (a salted SHA-1 of "pencil" from another server).
 */
struct world {
    struct kv *kv;
    struct store *store;
    struct directory *d;
    struct auth *a;
    struct session_peer peer;
};

static void add(struct world *w, const char *address, const char *credential, enum directory_state state)
{
    account_id id;
    struct directory_account a = {.address = str_of(address),
                                  .password = str_of(credential),
                                  .state = state,
                                  .quota_bytes = UINT64_MAX,
                                  .quota_messages = UINT64_MAX};
    assert_int_equal(directory_account_add(w->d, w->store, &a, &id, NULL), ST_OK);
}

static bool quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

static int open_world(void **state)
{
    static struct world w;
    struct kv_config config = {.engine = "memory"};
    struct store_config store;
    struct buf vegetables = BUF_INIT(CREDENTIAL_MAX), fruit = BUF_INIT(CREDENTIAL_MAX);
    struct directory_domain domain = {.name = STR("xyz.com"), .is_default = true};
    w = (struct world){.peer = {.address = "192.0.2.1", .loopback = false}};
    w.peer.tls.active = true;
    log_capture(quiet, NULL);
    assert_int_equal(kv_open(&config, &w.kv, NULL), ST_OK);
    store_config_defaults(&store);
    assert_int_equal(store_open(w.kv, &store, &w.store, NULL), ST_OK);
    assert_int_equal(directory_open(w.kv, &w.d, NULL), ST_OK);
    assert_int_equal(auth_open(w.d, &w.a, NULL), ST_OK);
    assert_int_equal(directory_domain_put(w.d, &domain, NULL), ST_OK);
    assert_int_equal(credential_make(STR("vegetables"), &vegetables, NULL), ST_OK);
    assert_int_equal(credential_make(STR("fruit"), &fruit, NULL), ST_OK);
    add(&w, "carolyn@xyz.com", buf_z(&vegetables), DIRECTORY_ACTIVE);
    add(&w, "sue@xyz.com", buf_z(&vegetables), DIRECTORY_SUSPENDED);
    add(&w, "elinor@xyz.com", buf_z(&fruit), DIRECTORY_ACTIVE);
    add(&w, "old@xyz.com", "{SSHA}dFWAdLXeDBTj01WbdotiS4s3zKlzYWx0", DIRECTORY_ACTIVE);
    add(&w, "none@xyz.com", "", DIRECTORY_ACTIVE);
    buf_release(&vegetables);
    buf_release(&fruit);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    auth_close(w->a);
    directory_close(w->d);
    store_close(w->store);
    kv_close(w->kv);
    log_capture(NULL, NULL);
    return 0;
}

/* ---- passwords ---- */

static void test_password(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *name, *password, *want; /* want: the address; NULL: refused */
    } cases[] = {
        {"carolyn", "vegetables", "carolyn@xyz.com"},
        {"carolyn", "vegetables", "carolyn@xyz.com"}, /* remembered */
        {"Carolyn@XYZ.com", "vegetables", "carolyn@xyz.com"},
        {"carolyn", "fruit", NULL},
        {"carolyn", "", NULL},
        {"elinor", "vegetables", NULL},
        {"nobody", "vegetables", NULL},
        {"sue", "vegetables", NULL},
        {"none", "", NULL},
        {"none", "x", NULL},
        {"", "", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct identity who = {0};
        struct err e = {0};
        enum st st = auth_password(w->a, AUTH_POP3, &w->peer, str_of(cases[i].name), str_of(cases[i].password), &who, &e);
        if (st != (cases[i].want ? ST_OK : ST_DENIED) || (cases[i].want && strcmp(who.address, cases[i].want) != 0))
            fail_msg("%s/%s: %s", cases[i].name, cases[i].password, st_name(st));
        if (st == ST_DENIED)
            assert_string_equal(e.text, "wrong name or password"); /* always the same */
    }
}

/* A hash of another server works, and is renewed with SCRAM keys by the first login. */
static void test_renewal(void **state)
{
    struct world *w = *state;
    struct arena arena = ARENA_INIT(64 << 10);
    struct identity who;
    struct directory_account a;
    struct credential c;
    assert_int_equal(auth_password(w->a, AUTH_IMAP, &w->peer, STR("old"), STR("pencils"), &who, NULL), ST_DENIED);
    assert_int_equal(auth_password(w->a, AUTH_IMAP, &w->peer, STR("old"), STR("pencil"), &who, NULL), ST_OK);
    assert_int_equal(directory_account_find(w->d, STR("old@xyz.com"), &arena, &a, NULL), ST_OK);
    assert_int_equal(credential_parse(a.password, &c, NULL), ST_OK);
    assert_true(c.scram[CREDENTIAL_SHA256].present && !credential_is_old(&c));
    assert_int_equal(auth_password(w->a, AUTH_IMAP, &w->peer, STR("old"), STR("pencil"), &who, NULL), ST_OK);
    arena_release(&arena);
}

/* A changed password ends what was remembered at once. */
static void test_change_of_password(void **state)
{
    struct world *w = *state;
    struct arena arena = ARENA_INIT(64 << 10);
    struct buf line = BUF_INIT(CREDENTIAL_MAX);
    struct identity who;
    struct directory_account a;
    assert_int_equal(auth_password(w->a, AUTH_IMAP, &w->peer, STR("elinor"), STR("fruit"), &who, NULL), ST_OK);
    assert_int_equal(directory_account_find(w->d, STR("elinor@xyz.com"), &arena, &a, NULL), ST_OK);
    assert_int_equal(credential_make(STR("salad"), &line, NULL), ST_OK);
    a.password = buf_str(&line);
    assert_int_equal(directory_account_update(w->d, &a, NULL), ST_OK);
    assert_int_equal(auth_password(w->a, AUTH_IMAP, &w->peer, STR("elinor"), STR("fruit"), &who, NULL), ST_DENIED);
    assert_int_equal(auth_password(w->a, AUTH_IMAP, &w->peer, STR("elinor"), STR("salad"), &who, NULL), ST_OK);
    buf_release(&line);
    arena_release(&arena);
}

static void test_clear_text(void **state)
{
    (void)state;
    struct session_peer far = {.address = "192.0.2.1"}, near = {.loopback = true}, own = {.trusted_local = true};
    struct session_peer tls = far;
    tls.tls.active = true;
    assert_false(auth_clear_text_allowed(&far));
    assert_true(auth_clear_text_allowed(&near) && auth_clear_text_allowed(&own) && auth_clear_text_allowed(&tls));
}

/* ---- mechanisms on offer ---- */

static void test_offer(void **state)
{
    struct world *w = *state;
    struct session_peer peer = {.address = "192.0.2.1"};
    struct buf got = BUF_INIT(512);
    auth_mechanisms(w->a, &peer, "", " ", &got);
    assert_true(str_eq(buf_str(&got), STR("SCRAM-SHA-256 SCRAM-SHA-1")));
    buf_clear(&got);
    peer.tls.active = peer.tls.has_exporter = true;
    peer.tls.client_subject = STR("carolyn@xyz.com");
    auth_mechanisms(w->a, &peer, "AUTH=", " ", &got);
    assert_true(str_eq(buf_str(&got), STR("AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-1-PLUS AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-1 "
                                          "AUTH=EXTERNAL AUTH=PLAIN AUTH=LOGIN")));
    buf_release(&got);
    struct sasl *s = NULL;
    struct session_peer plain = {.address = "192.0.2.1"};
    static const char *const not_there[] = {"PLAIN", "LOGIN", "EXTERNAL", "SCRAM-SHA-256-PLUS", "CRAM-MD5", ""};
    for (size_t i = 0; i < sizeof not_there / sizeof *not_there; i++)
        assert_int_equal(sasl_begin(w->a, AUTH_SMTP, &plain, str_of(not_there[i]), &s, NULL), ST_PERM);
}

/* ---- one message after the other ---- */

/* Sends the messages in turn ("-" stands for none) and returns how it ended; ST_OK with SASL_MORE counts as ST_CONFLICT. */
static enum st talk(struct world *w, const char *mechanism, const struct str *messages, size_t count, struct identity *who)
{
    struct sasl *s = NULL;
    enum st st = sasl_begin(w->a, AUTH_SMTP, &w->peer, str_of(mechanism), &s, NULL);
    enum sasl_status status = SASL_MORE;
    for (size_t i = 0; i < count && st == ST_OK && status == SASL_MORE; i++) {
        struct buf out = BUF_INIT(4096);
        bool have = !str_eq(messages[i], STR("-"));
        st = sasl_step(s, have, messages[i], &out, &status, who, NULL);
        buf_release(&out);
    }
    sasl_free(s);
    return st == ST_OK && status == SASL_MORE ? ST_CONFLICT : st;
}

static void test_plain_and_login(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *mechanism;
        struct str messages[3];
        size_t count;
        enum st want;
    } cases[] = {
        {"PLAIN", {STR("\0carolyn\0vegetables")}, 1, ST_OK},
        {"plain", {STR("-"), STR("\0carolyn@xyz.com\0vegetables")}, 2, ST_OK},
        {"PLAIN", {STR("carolyn@xyz.com\0carolyn\0vegetables")}, 1, ST_OK},
        {"PLAIN", {STR("elinor@xyz.com\0carolyn\0vegetables")}, 1, ST_DENIED},
        {"PLAIN", {STR("\0carolyn\0fruit")}, 1, ST_DENIED},
        {"PLAIN", {STR("\0sue\0vegetables")}, 1, ST_DENIED},
        {"PLAIN", {STR("carolyn\0vegetables")}, 1, ST_PERM},
        {"PLAIN", {STR("\0carolyn\0vege\0tables")}, 1, ST_PERM},
        {"PLAIN", {STR("\0\0vegetables")}, 1, ST_PERM},
        {"PLAIN", {STR("")}, 1, ST_PERM},
        {"PLAIN", {STR("-"), STR("-")}, 2, ST_PERM},
        {"LOGIN", {STR("-"), STR("carolyn"), STR("vegetables")}, 3, ST_OK},
        {"LOGIN", {STR("carolyn"), STR("vegetables")}, 2, ST_OK},
        {"LOGIN", {STR("carolyn"), STR("fruit")}, 2, ST_DENIED},
        {"LOGIN", {STR("")}, 1, ST_PERM},
        {"EXTERNAL", {STR("")}, 1, ST_OK},
        {"EXTERNAL", {STR("carolyn@xyz.com")}, 1, ST_OK},
        {"EXTERNAL", {STR("elinor@xyz.com")}, 1, ST_DENIED},
    };
    w->peer.tls.client_subject = STR("carolyn@xyz.com");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct identity who = {0};
        enum st st = talk(w, cases[i].mechanism, cases[i].messages, cases[i].count, &who);
        if (st != cases[i].want || (st == ST_OK && strcmp(who.address, "carolyn@xyz.com") != 0))
            fail_msg("case %zu (%s): %s, want %s", i, cases[i].mechanism, st_name(st), st_name(cases[i].want));
        if (st == ST_OK)
            assert_true(access_allowed(&who, ACCESS_READ, who.account, 1) &&
                        !access_allowed(&who, ACCESS_READ, who.account + 1, 1));
    }
    w->peer.tls.client_subject = STR_NONE;
}

/* ---- SCRAM with GNU SASL's client ---- */

struct client {
    const char *user, *password, *authzid;
    const uint8_t *exporter, *unique; /* what it believes of the channel */
    size_t exporter_n, unique_n;
};

static int client_callback(Gsasl *g, Gsasl_session *session, Gsasl_property property)
{
    (void)g;
    const struct client *c = gsasl_session_hook_get(session);
    struct buf text = BUF_INIT(256);
    const char *value = property == GSASL_AUTHID ? c->user : property == GSASL_PASSWORD ? c->password : NULL;
    if (property == GSASL_AUTHZID)
        value = c->authzid;
    if (property == GSASL_CB_TLS_EXPORTER && c->exporter_n)
        base64_encode(str_make(c->exporter, c->exporter_n), &text);
    if (property == GSASL_CB_TLS_UNIQUE && c->unique_n)
        base64_encode(str_make(c->unique, c->unique_n), &text);
    if (text.n)
        value = buf_z(&text);
    int rc = value ? gsasl_property_set(session, property, value) : GSASL_NO_CALLBACK;
    buf_release(&text);
    return rc;
}

/* The whole exchange. client_ok: the client believed the server's signature. replay: the client's second message is sent in a
 * second exchange that repeats the first message. */
static enum st exchange(struct world *w, const char *mechanism, const struct client *c, bool *client_ok, struct identity *who)
{
    Gsasl *g = NULL;
    Gsasl_session *session = NULL;
    struct sasl *s = NULL;
    struct client copy = *c;
    assert_int_equal(gsasl_init(&g), GSASL_OK);
    gsasl_callback_set(g, client_callback);
    assert_int_equal(gsasl_client_start(g, mechanism, &session), GSASL_OK);
    gsasl_session_hook_set(session, &copy);
    enum st st = sasl_begin(w->a, AUTH_IMAP, &w->peer, str_of(mechanism), &s, NULL);
    enum sasl_status status = SASL_MORE;
    struct buf out = BUF_INIT(4096);
    *client_ok = false;
    for (int i = 0; i < 5 && st == ST_OK && status == SASL_MORE; i++) {
        char *message = NULL;
        size_t n = 0;
        int rc = gsasl_step(session, out.p, out.n, &message, &n);
        *client_ok = rc == GSASL_OK;
        buf_clear(&out);
        if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE) {
            gsasl_free(message);
            break;
        }
        st = sasl_step(s, true, str_make(message, n), &out, &status, who, NULL);
        gsasl_free(message);
    }
    buf_release(&out);
    sasl_free(s);
    gsasl_finish(session);
    gsasl_done(g);
    return st == ST_OK && status == SASL_MORE ? ST_CONFLICT : st;
}

static void test_scram(void **state)
{
    struct world *w = *state;
    static const uint8_t exporter[32] = {1, 2, 3}, other[32] = {9}, unique[12] = {7, 7};
    const struct {
        const char *mechanism;
        struct client client;
        bool has_exporter, has_unique;
        enum st want;
    } cases[] = {
        {"SCRAM-SHA-256", {.user = "carolyn@xyz.com", .password = "vegetables"}, false, false, ST_OK},
        {"SCRAM-SHA-1", {.user = "carolyn", .password = "vegetables"}, false, false, ST_OK},
        {"SCRAM-SHA-256", {.user = "carolyn", .password = "vegetables", .authzid = "carolyn@xyz.com"}, false, false, ST_OK},
        {"SCRAM-SHA-256", {.user = "carolyn", .password = "vegetables", .authzid = "elinor@xyz.com"}, false, false, ST_DENIED},
        {"SCRAM-SHA-256", {.user = "carolyn", .password = "wrong"}, false, false, ST_DENIED},
        {"SCRAM-SHA-256", {.user = "nobody", .password = "vegetables"}, false, false, ST_DENIED},
        {"SCRAM-SHA-256", {.user = "none", .password = "vegetables"}, false, false, ST_DENIED},
        {"SCRAM-SHA-256", {.user = "sue", .password = "vegetables"}, false, false, ST_DENIED},
        {"SCRAM-SHA-256-PLUS",
         {.user = "carolyn", .password = "vegetables", .exporter = exporter, .exporter_n = 32},
         true,
         false,
         ST_OK},
        {"SCRAM-SHA-256-PLUS",
         {.user = "carolyn", .password = "vegetables", .exporter = other, .exporter_n = 32},
         true,
         false,
         ST_DENIED},
        {"SCRAM-SHA-256-PLUS", {.user = "carolyn", .password = "vegetables", .unique = unique, .unique_n = 12}, false, true, ST_OK},
        {"SCRAM-SHA-256-PLUS",
         {.user = "carolyn", .password = "vegetables", .unique = other, .unique_n = 12},
         false,
         true,
         ST_DENIED},
        {"SCRAM-SHA-256-PLUS",
         {.user = "carolyn", .password = "vegetables", .unique = unique, .unique_n = 12},
         true,
         false,
         ST_PERM},
        {"SCRAM-SHA-1-PLUS",
         {.user = "carolyn", .password = "vegetables", .exporter = exporter, .exporter_n = 32},
         true,
         false,
         ST_OK},
        {"SCRAM-SHA-256", {.user = "carolyn", .password = "vegetables"}, true, false, ST_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct identity who = {0};
        bool client_ok = false;
        w->peer.tls.has_exporter = cases[i].has_exporter;
        memcpy(w->peer.tls.exporter, exporter, 32);
        memcpy(w->peer.tls.unique, unique, 12);
        w->peer.tls.unique_size = cases[i].has_unique ? 12 : 0;
        enum st st = exchange(w, cases[i].mechanism, &cases[i].client, &client_ok, &who);
        if (st != cases[i].want || (st == ST_OK && (!client_ok || strcmp(who.address, "carolyn@xyz.com") != 0)))
            fail_msg("case %zu (%s as %s): %s, want %s", i, cases[i].mechanism, cases[i].client.user, st_name(st),
                     st_name(cases[i].want));
    }
    w->peer.tls.has_exporter = false;
    w->peer.tls.unique_size = 0;
}

static enum st step_once(struct sasl *s, const char *in, struct buf *out)
{
    enum sasl_status status;
    struct identity who;
    buf_clear(out);
    return sasl_step(s, true, str_of(in), out, &status, &who, NULL);
}

static struct sasl *begin_scram(struct world *w, const char *first, struct buf *out)
{
    struct sasl *s = NULL;
    assert_int_equal(sasl_begin(w->a, AUTH_IMAP, &w->peer, STR("SCRAM-SHA-256"), &s, NULL), ST_OK);
    assert_int_equal(step_once(s, first, out), ST_OK);
    return s;
}

/* The last message of one exchange is worth nothing in another; wrong data end an exchange for good. */
static void test_scram_replay_and_junk(void **state)
{
    struct world *w = *state;
    static const char first[] = "n,,n=carolyn,r=fyko+d2lbbFgONRv9qkxdawL";
    static const char *const junk[] = {"",
                                       "x",
                                       "n,,",
                                       "n,,n=,r=abc",
                                       "y,,n=carolyn",
                                       "p=tls-unique,,n=carolyn,r=abc",
                                       "n,,m=x,n=carolyn,r=abc",
                                       "n=carolyn,r=abc"};
    static const char *const bad_last[] = {"", "c=biws", "c=biws,r=fyko+d2lbbFgONRv9qkxdawL,p=AAAA", "c=!,r=x,p=y",
                                           "c=biws,r=x,p="};
    struct buf out = BUF_INIT(4096), one = BUF_INIT(4096);
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
        struct sasl *s = NULL;
        assert_int_equal(sasl_begin(w->a, AUTH_IMAP, &w->peer, STR("SCRAM-SHA-256"), &s, NULL), ST_OK);
        enum st st = step_once(s, junk[i], &out);
        if (st != ST_PERM && st != ST_DENIED)
            fail_msg("first message \"%s\": %s", junk[i], st_name(st));
        sasl_free(s);
    }
    for (size_t i = 0; i < sizeof bad_last / sizeof *bad_last; i++) {
        struct sasl *s = begin_scram(w, first, &out);
        enum st st = step_once(s, bad_last[i], &out);
        if (st != ST_PERM && st != ST_DENIED)
            fail_msg("last message \"%s\": %s", bad_last[i], st_name(st));
        sasl_free(s);
    }
    struct sasl *s = begin_scram(w, first, &one);
    struct sasl *again = begin_scram(w, first, &out);
    assert_true(str_starts(buf_str(&one), STR("r=fyko+d2lbbFgONRv9qkxdawL")));
    assert_false(str_eq(buf_str(&one), buf_str(&out))); /* our nonce is new each time */
    sasl_free(s);
    sasl_free(again);
    buf_release(&out);
    buf_release(&one);
}

/* A client that can bind but was made to believe that we cannot says "y" (RFC 5802 6): refused where we can, fine where we cannot.
 */
static void test_scram_downgrade(void **state)
{
    struct world *w = *state;
    struct buf out = BUF_INIT(4096);
    struct sasl *s = begin_scram(w, "y,,n=carolyn,r=abcdefgh", &out);
    sasl_free(s);
    w->peer.tls.has_exporter = true;
    assert_int_equal(sasl_begin(w->a, AUTH_IMAP, &w->peer, STR("SCRAM-SHA-256"), &s, NULL), ST_OK);
    assert_int_equal(step_once(s, "y,,n=carolyn,r=abcdefgh", &out), ST_DENIED);
    sasl_free(s);
    w->peer.tls.has_exporter = false;
    buf_release(&out);
}

/* The salt shown for a name that does not exist stays the same, and differs from name to name. */
static void test_unknown_salt(void **state)
{
    struct world *w = *state;
    struct buf one = BUF_INIT(4096), two = BUF_INIT(4096), three = BUF_INIT(4096);
    sasl_free(begin_scram(w, "n,,n=ghost,r=abcdefgh", &one));
    sasl_free(begin_scram(w, "n,,n=ghost,r=abcdefgh", &two));
    sasl_free(begin_scram(w, "n,,n=spook,r=abcdefgh", &three));
    struct str a = str_from(buf_str(&one), str_find(buf_str(&one), STR(",s="))),
               b = str_from(buf_str(&two), str_find(buf_str(&two), STR(",s="))),
               c = str_from(buf_str(&three), str_find(buf_str(&three), STR(",s=")));
    assert_true(a.n > 10 && str_eq(a, b) && !str_eq(a, c));
    buf_release(&one);
    buf_release(&two);
    buf_release(&three);
}

/* "i=..." and the salt of what SCRAM shows for a name, without the nonce. */
static void shown(struct world *w, const char *name, struct buf *out)
{
    char first[200];
    DEFER(buf_release) struct buf challenge = BUF_INIT(4096);
    snprintf(first, sizeof first, "n,,n=%s,r=abcdefgh", name);
    sasl_free(begin_scram(w, first, &challenge));
    buf_clear(out);
    buf_add(out, str_from(buf_str(&challenge), str_find(buf_str(&challenge), STR(",s="))));
}

/* However an address is spelled, what is shown for it is the same whether the account exists or not. */
static void test_spellings(void **state)
{
    struct world *w = *state;
    static const char *const names[][4] = {
        {"carolyn", "carolyn@xyz.com", "Carolyn@XYZ.com", "carolyn@alias.example"}, /* exists */
        {"ghost", "ghost@xyz.com", "Ghost@XYZ.com", "ghost@alias.example"},         /* does not */
        {"old2", "old2@xyz.com", "OLD2@xyz.com", "old2@alias.example"},             /* exists, without SCRAM keys */
        {"j\xc3\xb6rg", "J\xc3\x96RG@xyz.com", "jo\xcc\x88rg", "j\xc3\xb6rg@alias.example"},
    };
    struct directory_domain alias = {.name = STR("alias.example"), .alias_of = STR("xyz.com")};
    struct buf want = BUF_INIT(4096), got = BUF_INIT(4096);
    assert_int_equal(directory_domain_put(w->d, &alias, NULL), ST_OK);
    add(w, "old2@xyz.com", "{SSHA}dFWAdLXeDBTj01WbdotiS4s3zKlzYWx0", DIRECTORY_ACTIVE);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        shown(w, names[i][0], &want);
        for (size_t k = 1; k < 4; k++) {
            shown(w, names[i][k], &got);
            if (!str_eq(buf_str(&got), buf_str(&want)))
                fail_msg("%s: %.*s, %s: %.*s", names[i][0], STR_FMT(buf_str(&want)), names[i][k], STR_FMT(buf_str(&got)));
        }
    }
    buf_release(&want);
    buf_release(&got);
}

static enum st guess(struct world *w, const char *address, const char *name, int n)
{
    struct session_peer peer = {.tls.active = true};
    struct identity who;
    char password[32];
    snprintf(password, sizeof password, "guess%d", n);
    snprintf(peer.address, sizeof peer.address, "%s", address);
    return auth_password(w->a, AUTH_POP3, &peer, str_of(name), str_of(password), &who, NULL);
}

/* Guesses for one address count together however it is spelled, whether the account exists or not: were it otherwise, a name that
 * is held up after guesses under another spelling would be known to exist. */
static void test_throttle_spellings(void **state)
{
    struct world *w = *state;
    static const char *const names[][4] = {
        {"mina", "mina@xyz.com", "Mina@XYZ.com", "mina@alias.example"},
        {"spook", "spook@xyz.com", "Spook@XYZ.com", "spook@alias.example"},
    };
    struct settings *few, *defaults = settings_defaults();
    assert_int_equal(settings_parse("test", STR("auth { failures_per_account = 3 }"), &few, NULL), ST_OK);
    settings_use(&few);
    add(w, "mina@xyz.com", "{SSHA}dFWAdLXeDBTj01WbdotiS4s3zKlzYWx0", DIRECTORY_ACTIVE);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int k = 0; k < 3; k++) {
            char address[32];
            snprintf(address, sizeof address, "198.51.100.%d", (int)i * 10 + k);
            if (guess(w, address, names[i][k], k) != ST_DENIED)
                fail_msg("%s was held up too early", names[i][k]);
        }
        for (int k = 0; k < 4; k++)
            if (guess(w, "203.0.113.1", names[i][k], 9) != ST_LIMIT)
                fail_msg("%s is not held up", names[i][k]);
    }
    settings_use(&defaults);
}

/* A wrong password for a hash that costs next to nothing is not answered sooner than one for a name that does not exist. */
static void test_cheap_hash(void **state)
{
    struct world *w = *state;
    add(w, "cheap@xyz.com", "{SSHA}dFWAdLXeDBTj01WbdotiS4s3zKlzYWx0", DIRECTORY_ACTIVE);
    assert_int_equal(guess(w, "203.0.113.2", "nobody", 1), ST_DENIED);
    uint64_t before = metrics_took_within(METRIC_TIME_PASSWORD, INT64_MAX);
    assert_int_equal(guess(w, "203.0.113.2", "nobody", 2), ST_DENIED);
    uint64_t unknown = metrics_took_within(METRIC_TIME_PASSWORD, INT64_MAX) - before;
    assert_int_equal(guess(w, "203.0.113.2", "cheap", 1), ST_DENIED);
    uint64_t cheap = metrics_took_within(METRIC_TIME_PASSWORD, INT64_MAX) - before - unknown;
    assert_int_equal(unknown, 1);
    assert_int_equal(cheap, 1);
}

/* After somebody logged in whose credential another server made, some names that do not exist look as if it had made theirs. */
static void test_decoys(void **state)
{
    struct world *w = *state;
    struct client c = {.user = "foreign", .password = "pencil"};
    bool client_ok;
    struct identity who;
    unsigned alike = 0;
    struct buf got = BUF_INIT(4096);
    /* RFC 7677 3: 4096 iterations, a salt of 16 bytes */
    add(w, "foreign@xyz.com",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQx"
        "SrmfPwDl2dU=",
        DIRECTORY_ACTIVE);
    for (int round = 0; round < 2; round++) {
        alike = 0;
        for (int i = 0; i < 1000; i++) {
            char name[32];
            snprintf(name, sizeof name, "ghost%d", i);
            shown(w, name, &got);
            alike += str_ends(buf_str(&got), STR("==,i=4096"));
        }
        if (round == 0)
            assert_int_equal(alike, 0);
        assert_int_equal(exchange(w, "SCRAM-SHA-256", &c, &client_ok, &who), ST_OK);
    }
    if (alike == 0 || alike > 500)
        fail_msg("%u of 1000 names look like the account", alike);
    buf_release(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_change_of_password),
        cmocka_unit_test(test_clear_text),
        cmocka_unit_test(test_offer),
        cmocka_unit_test(test_plain_and_login),
        cmocka_unit_test(test_scram),
        cmocka_unit_test(test_scram_replay_and_junk),
        cmocka_unit_test(test_scram_downgrade),
        cmocka_unit_test(test_unknown_salt),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_throttle_spellings),
        cmocka_unit_test(test_cheap_hash),
        cmocka_unit_test(test_decoys),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
