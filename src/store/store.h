/* The store: accounts, their mailboxes and messages, on any engine of kv/.
 *
 * One account is one partition, so that everything of one person changes atomically, and one counter, the partition's version, is
 * IMAP mod-sequence and JMAP state at once. Every change goes through the account's commit line: threads that want to change the
 * same account at the same time are combined into one commit (one fsync), and each learns its own result. Readers never wait for
 * it.
 *
 * Threads: everything may be called from any thread. An account handle is shared and reference-counted; it caches the mailbox
 * records and UID sets of the account, bounded by store settings, and idle accounts are dropped from memory. Errors: ST_NOTFOUND
 * (account, mailbox, message), ST_EXISTS (name), ST_LIMIT (quota, counts), ST_TEMP (engine; nothing happened, unless the disk
 * failed so that nobody could tell, in which case the account cannot be read until it is known), ST_CORRUPT. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"

struct kv;
struct store;
struct account;

struct store_config {
    size_t accounts_cached;     /* idle account handles kept in memory */
    size_t journal_max_changes; /* commits kept in an account's journal; older clients resync fully */
    unsigned mailboxes_max;     /* for each account */
    unsigned blob_grace_s;      /* an unlinked blob is kept this long */
    uint64_t message_max_bytes;
};
void store_config_defaults(struct store_config *c);

enum st store_open(struct kv *kv, const struct store_config *config, struct store **out, struct err *e) MUST_USE;
void store_close(struct store *s); /* all accounts must have been unref'd */
struct kv *store_kv(struct store *s);

typedef uint64_t account_id; /* random, never reused; made by the directory; 0 is none */

/* Creates the account's partition with the mailboxes INBOX, Sent, Drafts, Trash, Junk, Archive (RFC 6154 roles), subscribed.
 * ST_EXISTS if it is there. Repeatable after a crash. */
enum st account_create(struct store *s, account_id id, struct err *e) MUST_USE;
enum st account_open(struct store *s, account_id id, struct account **out, struct err *e) MUST_USE; /* a reference */
struct account *account_ref(struct account *a);
void account_unref(struct account *a);
/* Removes everything of the account; open handles get ST_NOTFOUND from then on. */
enum st account_remove(struct store *s, account_id id, struct err *e) MUST_USE;
account_id account_id_of(const struct account *a);

/* RFC 9208: limits of 0 mean that nothing may be stored; UINT64_MAX is "no limit set". */
struct account_quota {
    uint64_t bytes_used, bytes_max;
    uint64_t messages_used, messages_max;
};
void account_quota(struct account *a, struct account_quota *out);
enum st account_quota_set(struct account *a, uint64_t bytes_max, uint64_t messages_max, struct err *e) MUST_USE;

uint64_t account_modseq(struct account *a); /* of the last commit */

/* ---- watching ---- */

/* `changed` is called after each commit that touches mailbox `mailbox` (0: any), from the committing thread, without locks held by
 * the caller that it could need; it must only set flags and call session_wake. After account_unwatch returns it is not called any
 * more. */
struct account_watch {
    uint32_t mailbox;
    void (*changed)(struct account_watch *w, uint64_t modseq);
    struct account_watch *next, **prev; /* the account's */
};
void account_watch(struct account *a, struct account_watch *w);
void account_unwatch(struct account *a, struct account_watch *w);

/* ---- care ---- */

typedef void fsck_report(void *context, const char *what); /* one line for each finding */
struct fsck_result {
    uint64_t accounts, mailboxes, messages, blobs, findings, repaired;
};
/* Checks every structure against every other: pages, UID sets, counts, journal, e-mail records, digests, quota, links; with `blobs`
 * also every blob's digest. With `repair` mends what can be derived. Works on a running store. */
enum st store_fsck(struct store *s, bool repair, bool blobs, fsck_report *report, void *context, struct fsck_result *out,
                   struct err *e) MUST_USE;
/* One bounded slice of background work: collecting blobs, trimming journals. Called by a timer. */
enum st store_care(struct store *s, struct err *e) MUST_USE;

#endif
