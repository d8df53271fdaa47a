#include "auth/login_internal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "base/bits.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "rt/permit.h"
#include "rt/random.h"
#include "rt/settings.h"

#define DENIED_TEXT "wrong name or password"

/* ---- open ---- */

static enum st open_tables(struct auth *a, struct err *e)
{
    const struct settings *s = settings_current();
    random_bytes(a->mac_key, sizeof a->mac_key);
    a->verified_sets = VERIFIED_STRIPES;
    while (a->verified_sets * VERIFIED_WAYS < (size_t)s->auth_cache_entries)
        a->verified_sets *= 2;
    a->verified = calloc(a->verified_sets * VERIFIED_WAYS, sizeof *a->verified);
    a->throttle = throttle_new((size_t)s->auth_tracked);
    a->decoys = decoys_new();
    permit_limit(PERMIT_PASSWORD, (unsigned)s->auth_hashing);
    settings_unref(s);
    ENSURE(a->verified && a->throttle && a->decoys, e, ST_TEMP, "out of memory");
    if (gsasl_init(&a->gsasl) != GSASL_OK)
        return ERR_PUBLIC(e, ST_TEMP, "GNU SASL does not start");
    gsasl_callback_set(a->gsasl, scram_callback);
    return ST_OK;
}

/* Made when the first unknown name comes: starting need not wait for a hash. */
static enum st make_dummy(struct auth *a, struct err *e)
{
    static const char hex[] = "0123456789abcdef";
    char password[33];
    DEFER(buf_release) struct buf line = BUF_INIT(sizeof a->dummy);
    random_bytes(password, sizeof password - 1);
    for (size_t i = 0; i < sizeof password - 1; i++)
        password[i] = hex[(unsigned char)password[i] & 15];
    TRY(credential_make(str_make(password, sizeof password - 1), &line, e));
    memcpy(a->dummy, line.p, line.n);
    a->dummy_n = line.n;
    return ST_OK;
}

/* What the name costs if it does not exist. line: what *out looks into. */
static enum st decoy_credential(struct auth *a, struct str key, struct buf *line, struct credential *out, struct err *e)
{
    if (decoys_find(a->decoys, key, line))
        return credential_parse(buf_str(line), out, e);
    pthread_mutex_lock(&a->dummy_lock);
    enum st st = a->dummy_n ? ST_OK : make_dummy(a, e);
    pthread_mutex_unlock(&a->dummy_lock);
    TRY(st);
    return credential_parse(str_make(a->dummy, a->dummy_n), out, e); /* never changes again */
}

enum st auth_open(struct directory *d, struct auth **out, struct err *e)
{
    struct auth *a = calloc(1, sizeof *a);
    ENSURE(a, e, ST_TEMP, "out of memory");
    a->directory = d;
    pthread_mutex_init(&a->dummy_lock, NULL);
    for (size_t i = 0; i < VERIFIED_STRIPES; i++)
        pthread_mutex_init(&a->verified_lock[i], NULL);
    enum st st = open_tables(a, e);
    if (st != ST_OK) {
        auth_close(a);
        return st;
    }
    *out = a;
    return ST_OK;
}

void auth_close(struct auth *a)
{
    if (!a)
        return;
    if (a->gsasl)
        gsasl_done(a->gsasl);
    throttle_free(a->throttle);
    decoys_free(a->decoys);
    for (size_t i = 0; i < VERIFIED_STRIPES; i++)
        pthread_mutex_destroy(&a->verified_lock[i]);
    pthread_mutex_destroy(&a->dummy_lock);
    free(a->verified);
    OPENSSL_cleanse(a, sizeof *a);
    free(a);
}

struct directory *auth_directory(struct auth *a) { return a->directory; }

bool auth_clear_text_allowed(const struct session_peer *peer)
{
    if (peer->tls.active || peer->loopback || peer->trusted_local)
        return true;
    const struct settings *s = settings_current();
    bool allowed = s->auth_clear_text;
    settings_unref(s);
    return allowed;
}

/* ---- passwords that were right a moment ago ---- */

static void verified_mac(struct auth *a, const struct directory_account *account, struct str password, uint8_t mac[32])
{
    uint8_t one[32], text[8 + 32 + 32];
    unsigned n = 0;
    le64_put(text, account->id);
    HMAC(EVP_sha256(), a->mac_key, sizeof a->mac_key, (const uint8_t *)account->password.p, account->password.n, one, &n);
    memcpy(text + 8, one, sizeof one);
    HMAC(EVP_sha256(), a->mac_key, sizeof a->mac_key, (const uint8_t *)password.p, password.n, one, &n);
    memcpy(text + 40, one, sizeof one);
    HMAC(EVP_sha256(), a->mac_key, sizeof a->mac_key, text, sizeof text, mac, &n);
    OPENSSL_cleanse(text, sizeof text);
    OPENSSL_cleanse(one, sizeof one);
}

static struct verified *verified_set(struct auth *a, const uint8_t mac[32], pthread_mutex_t **lock)
{
    size_t set = le64_get(mac) & (a->verified_sets - 1);
    *lock = &a->verified_lock[set % VERIFIED_STRIPES];
    return &a->verified[set * VERIFIED_WAYS];
}

static bool verified_find(struct auth *a, const uint8_t mac[32])
{
    pthread_mutex_t *lock;
    struct verified *set = verified_set(a, mac, &lock);
    int64_t now = clock_mono_ms();
    bool found = false;
    pthread_mutex_lock(lock);
    for (size_t i = 0; i < VERIFIED_WAYS; i++)
        found |= set[i].until_ms > now && CRYPTO_memcmp(set[i].mac, mac, 32) == 0;
    pthread_mutex_unlock(lock);
    return found;
}

static void verified_remember(struct auth *a, const uint8_t mac[32])
{
    pthread_mutex_t *lock;
    struct verified *set = verified_set(a, mac, &lock), *place = &set[0];
    const struct settings *s = settings_current();
    int64_t life = s->auth_cache_ms, until = clock_mono_ms() + life;
    settings_unref(s);
    if (life == 0)
        return;
    pthread_mutex_lock(lock);
    for (size_t i = 1; i < VERIFIED_WAYS; i++)
        if (set[i].until_ms < place->until_ms)
            place = &set[i];
    memcpy(place->mac, mac, 32);
    place->until_ms = until;
    pthread_mutex_unlock(lock);
}

/* ---- one try ---- */

static const char *service_name(enum auth_service s)
{
    switch (s) {
    case AUTH_SMTP:
        return "smtp";
    case AUTH_IMAP:
        return "imap";
    case AUTH_POP3:
        return "pop3";
    case AUTH_SIEVE:
        return "sieve";
    case AUTH_HTTP:
        return "http";
    }
    return "?";
}

void login_try_init(struct login_try *t, struct auth *a, enum auth_service service, const struct session_peer *peer,
                    const char *mechanism)
{
    *t = (struct login_try){
        .auth = a, .service = service, .peer = peer, .mechanism = mechanism, .arena = ARENA_INIT(AUTH_ARENA_MAX)};
}

void login_try_release(struct login_try *t)
{
    arena_release(&t->arena);
    *t = (struct login_try){0};
}

enum st login_try_name(struct login_try *t, struct str name, struct err *e)
{
    ENSURE(name.n <= AUTH_NAME_MAX && !(name.n && memchr(name.p, 0, name.n)), e, ST_PERM, "the name is malformed");
    t->name = arena_str(&t->arena, name);
    ENSURE(t->name.p, e, ST_TEMP, "out of memory");
    enum st st = directory_account_login(t->auth->directory, t->name, &t->arena, &t->account, e);
    if (st == ST_NOTFOUND)
        t->account = (struct directory_account){0};
    else if (st != ST_OK)
        return st;
    t->throttle.address = t->peer->trusted_local ? STR_NONE : str_of(t->peer->address);
    t->throttle.loopback = t->peer->loopback;
    TRY(directory_login_key(t->auth->directory, t->account.id ? t->account.address : t->name, &t->arena, &t->key, e));
    t->throttle.name = t->key;
    return throttle_allow(t->auth->throttle, &t->throttle, NULL, e);
}

bool trial_may_enter(struct login_try *t, struct str authzid)
{
    if (!t->account.id || t->account.state != DIRECTORY_ACTIVE)
        return false;
    if (str_empty(authzid))
        return true;
    /* nobody may act for another; but one may name oneself in another way */
    struct directory_account other;
    return directory_account_login(t->auth->directory, authzid, &t->arena, &other, NULL) == ST_OK && other.id == t->account.id;
}

/* A credential that costs nothing is no model: its failures cost what a decoy does. */
static void learn_decoy(struct login_try *t)
{
    struct credential c;
    if (credential_parse(t->account.password, &c, NULL) == ST_OK && !credential_is_cheap(&c))
        decoys_learn(t->auth->decoys, t->key, t->account.password);
}

enum st login_try_close(struct login_try *t, bool ok, struct identity *out, struct err *e)
{
    if (!ok || t->account.address.n >= sizeof out->address) {
        throttle_failed(t->auth->throttle, &t->throttle);
        metrics_one(METRIC_LOGIN_FAILURES);
        log_event(LOG_WARN, "login.failed", LOG_STR("service", str_of(service_name(t->service))),
                  LOG_STR("mechanism", str_of(t->mechanism)), LOG_STR("user", t->name),
                  LOG_STR("client", str_of(t->peer->address)));
        return ERR(e, ST_DENIED, DENIED_TEXT, "%s %s: login of %.*s from %s failed", service_name(t->service), t->mechanism,
                   STR_FMT(t->name), t->peer->address);
    }
    throttle_succeeded(t->auth->throttle, &t->throttle);
    learn_decoy(t);
    metrics_one(METRIC_LOGINS);
    *out = (struct identity){.account = t->account.id};
    memcpy(out->address, t->account.address.p, t->account.address.n);
    log_event(LOG_INFO, "login", LOG_STR("service", str_of(service_name(t->service))), LOG_STR("mechanism", str_of(t->mechanism)),
              LOG_STR("user", t->account.address), LOG_STR("client", str_of(t->peer->address)));
    return ST_OK;
}

struct renewal {
    struct str old, new;
};

static enum st edit_renew(void *context, struct directory_account *account, struct err *e)
{
    const struct renewal *r = context;
    /* if the password was changed meanwhile, the one that was just used must not come back */
    ENSURE(str_eq(account->password, r->old), e, ST_CONFLICT, "the password was changed meanwhile");
    account->password = r->new;
    return ST_OK;
}

/* A credential that another server made, or that costs less than the settings ask by now, is made anew while the password is at
 * hand. A failure does not matter: the old one still works. */
static void renew_credential(struct login_try *t, struct str password)
{
    DEFER(buf_release) struct buf line = BUF_INIT(CREDENTIAL_MAX);
    const struct settings *s = settings_current();
    bool renew = s->auth_renew;
    settings_unref(s);
    if (!renew || credential_make(password, &line, NULL) != ST_OK)
        return;
    struct renewal r = {t->account.password, buf_str(&line)};
    if (directory_account_edit(t->auth->directory, t->account.address, edit_renew, &r, NULL) == ST_OK)
        log_event(LOG_INFO, "login.credential_renewed", LOG_STR("user", t->account.address));
}

static enum st check_password(struct login_try *t, struct str password, bool *right, struct err *e)
{
    DEFER(buf_release) struct buf line = BUF_INIT(CREDENTIAL_MAX);
    struct credential c, decoy;
    struct auth *a = t->auth;
    uint8_t mac[32];
    bool real = t->account.id && t->account.password.n;
    TRY(real ? credential_parse(t->account.password, &c, e) : decoy_credential(a, t->key, &line, &c, e));
    verified_mac(a, &t->account, password, mac);
    *right = real && verified_find(a, mac);
    if (*right)
        return ST_OK;
    bool cheap = real && credential_is_cheap(&c);
    if (cheap)
        TRY(decoy_credential(a, t->key, &line, &decoy, e));
    struct permit permit;
    TRY(permit_take(PERMIT_PASSWORD, &permit, e));
    *right = credential_verify(&c, password) && real;
    if (!*right && cheap)
        (void)credential_verify(&decoy, password); /* or the time would tell that the account exists */
    if (*right && credential_is_old(&c))
        renew_credential(t, password);
    permit_give(&permit);
    if (*right)
        verified_remember(a, mac);
    return ST_OK;
}

enum st login_try_password(struct login_try *t, struct str name, struct str password, bool *right, struct err *e)
{
    TRY(login_try_name(t, name, e));
    t->throttle.proof = (str_hash(password) ^ str_hash(t->throttle.name) * 3) | 1;
    if (password.n == 0 || password.n > CREDENTIAL_PASSWORD_MAX) {
        *right = false;
        return ST_OK;
    }
    return check_password(t, password, right, e);
}

enum st auth_password(struct auth *a, enum auth_service service, const struct session_peer *peer, struct str name,
                      struct str password, struct identity *out, struct err *e)
{
    DEFER(login_try_release) struct login_try t;
    bool right = false;
    login_try_init(&t, a, service, peer, "password");
    TRY(login_try_password(&t, name, password, &right, e));
    return login_try_close(&t, right && trial_may_enter(&t, STR_NONE), out, e);
}
