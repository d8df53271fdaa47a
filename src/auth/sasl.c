/* The mechanisms: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login, for old clients), EXTERNAL (RFC 4422 appendix A), and SCRAM
 * (scram.c). */
#include "auth/login_internal.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/rd.h"
#include "rt/settings.h"

enum sasl_kind { SASL_PLAIN, SASL_LOGIN, SASL_EXTERNAL, SASL_SCRAM };

struct mechanism {
    const char *name;
    enum sasl_kind kind;
    enum credential_digest digest;
    bool plus;       /* SCRAM with channel binding */
    bool clear_text; /* shows the password to whoever listens */
};
/* Weakest last: clients take the first that they know, or the strongest. */
static const struct mechanism mechanisms[] = {
    {"SCRAM-SHA-256-PLUS", SASL_SCRAM, CREDENTIAL_SHA256, true, false},
    {"SCRAM-SHA-1-PLUS", SASL_SCRAM, CREDENTIAL_SHA1, true, false},
    {"SCRAM-SHA-256", SASL_SCRAM, CREDENTIAL_SHA256, false, false},
    {"SCRAM-SHA-1", SASL_SCRAM, CREDENTIAL_SHA1, false, false},
    {"EXTERNAL", SASL_EXTERNAL, CREDENTIAL_SHA256, false, false},
    {"PLAIN", SASL_PLAIN, CREDENTIAL_SHA256, false, true},
    {"LOGIN", SASL_LOGIN, CREDENTIAL_SHA256, false, true},
};
enum { MECHANISMS = sizeof mechanisms / sizeof *mechanisms };

struct sasl {
    struct login_try trial;
    const struct mechanism *mechanism;
    struct scram *scram;
    unsigned steps;
    bool proved;                  /* SCRAM: our signature was sent, the empty answer is awaited */
    char name[AUTH_NAME_MAX + 1]; /* LOGIN: what the client gave first */
    size_t name_n;
};

static bool binding_available(const struct session_peer *peer)
{
    return peer->tls.active && (peer->tls.has_exporter || peer->tls.unique_size);
}

static bool on_offer(const struct mechanism *m, const struct session_peer *peer)
{
    if (m->clear_text)
        return auth_clear_text_allowed(peer);
    switch (m->kind) {
    case SASL_SCRAM:
        return !m->plus || binding_available(peer);
    case SASL_EXTERNAL:
        return peer->tls.active && peer->tls.client_subject.n;
    case SASL_PLAIN:
    case SASL_LOGIN:
        return true;
    }
    return false;
}

void auth_mechanisms(struct auth *a, const struct session_peer *peer, const char *prefix, const char *between, struct buf *out)
{
    (void)a;
    bool first = true;
    for (size_t i = 0; i < MECHANISMS; i++) {
        if (!on_offer(&mechanisms[i], peer))
            continue;
        if (!first)
            buf_add_z(out, between);
        first = false;
        buf_add_z(out, prefix);
        buf_add_z(out, mechanisms[i].name);
    }
}

enum st sasl_begin(struct auth *a, enum auth_service service, const struct session_peer *peer, struct str mechanism,
                   struct sasl **out, struct err *e)
{
    const struct mechanism *m = NULL;
    for (size_t i = 0; i < MECHANISMS && !m; i++)
        if (str_eq_nocase(mechanism, str_of(mechanisms[i].name)) && on_offer(&mechanisms[i], peer))
            m = &mechanisms[i];
    ENSURE(m, e, ST_PERM, "this authentication mechanism is not available here");
    struct sasl *s = calloc(1, sizeof *s);
    ENSURE(s, e, ST_TEMP, "out of memory");
    s->mechanism = m;
    login_try_init(&s->trial, a, service, peer, m->name);
    if (m->kind == SASL_SCRAM) {
        s->scram = scram_new(&s->trial, m->digest, m->plus, e);
        if (!s->scram) {
            sasl_free(s);
            return ST_TEMP;
        }
    }
    *out = s;
    return ST_OK;
}

void sasl_free(struct sasl *s)
{
    if (!s)
        return;
    scram_free(s->scram);
    login_try_release(&s->trial);
    OPENSSL_cleanse(s, sizeof *s);
    free(s);
}

/* ---- PLAIN ---- */

/* RFC 4616 2: [authzid] NUL authcid NUL passwd */
static enum st step_plain(struct sasl *s, struct str in, struct identity *identity, struct err *e)
{
    struct rd r = rd_of(in);
    struct str authzid = rd_until(&r, '\0');
    rd_expect(&r, '\0');
    struct str authcid = rd_until(&r, '\0');
    rd_expect(&r, '\0');
    struct str password = rd_rest(&r);
    bool right = false;
    ENSURE(rd_ok(&r) && authcid.n && password.n && !memchr(password.p, 0, password.n), e, ST_PERM,
           "the PLAIN message is malformed");
    ENSURE(authzid.n <= AUTH_NAME_MAX, e, ST_PERM, "the name is malformed");
    TRY(login_try_password(&s->trial, authcid, password, &right, e));
    return login_try_close(&s->trial, right && trial_may_enter(&s->trial, authzid), identity, e);
}

/* ---- LOGIN ---- */

static enum st step_login(struct sasl *s, struct str in, struct buf *out, enum sasl_status *status, struct identity *identity,
                          struct err *e)
{
    bool right = false;
    if (s->name_n == 0) {
        ENSURE(in.n && in.n <= AUTH_NAME_MAX && !memchr(in.p, 0, in.n), e, ST_PERM, "the name is malformed");
        memcpy(s->name, in.p, in.n);
        s->name_n = in.n;
        buf_add_z(out, "Password:");
        return ST_OK;
    }
    TRY(login_try_password(&s->trial, str_make(s->name, s->name_n), in, &right, e));
    TRY(login_try_close(&s->trial, right && trial_may_enter(&s->trial, STR_NONE), identity, e));
    *status = SASL_DONE;
    return ST_OK;
}

/* ---- EXTERNAL ---- */

static enum st step_external(struct sasl *s, struct str in, struct identity *identity, struct err *e)
{
    ENSURE(in.n <= AUTH_NAME_MAX && !(in.n && memchr(in.p, 0, in.n)), e, ST_PERM, "the name is malformed");
    TRY(login_try_name(&s->trial, s->trial.peer->tls.client_subject, e));
    return login_try_close(&s->trial, trial_may_enter(&s->trial, in), identity, e);
}

/* ---- SCRAM ---- */

/* The protocols that use this have no place for data in their success reply, so the server's signature goes as one more challenge,
 * which the client answers with nothing (RFC 4422 3.6, RFC 4954 4, RFC 9051 6.2.2). */
static enum st step_scram(struct sasl *s, struct str in, struct buf *out, enum sasl_status *status, struct identity *identity,
                          struct err *e)
{
    if (s->proved) {
        ENSURE(in.n == 0, e, ST_PERM, "the SCRAM message is malformed");
        *status = SASL_DONE;
        return login_try_close(&s->trial, true, identity, e);
    }
    enum st st = scram_step(s->scram, in, out, &s->proved, e);
    if (st == ST_DENIED || (st == ST_OK && s->proved && !trial_may_enter(&s->trial, scram_authzid(s->scram)))) {
        buf_clear(out);
        return login_try_close(&s->trial, false, identity, e);
    }
    return st;
}

/* ---- any ---- */

enum { STEPS_MAX = 8 };

/* RFC 4422 3.3: where the client speaks first and has not yet, it is asked with an empty challenge. */
static void first_challenge(const struct sasl *s, struct buf *out)
{
    if (s->mechanism->kind == SASL_LOGIN)
        buf_add_z(out, "Username:");
}

enum st sasl_step(struct sasl *s, bool have_in, struct str in, struct buf *out, enum sasl_status *status, struct identity *identity,
                  struct err *e)
{
    *status = SASL_MORE;
    ENSURE(s->steps++ < STEPS_MAX, e, ST_PERM, "the exchange is too long");
    if (!have_in) {
        ENSURE(s->steps == 1, e, ST_PERM, "the exchange is malformed");
        first_challenge(s, out);
        return ST_OK;
    }
    switch (s->mechanism->kind) {
    case SASL_PLAIN:
        TRY(step_plain(s, in, identity, e));
        break;
    case SASL_EXTERNAL:
        TRY(step_external(s, in, identity, e));
        break;
    case SASL_LOGIN:
        return step_login(s, in, out, status, identity, e);
    case SASL_SCRAM:
        return step_scram(s, in, out, status, identity, e);
    }
    *status = SASL_DONE;
    return ST_OK;
}
