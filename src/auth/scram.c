/* SCRAM (RFC 5802, 7677) with channel binding (RFC 5929 tls-unique, RFC 9266 tls-exporter), by GNU SASL with the stored keys.
 * Around it stands what the library leaves to its user: the account, the throttle, salts for names that do not exist, and the check
 * that a client was not made to believe that we do not bind channels. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "auth/login_internal.h"
#include "format/base64.h"
#include "rt/random.h"
#include "rt/settings.h"

enum { SCRAM_MESSAGE_MAX = 2048, FAKE_SALT_SIZE = 16 };

struct scram {
    struct login_try *trial;
    enum credential_digest digest;
    bool plus;
    Gsasl_session *session;
    bool named;                   /* the account was looked up */
    struct credential_scram keys; /* real, or made up */
    bool real;
    enum st failed; /* what a callback ran into */
    struct err err;
    bool first_seen;
};

struct scram *scram_new(struct login_try *t, enum credential_digest digest, bool plus, struct err *e)
{
    static const char *const names[CREDENTIAL_DIGESTS][2] = {
        [CREDENTIAL_SHA256] = {"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"},
        [CREDENTIAL_SHA1] = {"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"},
    };
    struct scram *s = calloc(1, sizeof *s);
    if (!s) {
        (void)!ERR_PUBLIC(e, ST_TEMP, "out of memory");
        return NULL;
    }
    s->trial = t;
    s->digest = digest;
    s->plus = plus;
    int rc = gsasl_server_start(t->auth->gsasl, names[digest][plus], &s->session);
    if (rc != GSASL_OK) {
        (void)!ERR(e, ST_TEMP, "temporary failure", "gsasl_server_start of %s: %s", names[digest][plus], gsasl_strerror_name(rc));
        free(s);
        return NULL;
    }
    gsasl_session_hook_set(s->session, s);
    return s;
}

void scram_free(struct scram *s)
{
    if (!s)
        return;
    if (s->session)
        gsasl_finish(s->session);
    OPENSSL_cleanse(s, sizeof *s);
    free(s);
}

/* ---- keys ---- */

/* How many iterations, and how long a salt: those of the name's decoy, or of a password that would be set now. */
static struct credential_scram fake_form(const struct scram *s)
{
    DEFER(buf_release) struct buf line = BUF_INIT(CREDENTIAL_MAX);
    struct credential c;
    const struct settings *settings = settings_current();
    struct credential_scram form = {.iterations = (unsigned)settings->auth_scram_iterations, .salt_n = FAKE_SALT_SIZE};
    settings_unref(settings);
    if (!decoys_find(s->trial->auth->decoys, s->trial->key, &line) || credential_parse(buf_str(&line), &c, NULL) != ST_OK)
        return form;
    if (c.scram[s->digest].present) {
        form.iterations = c.scram[s->digest].iterations;
        form.salt_n = c.scram[s->digest].salt_n;
    }
    OPENSSL_cleanse(&c, sizeof c);
    return form;
}

/* A name that does not exist, or has no keys, gets a salt that stays the same for it, and keys that no proof fits. */
static void fake_keys(struct scram *s)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    DEFER(buf_release) struct buf text = BUF_INIT(4 * AUTH_NAME_MAX + 32);
    _Static_assert(CREDENTIAL_SALT_MAX <= 64, "SHA-512 fills the longest salt");
    buf_add_z(&text, credential_digest_name(s->digest));
    buf_add(&text, s->trial->key);
    HMAC(EVP_sha512(), directory_secret(s->trial->auth->directory), DIRECTORY_SECRET_SIZE, (const uint8_t *)text.p, text.n, mac,
         &n);
    s->keys = fake_form(s);
    memcpy(s->keys.salt, mac, s->keys.salt_n);
    s->keys.key_n = credential_digest_size(s->digest);
    random_bytes(s->keys.stored_key, s->keys.key_n);
    random_bytes(s->keys.server_key, s->keys.key_n);
}

static enum st find_keys(struct scram *s, const char *name, struct err *e)
{
    struct credential c;
    TRY(login_try_name(s->trial, str_of(name), e));
    if (s->trial->account.id && credential_parse(s->trial->account.password, &c, NULL) == ST_OK && c.scram[s->digest].present) {
        s->keys = c.scram[s->digest];
        s->real = true;
        OPENSSL_cleanse(&c, sizeof c);
        return ST_OK;
    }
    fake_keys(s);
    return ST_OK;
}

/* ---- GNU SASL asks ---- */

static int give_base64(Gsasl_session *session, Gsasl_property property, const void *bytes, size_t n)
{
    DEFER(buf_release) struct buf text = BUF_INIT(512);
    base64_encode(str_make(bytes, n), &text);
    const char *z = buf_z(&text);
    return z ? gsasl_property_set(session, property, z) : GSASL_MALLOC_ERROR;
}

static int give_iterations(Gsasl_session *session, unsigned iterations)
{
    char text[16];
    snprintf(text, sizeof text, "%u", iterations);
    return gsasl_property_set(session, GSASL_SCRAM_ITER, text);
}

static int give_binding(struct scram *s, Gsasl_session *session, Gsasl_property property)
{
    const struct session_tls *tls = &s->trial->peer->tls;
    if (property == GSASL_CB_TLS_EXPORTER && tls->active && tls->has_exporter)
        return give_base64(session, property, tls->exporter, sizeof tls->exporter);
    if (property == GSASL_CB_TLS_UNIQUE && tls->active && tls->unique_size)
        return give_base64(session, property, tls->unique, tls->unique_size);
    return GSASL_NO_CALLBACK;
}

int scram_callback(Gsasl *g, Gsasl_session *session, Gsasl_property property)
{
    (void)g;
    struct scram *s = gsasl_session_hook_get(session);
    if (!s)
        return GSASL_NO_CALLBACK;
    if (property == GSASL_CB_TLS_EXPORTER || property == GSASL_CB_TLS_UNIQUE)
        return give_binding(s, session, property);
    bool of_keys = property == GSASL_SCRAM_ITER || property == GSASL_SCRAM_SALT || property == GSASL_SCRAM_STOREDKEY ||
                   property == GSASL_SCRAM_SERVERKEY;
    if (!of_keys)
        return GSASL_NO_CALLBACK;
    if (!s->named) {
        const char *name = gsasl_property_fast(session, GSASL_AUTHID);
        s->named = true;
        s->failed = name ? find_keys(s, name, &s->err) : ST_PERM;
    }
    if (s->failed != ST_OK)
        return GSASL_AUTHENTICATION_ERROR;
    if (property == GSASL_SCRAM_ITER)
        return give_iterations(session, s->keys.iterations);
    if (property == GSASL_SCRAM_SALT)
        return give_base64(session, property, s->keys.salt, s->keys.salt_n);
    return give_base64(session, property, property == GSASL_SCRAM_STOREDKEY ? s->keys.stored_key : s->keys.server_key,
                       s->keys.key_n);
}

/* ---- steps ---- */

/* The gs2-cbind-flag of the first message (RFC 5802 6, 7). */
static enum st check_binding_flag(const struct scram *s, struct str in, struct err *e)
{
    const struct session_tls *tls = &s->trial->peer->tls;
    bool can_bind = tls->active && (tls->has_exporter || tls->unique_size);
    /* "y": the client can bind and was told that we cannot. If we can, somebody changed our list on its way */
    if (str_starts(in, STR("y")) && can_bind)
        return ERR(e, ST_DENIED, "wrong name or password", "SCRAM downgrade: the client believes that we do not bind channels");
    if (!str_starts(in, STR("p=")))
        return s->plus ? ERR_PUBLIC(e, ST_PERM, "this mechanism needs channel binding") : ST_OK;
    ENSURE(s->plus, e, ST_PERM, "this mechanism has no channel binding");
    struct str type = str_upto(str_from(in, 2), str_find_char(str_from(in, 2), ','));
    bool known = (str_eq(type, STR("tls-exporter")) && tls->has_exporter) || (str_eq(type, STR("tls-unique")) && tls->unique_size);
    ENSURE(known, e, ST_PERM, "this channel binding is not available here");
    return ST_OK;
}

static enum st result(struct scram *s, int rc, bool *done, struct err *e)
{
    if (s->failed != ST_OK) {
        if (e)
            *e = s->err;
        return s->failed == ST_OK ? ST_TEMP : s->failed;
    }
    switch (rc) {
    case GSASL_OK:
        *done = s->real;
        return s->real ? ST_OK : ERR(e, ST_DENIED, "wrong name or password", "a SCRAM proof fitted keys of nobody");
    case GSASL_NEEDS_MORE:
        return ST_OK;
    case GSASL_MALLOC_ERROR:
    case GSASL_CRYPTO_ERROR:
        return ERR(e, ST_TEMP, "temporary failure", "SCRAM: %s", gsasl_strerror_name(rc));
    case GSASL_MECHANISM_PARSE_ERROR:
    case GSASL_MECHANISM_CALLED_TOO_MANY_TIMES:
        return ERR(e, ST_PERM, "the SCRAM message is malformed", "SCRAM: %s", gsasl_strerror_name(rc));
    default:
        return ERR(e, ST_DENIED, "wrong name or password", "SCRAM: %s", gsasl_strerror_name(rc));
    }
}

enum st scram_step(struct scram *s, struct str in, struct buf *out, bool *done, struct err *e)
{
    ENSURE(in.n && in.n <= SCRAM_MESSAGE_MAX && !memchr(in.p, 0, in.n), e, ST_PERM, "the SCRAM message is malformed");
    if (!s->first_seen) {
        TRY(check_binding_flag(s, in, e));
        s->first_seen = true;
    }
    char *answer = NULL;
    size_t n = 0;
    int rc = gsasl_step(s->session, in.p, in.n, &answer, &n);
    enum st st = result(s, rc, done, e);
    if (st == ST_OK && answer)
        buf_add(out, str_make(answer, n));
    gsasl_free(answer);
    return st;
}

struct str scram_authzid(const struct scram *s)
{
    const char *z = gsasl_property_fast(s->session, GSASL_AUTHZID);
    return str_of(z ? z : "");
}
