/* Mailboxes of an account (RFC 9051, 6154, 8474, 7162). Names are UTF-8 in NFC with '/' between levels; INBOX is always "INBOX". */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "base/arena.h"
#include "store/store.h"
#include "store/uidset.h"

enum {
    MAILBOX_NAME_MAX = 1000,   /* bytes, whole path */
    MAILBOX_DEPTH_MAX = 32,    /* levels */
    MAILBOX_KEYWORDS_MAX = 64, /* different keywords in one mailbox */
    MAILBOX_KEYWORD_LENGTH_MAX = 64,
};

/* RFC 6154 special-use, as bits for lists and as the role of a mailbox (one bit or 0). */
enum mailbox_role {
    MAILBOX_ROLE_NONE = 0,
    MAILBOX_ROLE_INBOX = 1 << 0,
    MAILBOX_ROLE_ARCHIVE = 1 << 1,
    MAILBOX_ROLE_DRAFTS = 1 << 2,
    MAILBOX_ROLE_SENT = 1 << 3,
    MAILBOX_ROLE_TRASH = 1 << 4,
    MAILBOX_ROLE_JUNK = 1 << 5,
    MAILBOX_ROLE_ALL = 1 << 6,
    MAILBOX_ROLE_FLAGGED = 1 << 7,
    MAILBOX_ROLE_IMPORTANT = 1 << 8,
};

/* A copy of the facts of one mailbox at one moment; plain data. */
struct mailbox_info {
    uint32_t id;     /* unique in the account, never reused: MAILBOXID of RFC 8474 */
    struct str name; /* in the arena or buffer that the call was given */
    enum mailbox_role role;
    bool subscribed;
    bool selectable; /* false: only a level of hierarchy (\NoSelect) */
    uint32_t uidvalidity;
    uint32_t uidnext;
    uint64_t highest_modseq;
    uint32_t exists, unseen, deleted; /* messages; without \Seen; with \Deleted */
    uint64_t size_bytes;              /* of all messages: STATUS SIZE */
    uint32_t first_recent_uid;        /* UIDs from here on have not been announced to any session yet */
    unsigned keyword_count;
    struct str keywords[MAILBOX_KEYWORDS_MAX]; /* bit i of message_entry.keywords is keywords[i] */
};

/* By name (INBOX in any case) or id. Strings are put into the arena. */
enum st mailbox_find(struct account *a, struct str name, struct arena *arena, struct mailbox_info *out, struct err *e) MUST_USE;
enum st mailbox_find_id(struct account *a, uint32_t id, struct arena *arena, struct mailbox_info *out, struct err *e) MUST_USE;
enum st mailbox_find_role(struct account *a, enum mailbox_role role, struct arena *arena, struct mailbox_info *out,
                          struct err *e) MUST_USE;
/* All mailboxes in hierarchical name order (INBOX first). visit returns false to stop. Also subscribed names without a mailbox:
 * those have id 0 (RFC 9051 6.3.9). Keywords are not filled. */
typedef bool mailbox_visit(void *context, const struct mailbox_info *info);
enum st mailbox_list(struct account *a, mailbox_visit *visit, void *context, struct err *e) MUST_USE;

/* Creates missing parents as real mailboxes. ST_EXISTS; ST_PERM for a bad name (says what is wrong); ST_LIMIT. */
enum st mailbox_create(struct account *a, struct str name, enum mailbox_role role, uint32_t *id, struct err *e) MUST_USE;
/* Deletes the mailbox and its messages; with children it stays as a \NoSelect level (RFC 9051 6.3.5). INBOX: ST_DENIED. */
enum st mailbox_delete(struct account *a, struct str name, struct err *e) MUST_USE;
/* Renames with all children; renaming INBOX moves its messages into a new mailbox and leaves INBOX empty (RFC 9051 6.3.6). */
enum st mailbox_rename(struct account *a, struct str from, struct str to, struct err *e) MUST_USE;
enum st mailbox_subscribe(struct account *a, struct str name, bool subscribed, struct err *e) MUST_USE;
enum st mailbox_set_role(struct account *a, uint32_t id, enum mailbox_role role, struct err *e) MUST_USE;

/* The UIDs of the mailbox as of *modseq: a snapshot that the caller owns (cheap: shared memory underneath, copied on write). */
enum st mailbox_uids(struct account *a, uint32_t id, struct uidset *out, uint64_t *modseq, struct err *e) MUST_USE;

/* The same for the messages without \Seen or with \Deleted. */
enum mailbox_subset { MAILBOX_ALL, MAILBOX_UNSEEN, MAILBOX_DELETED };
enum st mailbox_subset_uids(struct account *a, uint32_t id, enum mailbox_subset which, struct uidset *out, uint64_t *modseq,
                            struct err *e) MUST_USE;

/* RFC 3501 \Recent: takes all messages that no session has been told of; returns the first such UID (>= uidnext: none). */
enum st mailbox_claim_recent(struct account *a, uint32_t id, uint32_t *first_uid, struct err *e) MUST_USE;

/* What changed in the mailbox after mod-sequence `since`, up to *modseq (out). `changed`: UIDs that exist and were added or whose
 * flags changed; `vanished`: UIDs expunged after `since`. *complete is false if the journal no longer reaches back to `since`: then
 * vanished is every UID below uidnext that does not exist now, and changed still is exact (RFC 7162 3.2.5.2 allows both). The
 * caller owns the sets. */
struct mailbox_changes {
    struct uidset changed, vanished;
    uint64_t modseq;
    bool complete;
};
enum st mailbox_changes(struct account *a, uint32_t id, uint64_t since, struct mailbox_changes *out, struct err *e) MUST_USE;
void mailbox_changes_release(struct mailbox_changes *c);

/* Bits for keyword names (ASCII case-insensitive). create: adds missing ones by a commit (ST_LIMIT past MAILBOX_KEYWORDS_MAX);
 * otherwise names that do not exist are left out of *bits. */
enum st mailbox_keywords(struct account *a, uint32_t id, const struct str *names, size_t count, bool create, uint64_t *bits,
                         struct err *e) MUST_USE;

#endif
