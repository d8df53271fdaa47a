/* A whole mail system in memory for the tests of the protocols: engine, store, directory, logins and queue (which delivers
 * nothing). Two accounts, elinor@abcd.com and carolyn@xyz.com, whose password is "vegetables". Not linked into the programs. */
#ifndef SERVE_TESTING_WORLD_H
#define SERVE_TESTING_WORLD_H

#include "auth/directory.h"
#include "kv/fault.h"
#include "serve/services.h"

struct world {
    struct kv *kv; /* the fault engine (kv/fault.h) around the memory engine */
    struct services services;
    struct serve_context context;
    struct relay_clients *relay_clients;
    struct store *store;
    struct directory *directory;
    struct auth *auth;
    struct queue *queue;
    struct smtp_rates *rates;
    struct str credential;
};

#define WORLD_PASSWORD "vegetables"

/* The stored form of the password: hashing takes its time on purpose, one does for many worlds. */
enum st world_credential(struct buf *out, struct err *e) MUST_USE;
/* credential is borrowed until world_close. */
enum st world_open(struct world *w, struct str credential, struct err *e) MUST_USE;
void world_close(struct world *w);

enum st world_domain(struct world *w, struct str name, struct str catch_all, struct err *e) MUST_USE;
enum st world_account(struct world *w, struct str address, struct err *e) MUST_USE;
enum st world_alias(struct world *w, struct str address, struct str targets, struct err *e) MUST_USE; /* commas between them */
enum st world_state(struct world *w, struct str address, enum directory_state state, struct err *e) MUST_USE;
enum st world_quota(struct world *w, struct str address, uint64_t bytes, uint64_t messages, struct err *e) MUST_USE;
enum st world_relay(struct world *w, struct str rules, struct err *e) MUST_USE;

enum st world_inbox_count(struct world *w, struct str address, uint32_t *count, struct err *e) MUST_USE;
/* The bytes of the n-th message (from 1) of the INBOX, appended. */
enum st world_inbox_read(struct world *w, struct str address, uint32_t n, struct buf *out, struct err *e) MUST_USE;
enum st world_queued(struct world *w, size_t *entries, struct err *e) MUST_USE;
/* Puts a message into the INBOX. */
enum st world_deliver(struct world *w, struct str address, struct str bytes, struct err *e) MUST_USE;

#endif
