/* The directory: domains, accounts, aliases and credentials, in partitions of the engine (sharded by address, so that millions
 * fit). It answers two questions: where does mail for this address go, and who owns this address. Passwords are auth/login.h.
 *
 * Threads: any. A bounded cache of answers with a short life stands in front of the engine; changes made here are seen at once by
 * this process. Errors: ST_TEMP (engine), ST_NOTFOUND, ST_EXISTS, ST_PERM (bad address or name), ST_LIMIT. */
#ifndef AUTH_DIRECTORY_H
#define AUTH_DIRECTORY_H

#include "base/arena.h"
#include "base/err.h"
#include "store/store.h"

struct directory;

enum st directory_open(struct kv *kv, struct directory **out, struct err *e) MUST_USE;
void directory_close(struct directory *d);

/* ---- where does mail for an address go ---- */

enum directory_kind {
    DIRECTORY_REMOTE,   /* the domain is not ours: relay, if the sender may */
    DIRECTORY_UNKNOWN,  /* our domain, no such mailbox: 550 5.1.1 */
    DIRECTORY_DISABLED, /* exists, takes no mail now: 450 4.2.1 / 550 5.2.1 by account state */
    DIRECTORY_LOCAL,    /* one or more targets */
};
struct directory_target {
    account_id account; /* 0: forward to `address` elsewhere */
    struct str address; /* canonical "local@domain": of the account, or the foreign one */
    struct str detail;  /* sub-address of RFC 5233 ("lists" of user+lists@...), or empty */
};
enum directory_state { DIRECTORY_ACTIVE, DIRECTORY_SUSPENDED /* no login, mail is kept */, DIRECTORY_CLOSED /* no login, 550 */ };
struct directory_route {
    enum directory_kind kind;
    enum directory_state state;       /* with DIRECTORY_DISABLED: SUSPENDED is 450 4.2.1, CLOSED is 550 5.2.1 */
    struct directory_target *targets; /* in the arena */
    size_t count;
};
enum { DIRECTORY_TARGETS_MAX = 1000, DIRECTORY_ALIAS_DEPTH_MAX = 10 };

/* `address` is "local@domain" as parsed and canonicalised by format/address (domain in lower case A-labels); "postmaster" without a
 * domain is the postmaster of the default domain (RFC 5321 4.5.1). Order: account, alias, account without the sub-address, alias
 * without it, catch-all of the domain. Local-parts compare without regard to ASCII case. Alias loops end at
 * DIRECTORY_ALIAS_DEPTH_MAX. */
enum st directory_resolve(struct directory *d, struct str address, struct arena *arena, struct directory_route *out,
                          struct err *e) MUST_USE;
enum st directory_domain_is_local(struct directory *d, struct str domain, bool *local, struct err *e) MUST_USE;

/* May this account send as this address: its own, an alias that leads to it (alone or with others), a sub-address of those, or an
 * address listed as its identity. */
enum st directory_owns(struct directory *d, account_id account, struct str address, bool *owns, struct err *e) MUST_USE;

/* ---- administration ---- */

struct directory_domain {
    struct str name;      /* A-labels, lower case */
    struct str catch_all; /* address, or empty */
    struct str alias_of;  /* another domain of ours whose accounts and aliases this one has too, or empty */
    bool is_default;      /* completes bare names: "carolyn" -> carolyn@default */
};
enum st directory_domain_put(struct directory *d, const struct directory_domain *domain, struct err *e) MUST_USE;
enum st directory_domain_remove(struct directory *d, struct str name,
                                struct err *e) MUST_USE; /* ST_CONFLICT while accounts use it */
typedef bool directory_visit_domain(void *context, const struct directory_domain *domain);
enum st directory_domains(struct directory *d, directory_visit_domain *visit, void *context, struct err *e) MUST_USE;

struct directory_account {
    account_id id;
    struct str address; /* canonical primary address */
    struct str name;    /* display name, UTF-8, maybe empty */
    enum directory_state state;
    int64_t created_ms;
    struct str password; /* crypt(3) or {ARGON2ID} hash, and SCRAM keys, as auth/credential prints them; empty: no password login */
    uint64_t quota_bytes, quota_messages; /* UINT64_MAX: none */
    struct str identities;                /* further addresses it may send as, separated by LF */
};
/* Creates the record and the store account; a crash between the two is repaired by calling again. *id out. */
enum st directory_account_add(struct directory *d, struct store *store, const struct directory_account *account, account_id *id,
                              struct err *e) MUST_USE;
/* Replaces all of it but address, id and time of making. */
enum st directory_account_update(struct directory *d, const struct directory_account *account, struct err *e) MUST_USE;
/* The same for a change of some fields, so that changes at the same time do not undo each other: `editor` gets the account as it is
 * at this moment and changes it (not its address or id); an error of it ends the change. It may be called again. */
typedef enum st directory_account_editor(void *context, struct directory_account *account, struct err *e);
enum st directory_account_edit(struct directory *d, struct str address, directory_account_editor *editor, void *context,
                               struct err *e) MUST_USE;
enum st directory_account_remove(struct directory *d, struct store *store, struct str address, struct err *e) MUST_USE;
enum st directory_account_find(struct directory *d, struct str address, struct arena *arena, struct directory_account *out,
                               struct err *e) MUST_USE;
enum st directory_account_find_id(struct directory *d, account_id id, struct arena *arena, struct directory_account *out,
                                  struct err *e) MUST_USE;
/* 32 random bytes of this installation, made at the first start (for salts that are made up for unknown names). */
enum { DIRECTORY_SECRET_SIZE = 32 };
const uint8_t *directory_secret(const struct directory *d);
/* The default domain; empty if there is none. */
enum st directory_default_domain(struct directory *d, struct buf *out, struct err *e) MUST_USE;
/* By login name: full address, or a bare name that is completed with the default domain, or that is the local-part of exactly one
 * account. */
enum st directory_account_login(struct directory *d, struct str name, struct arena *arena, struct directory_account *out,
                                struct err *e) MUST_USE;
/* What a login name is counted and remembered under, whether there is such an account or not: the address it stands for, lower
 * case, a missing domain completed with the default one and a domain that is another's alias replaced. For comparing, not for
 * printing. */
enum st directory_login_key(struct directory *d, struct str name, struct arena *arena, struct str *out, struct err *e) MUST_USE;
typedef bool directory_visit_account(void *context, const struct directory_account *account);
enum st directory_accounts(struct directory *d, struct str domain, directory_visit_account *visit, void *context,
                           struct err *e) MUST_USE; /* domain empty: all */
/* The same for one of DIRECTORY_PARTS parts, so that a long list can be told in pieces. */
enum { DIRECTORY_PARTS = 256 };
enum st directory_accounts_part(struct directory *d, unsigned part, struct str domain, directory_visit_account *visit,
                                void *context, struct err *e) MUST_USE;

struct directory_alias {
    struct str address; /* canonical */
    struct str targets; /* addresses separated by LF */
};
enum st directory_alias_put(struct directory *d, const struct directory_alias *alias, struct err *e) MUST_USE;
enum st directory_alias_find(struct directory *d, struct str address, struct arena *arena, struct directory_alias *out,
                             struct err *e) MUST_USE;
enum st directory_alias_remove(struct directory *d, struct str address, struct err *e) MUST_USE;
typedef bool directory_visit_alias(void *context, const struct directory_alias *alias);
enum st directory_aliases(struct directory *d, struct str domain, directory_visit_alias *visit, void *context,
                          struct err *e) MUST_USE;

#endif
