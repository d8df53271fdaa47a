/* The keys of an account's partition: one type byte, then big-endian numbers, so that they sort. doc/formats/store.md explains
 * each. Upper-case types (with the newest journal entry) are the account's head, which is read whole when it is opened. */
#ifndef STORE_KEY_H
#define STORE_KEY_H

#include "base/bits.h"
#include "kv/engine.h"

enum key_type {
    KEY_HEAD_BEGIN = 'A',
    KEY_MAILBOX = 'M',      /* <mailbox> struct mbox */
    KEY_SUBSCRIPTION = 'S', /* <hash of the name> name: subscribed, without a mailbox */
    KEY_UIDS = 'U',         /* <mailbox><uid >> RECORD_UIDS_BITS> */
    KEY_HEAD_END = 'V',
    KEY_BLOB = 'b',     /* <blob id> how many e-mails of the account have these bytes */
    KEY_EMAIL = 'e',    /* <email> struct record_email, digest */
    KEY_FOUND = 'f',    /* <email >> FOUND_BITS> which mailboxes show the e-mails */
    KEY_GARBAGE = 'g',  /* <modseq> e-mails that no mailbox shows any more */
    KEY_JOURNAL = 'j',  /* <modseq> what the commit changed */
    KEY_DELIVERY = 'k', /* <period><delivery key> */
    KEY_PAGE = 'p',     /* <mailbox><uid >> PAGE_BITS> index page */
    KEY_THREAD = 't',   /* <hash of a message-id and subject> thread */
    KEY_MEMBER = 'm',   /* <thread><email> nothing */
};

struct key {
    uint8_t n;
    char b[39];
};

static inline struct str key_str(const struct key *k) { return (struct str){k->b, k->n}; }

static inline struct key key_type(enum key_type type) { return (struct key){1, {(char)type}}; }
static inline struct key key_u32(enum key_type type, uint32_t v)
{
    struct key k = {5, {(char)type}};
    be32_put(k.b + 1, v);
    return k;
}
static inline struct key key_u64(enum key_type type, uint64_t v)
{
    struct key k = {9, {(char)type}};
    be64_put(k.b + 1, v);
    return k;
}
/* Mailbox and chunk or page. */
static inline struct key key_u32_u32(enum key_type type, uint32_t a, uint32_t b)
{
    struct key k = {9, {(char)type}};
    be32_put(k.b + 1, a);
    be32_put(k.b + 5, b);
    return k;
}
static inline struct key key_member(uint64_t thread, uint64_t email)
{
    struct key k = {17, {KEY_MEMBER}};
    be64_put(k.b + 1, thread);
    be64_put(k.b + 9, email);
    return k;
}
static inline struct key key_blob(const struct kv_blob_id *id)
{
    struct key k = {1 + KV_BLOB_ID_SIZE, {KEY_BLOB}};
    memcpy(k.b + 1, id->sha256, KV_BLOB_ID_SIZE);
    return k;
}
enum { KEY_DELIVERY_SIZE = 16 };
static inline struct key key_delivery(uint16_t period, const uint8_t id[KEY_DELIVERY_SIZE])
{
    struct key k = {3 + KEY_DELIVERY_SIZE, {KEY_DELIVERY}};
    be16_put(k.b + 1, period);
    memcpy(k.b + 3, id, KEY_DELIVERY_SIZE);
    return k;
}
/* Names are longer than keys may be. */
static inline struct key key_subscription(struct str name)
{
    struct kv_blob_id hash = kv_blob_id_of(name);
    struct key k = {17, {KEY_SUBSCRIPTION}};
    memcpy(k.b + 1, hash.sha256, 16);
    return k;
}

#endif
