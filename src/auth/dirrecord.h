/* The stored records of the directory: bytes of the keys and values in the partitions `dir-00` .. `dir-ff` and `domains`. Described
 * in doc/formats/directory.md. Pure functions, any thread; decoded texts are views into the value.
 *
 * Errors: ST_CORRUPT for bytes that are no record, ST_PERM for a version that this program does not know. */
#ifndef AUTH_DIRRECORD_H
#define AUTH_DIRRECORD_H

#include "auth/directory.h"

enum {
    DIRRECORD_VERSION = 1,
    DIRRECORD_PARTITION_MAX = 16,    /* bytes of a partition name with its NUL */
    DIRRECORD_VALUE_MAX = 512 << 10, /* bytes */
};
#define DIRRECORD_DOMAINS STR("domains")

/* The first byte of a key tells what it names. */
enum dirrecord_kind {
    DIRRECORD_ACCOUNT = 'a', /* + address key */
    DIRRECORD_ALIAS = 'l',   /* + address key */
    DIRRECORD_ID = 'i',      /* + account id, big-endian: its address key */
    DIRRECORD_NAME = 'n',    /* + local-part, NUL, domain: an account with that bare name; no value */
    DIRRECORD_DOMAIN = 'd',  /* + name, in `domains` */
    DIRRECORD_DEFAULT = 'D', /* alone, in `domains`: name of the default domain */
    DIRRECORD_SECRET = 'S',  /* alone, in `domains`: 32 random bytes, made once */
};

/* Which of the 256 partitions holds the record: by a hash (FNV-1a, folded) of what follows the kind, which never changes. Names are
 * spread by the local-part only, so that all accounts with one bare name lie together. */
struct dirrecord_partition {
    char name[DIRRECORD_PARTITION_MAX];
};
struct dirrecord_partition dirrecord_partition_of(struct str hashed);
struct dirrecord_partition dirrecord_partition_number(unsigned n); /* 0..255 */

void dirrecord_key(enum dirrecord_kind kind, struct str rest, struct buf *out);
void dirrecord_key_id(account_id id, struct buf *out);                         /* 8 bytes, to be hashed */
void dirrecord_key_name(struct str local, struct str domain, struct buf *out); /* domain empty: the prefix of all */

struct dirrecord_account {
    struct directory_account account;
    bool pending; /* being made or removed: takes no mail and no login; add or remove again to finish */
};
void dirrecord_account_encode(const struct dirrecord_account *r, struct buf *out);
enum st dirrecord_account_decode(struct str value, struct dirrecord_account *out, struct err *e) MUST_USE;

void dirrecord_alias_encode(struct str address, struct str targets, struct buf *out);
enum st dirrecord_alias_decode(struct str value, struct directory_alias *out, struct err *e) MUST_USE;

void dirrecord_domain_encode(const struct directory_domain *d, struct buf *out); /* is_default is not part of it */
enum st dirrecord_domain_decode(struct str value, struct directory_domain *out, struct err *e) MUST_USE;

#endif
