/* Stored records of an account: their form in memory, encoding and decoding. The bytes are described in doc/formats/store.md.
 *
 * Decoders take any bytes: damage is ST_CORRUPT, never a crash, and what they return satisfies the limits of this header. Records
 * start with a version byte. Strings of decoded records are views into the bytes. */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "base/arena.h"
#include "store/mailbox.h"
#include "store/message.h"
#include "store/uidset.h"

enum {
    RECORD_VERSION = 1,
    RECORD_UIDS_BITS = 13, /* UIDs of one KEY_UIDS record: 8,192 */
};

/* ---- account: the head of each journal entry, so that the last one tells what is true ---- */

enum record_state { RECORD_LIVE = 0, RECORD_DYING = 1 }; /* dying: removed for everybody, its records are still being deleted */

struct record_account {
    enum record_state state;
    uint64_t modseq;        /* version of the partition of the commit that wrote it */
    uint64_t journal_floor; /* all journal entries with a higher mod-sequence exist */
    uint32_t next_mailbox, next_email;
    uint32_t uidvalidity; /* the last one given out */
    uint64_t bytes_used, bytes_max, messages_used, messages_max;
    int64_t created_ms;
    uint16_t delivery_floor; /* periods before this one have no KEY_DELIVERY records */
    bool care;               /* there may be KEY_GARBAGE records or dying mailboxes */
};
void record_account_encode(const struct record_account *r, struct buf *out);
enum st record_account_decode(struct str bytes, struct record_account *out, struct err *e) MUST_USE;

/* ---- mailbox ---- */

struct record_mailbox {
    enum record_state state;
    enum mailbox_role role;
    bool subscribed, selectable;
    uint32_t uidvalidity, uidnext;
    uint64_t highest_modseq, created_modseq;
    uint32_t exists, unseen, deleted;
    uint64_t size_bytes;
    uint32_t first_recent;
    struct str name;
    unsigned keyword_count;
    struct str *keywords;
    struct str tail; /* the record_uids of the last chunk, that of uidnext - 1: it changes together with the rest */
};
static inline uint32_t record_tail_chunk(uint32_t uidnext) { return (uidnext - 1) >> RECORD_UIDS_BITS; }
void record_mailbox_encode(const struct record_mailbox *r, struct buf *out);
/* keywords is room for MAILBOX_KEYWORDS_MAX of them, which *out points to afterwards. */
enum st record_mailbox_decode(struct str bytes, struct str *keywords, struct record_mailbox *out, struct err *e) MUST_USE;

/* ---- sets inside other records: short ones as runs, long ones as portable Roaring bytes, with their length before them ---- */

void record_set_encode(const struct uidset *s, struct buf *out);
/* Adds the members to *into; ST_CORRUPT if one is outside low..high. */
enum st record_set_decode(struct str bytes, uint32_t low, uint32_t high, struct uidset *into, struct err *e) MUST_USE;

/* The UIDs of one chunk of a mailbox. decode adds to the sets, which may hold other chunks. */
struct record_uids {
    struct uidset present, unseen, deleted;
};
void record_uids_encode(const struct record_uids *r, struct buf *out);
enum st record_uids_decode(struct str bytes, uint32_t chunk, struct record_uids *into, struct err *e) MUST_USE;
void record_uids_release(struct record_uids *r);

/* ---- e-mail ---- */

struct record_email {
    struct kv_blob_id blob;
    uint64_t thread;
    uint32_t size;
    uint32_t mailbox, uid; /* its first place; later ones, and that it left the first, are in the found pages */
    struct str digest;
};
enum { RECORD_EMAIL_HEAD = 56 };
void record_email_encode(const struct record_email *r, char head[RECORD_EMAIL_HEAD]); /* without the digest, which follows it */
enum st record_email_decode(struct str bytes, struct record_email *out, struct err *e) MUST_USE;

/* ---- small ones ---- */

enum st record_u32_decode(struct str bytes, uint32_t *out, struct err *e) MUST_USE; /* KEY_BLOB */
enum st record_u64_decode(struct str bytes, uint64_t *out, struct err *e) MUST_USE; /* KEY_THREAD */

struct record_delivery {
    uint32_t mailbox, uid;
};
void record_delivery_encode(const struct record_delivery *r, struct buf *out);
enum st record_delivery_decode(struct str bytes, struct record_delivery *out, struct err *e) MUST_USE;

enum st record_corrupt(const char *what, struct err *e) MUST_USE;

#endif
