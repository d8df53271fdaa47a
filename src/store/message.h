/* Messages: the index entry, appending, flags, copying, expunging, reading. See store.h for threads and errors.
 *
 * Every changing call returns when the change is durable and visible (promise 1), and makes UIDs and mod-sequences visible in order
 * (promise 3). A call on many messages is one commit, or, past the engine's batch limit, several whole ones in UID order. */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include "kv/engine.h"
#include "store/mailbox.h"

enum message_flag { /* RFC 9051 2.3.2; \Recent is the session's affair */
                    MESSAGE_SEEN = 1 << 0,
                    MESSAGE_ANSWERED = 1 << 1,
                    MESSAGE_FLAGGED = 1 << 2,
                    MESSAGE_DELETED = 1 << 3,
                    MESSAGE_DRAFT = 1 << 4,
};

/* One message in one mailbox: an entry of an index page. */
struct message_entry {
    uint32_t uid;
    uint32_t flags;      /* enum message_flag */
    uint64_t keywords;   /* bits; names in mailbox_info.keywords */
    uint64_t modseq;     /* of its last change */
    int64_t internal_ms; /* INTERNALDATE, UTC */
    uint32_t saved_s;    /* RFC 8514 SAVEDATE: when it came into this mailbox, UTC seconds */
    uint32_t size;       /* bytes, RFC822.SIZE */
    uint64_t email;      /* the e-mail (bytes, digest) it shows; shared by all copies in the account. EMAILID of RFC 8474 */
};

/* What an e-mail is, whichever mailboxes show it. */
struct message_email {
    uint64_t id, thread; /* thread: THREADID of RFC 8474 */
    struct kv_blob_id blob;
    uint32_t size;
};

/* ---- reading ---- */

/* Visits the entries whose UIDs are in `uids` (NULL: all), in UID order. Pages are read as the visit goes on; memory is one page. A
 * message that another session expunged meanwhile is not visited. false stops. visit runs inside a scan of the engine, so of the
 * store it may only call message_digest(s), message_email(s) and message_read(_email), which neither commit nor wait for a commit;
 * the same holds for the visitors below. */
typedef bool message_visit(void *context, const struct message_entry *entry);
enum st message_scan(struct account *a, uint32_t mailbox, const struct uidset *uids, message_visit *visit, void *context,
                     struct err *e) MUST_USE;
/* As a cursor for answers that are longer than an output buffer: fills the room with entries with UID >= *next_uid that are in
 * `uids` (NULL: all), and sets *next_uid behind the last one (0 when there are no more). */
struct message_room {
    struct message_entry *entries;
    size_t max;
    size_t *count; /* out */
};
enum st message_page(struct account *a, uint32_t mailbox, const struct uidset *uids, uint32_t *next_uid, struct message_room room,
                     struct err *e) MUST_USE;
enum st message_find(struct account *a, uint32_t mailbox, uint32_t uid, struct message_entry *out, struct err *e) MUST_USE;

/* The digest (format/digest.h) of an e-mail, appended to *out. */
enum st message_digest(struct account *a, uint64_t email, struct buf *out, struct err *e) MUST_USE;
/* Visits digests of several e-mails given in ascending order of id with range reads; those that vanished are left out. */
typedef bool message_digest_visit(void *context, uint64_t email, struct str digest);
enum st message_digests(struct account *a, const uint64_t *emails, size_t count, message_digest_visit *visit, void *context,
                        struct err *e) MUST_USE;
enum st message_email(struct account *a, uint64_t email, struct message_email *out, struct err *e) MUST_USE;
/* As message_digests, with the facts of each e-mail. */
typedef bool message_email_visit(void *context, const struct message_email *email, struct str digest);
enum st message_emails(struct account *a, const uint64_t *emails, size_t count, message_email_visit *visit, void *context,
                       struct err *e) MUST_USE;
/* As message_read, for an e-mail whose facts are known: they are not looked up for each piece. If it was expunged meanwhile its
 * bytes may still be there (grace period of blobs); the caller knew it when it was. */
enum st message_read_email(struct account *a, const struct message_email *email, uint64_t offset, size_t length, struct buf *out,
                           struct err *e) MUST_USE;
/* As message_read_email, for several small ones at once: kv_blob_read_together of their blobs. */
enum st message_read_together(struct account *a, struct kv_blob_place *places, size_t count, struct buf *out,
                              struct err *e) MUST_USE;
/* Appends up to `length` bytes of the message from `offset`. The bytes are those that came in (promise 2). */
enum st message_read(struct account *a, uint64_t email, uint64_t offset, size_t length, struct buf *out, struct err *e) MUST_USE;

/* ---- changing ---- */

struct message_append {
    struct str bytes;  /* the whole message; borrowed until return (a spool's view) */
    struct str digest; /* its digest_build() record, or empty: then it is built here */
    uint32_t flags;
    const struct str *keywords;
    size_t keyword_count;
    int64_t internal_ms; /* 0: now */
    bool ignore_quota;
    /* out */
    uint32_t uid, uidvalidity;
    uint64_t modseq, email;
};
/* Appends all of the list, or nothing (RFC 3502), to one mailbox. ST_LIMIT: quota or size; ST_NOTFOUND: no such mailbox. */
enum st message_append(struct account *a, uint32_t mailbox, struct message_append *list, size_t count, struct err *e) MUST_USE;

enum message_store_mode { MESSAGE_STORE_SET, MESSAGE_STORE_ADD, MESSAGE_STORE_REMOVE };
struct message_store {
    enum message_store_mode mode;
    uint32_t flags;
    uint64_t keywords;        /* bits from mailbox_keywords() */
    uint64_t unchanged_since; /* RFC 7162; UINT64_MAX: no condition */
    /* out, owned by the caller */
    struct uidset changed; /* really changed (a no-op store of a flag changes nothing and costs no commit) */
    struct uidset refused; /* failed UNCHANGEDSINCE */
    uint64_t modseq;       /* of this change */
};
enum st message_store(struct account *a, uint32_t mailbox, const struct uidset *uids, struct message_store *change,
                      struct err *e) MUST_USE;

/* COPY and MOVE within the account. from_uids and to_uids correspond in order (RFC 4315); the caller owns them. MOVE is atomic:
 * never in both, never in none (RFC 6851). Flags, keywords and internal date are kept. */
struct message_copy {
    bool move;
    uint32_t uidvalidity;
    struct uidset from_uids, to_uids;
    uint64_t modseq;
};
enum st message_copy(struct account *a, uint32_t from, uint32_t to, const struct uidset *uids, struct message_copy *result,
                     struct err *e) MUST_USE;

/* Removes messages for good. only_deleted: of `uids` (NULL: all) those with \Deleted (EXPUNGE, UID EXPUNGE); otherwise all of uids
 * (POP3 QUIT). *expunged (owned by the caller) are those that were removed. */
enum st message_expunge(struct account *a, uint32_t mailbox, const struct uidset *uids, bool only_deleted, struct uidset *expunged,
                        uint64_t *modseq, struct err *e) MUST_USE;

#endif
