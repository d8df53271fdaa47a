/* What login.c and the SASL mechanisms share. */
#ifndef AUTH_LOGIN_INTERNAL_H
#define AUTH_LOGIN_INTERNAL_H

#include <gsasl.h>
#include <pthread.h>

#include "auth/credential.h"
#include "auth/decoy.h"
#include "auth/login.h"
#include "auth/throttle.h"

enum {
    AUTH_ARENA_MAX = 64 << 10, /* bytes for one try */
    AUTH_NAME_MAX = 328,       /* bytes of a login name */
    VERIFIED_WAYS = 4,
    VERIFIED_STRIPES = 16,
};

/* A password that was right a moment ago: MAC over account, stored credential and password under a key of this process. */
struct verified {
    uint8_t mac[32];
    int64_t until_ms; /* 0: free */
};

struct auth {
    struct directory *directory;
    struct throttle *throttle;
    struct decoys *decoys;
    Gsasl *gsasl;
    uint8_t mac_key[32];
    size_t verified_sets; /* a power of two */
    struct verified *verified;
    pthread_mutex_t verified_lock[VERIFIED_STRIPES];
    pthread_mutex_t dummy_lock;
    char dummy[CREDENTIAL_MAX]; /* a credential of nobody: what unknown names cost where no decoy stands */
    size_t dummy_n;
};

/* One try to be somebody. */
struct login_try {
    struct auth *auth;
    enum auth_service service;
    const struct session_peer *peer;
    const char *mechanism; /* for the log */
    struct arena arena;
    struct str name;                  /* as given, in the arena */
    struct str key;                   /* the same however the address is spelled: see directory_login_key; in the arena */
    struct directory_account account; /* id 0: nobody */
    struct throttle_try throttle;
};

void login_try_init(struct login_try *t, struct auth *a, enum auth_service service, const struct session_peer *peer,
                    const char *mechanism);
void login_try_release(struct login_try *t);
/* Finds the account and asks the throttle. ST_OK also for an unknown name. */
enum st login_try_name(struct login_try *t, struct str name, struct err *e) MUST_USE;
/* The account exists and may log in, and authzid (maybe empty) names it too. */
bool trial_may_enter(struct login_try *t, struct str authzid);
/* Closes the try: counts, logs, and fills *out or *e. */
enum st login_try_close(struct login_try *t, bool ok, struct identity *out, struct err *e) MUST_USE;
/* Name and password together, up to but without login_try_close. ST_OK: *right tells. */
enum st login_try_password(struct login_try *t, struct str name, struct str password, bool *right, struct err *e) MUST_USE;

/* auth/scram.c */
struct scram;
/* The digest and whether channel binding is required ("-PLUS"). */
struct scram *scram_new(struct login_try *t, enum credential_digest digest, bool plus, struct err *e);
void scram_free(struct scram *s);
/* One message of the client; *done when the proof was right (then out is the server's signature and the authzid is known). */
enum st scram_step(struct scram *s, struct str in, struct buf *out, bool *done, struct err *e) MUST_USE;
struct str scram_authzid(const struct scram *s);
int scram_callback(Gsasl *g, Gsasl_session *session, Gsasl_property property);

#endif
