/* The server side of every SASL mechanism. The first byte chooses mechanism and channel, the rest are the client's messages, with
 * 0x1e between them. Nobody may get in without the password: an exchange that ends well is a finding, unless the messages hold the
 * word "vegetables", or the certificate names the account (EXTERNAL). */
#include "auth/credential.h"
#include "auth/login.h"
#include "base/check.h"
#include "kv/engine.h"
#include "rt/log.h"
#include "store/store.h"

static const char *const mechanisms[] = {"PLAIN",       "LOGIN",           "EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS",
                                         "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"};
enum { MECHANISMS = sizeof mechanisms / sizeof *mechanisms, STEPS_MAX = 16 };

static bool quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

static struct auth *world(void)
{
    static struct auth *a; /* one for all runs: made by the first */
    static struct store *store;
    struct kv_config config = {.engine = "memory"};
    struct store_config store_config;
    struct kv *kv = NULL;
    struct directory *d = NULL;
    struct buf line = BUF_INIT(CREDENTIAL_MAX);
    account_id id;
    if (a)
        return a;
    log_capture(quiet, NULL);
    store_config_defaults(&store_config);
    struct directory_domain domain = {.name = STR("xyz.com"), .is_default = true};
    check(kv_open(&config, &kv, NULL) == ST_OK && store_open(kv, &store_config, &store, NULL) == ST_OK);
    check(directory_open(kv, &d, NULL) == ST_OK && auth_open(d, &a, NULL) == ST_OK);
    check(directory_domain_put(d, &domain, NULL) == ST_OK && credential_make(STR("vegetables"), &line, NULL) == ST_OK);
    struct directory_account account = {.address = STR("carolyn@xyz.com"), .password = buf_str(&line)};
    check(directory_account_add(d, store, &account, &id, NULL) == ST_OK);
    buf_release(&line);
    return a;
}

static void run(struct sasl *s, struct str in, bool *done)
{
    enum sasl_status status = SASL_MORE;
    struct identity who = {0};
    struct str message;
    struct buf out = BUF_INIT(64 << 10);
    for (unsigned i = 0; i < STEPS_MAX && str_split(&in, '\x1e', &message); i++) {
        enum st st = sasl_step(s, !(i == 0 && message.n == 0), message, &out, &status, &who, NULL);
        check(buf_ok(&out) && (st == ST_OK || status == SASL_MORE));
        if (st != ST_OK || status == SASL_DONE) {
            *done = st == ST_OK;
            break;
        }
    }
    check(!*done || who.account != 0);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct session_peer peer = {.address = "192.0.2.1", .trusted_local = true}; /* so that the throttle does not end the fuzzing */
    const char *mechanism = mechanisms[(data[0] & 0x0f) % MECHANISMS];
    peer.tls.active = true;
    peer.tls.has_exporter = data[0] & 0x10;
    peer.tls.unique_size = data[0] & 0x20 ? 12 : 0;
    peer.tls.client_subject = data[0] & 0x40 ? STR("carolyn@xyz.com") : STR_NONE;
    struct str in = str_make(data + 1, size - 1);
    struct sasl *s = NULL;
    bool done = false;
    if (sasl_begin(world(), AUTH_IMAP, &peer, str_of(mechanism), &s, NULL) == ST_OK)
        run(s, in, &done);
    sasl_free(s);
    check(!done || str_find(in, STR("vegetables")) != STR_NPOS || peer.tls.client_subject.n);
    return 0;
}
