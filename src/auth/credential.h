/* Stored credentials: what the directory keeps instead of a password. One line of fields with a space between:
 *
 *   hash      crypt(3) ("$y$...", "$2b$...", "$6$...") or argon2 ("$argon2id$..."), or a salted digest of another server
 *             ("{SSHA512}..."); at most one
 *   scram     "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>" as in RFC 5803 (base64), and the same for SCRAM-SHA-1
 *
 * All are made together from one password that was prepared with SASLprep (RFC 4013), so that every mechanism accepts the same.
 * Hashes of other servers are taken over; such a credential lacks the SCRAM fields until its owner logs in with the password once
 * (auth/login.c then makes a full one).
 *
 * Pure functions, any thread; credential_make and credential_verify take tens of milliseconds on purpose (take a permit). Nothing
 * of a password stays in memory. Errors: ST_PERM (form), ST_LIMIT (length), ST_TEMP. */
#ifndef AUTH_CREDENTIAL_H
#define AUTH_CREDENTIAL_H

#include "base/buf.h"
#include "base/err.h"

enum {
    CREDENTIAL_MAX = 2048,         /* bytes of the line */
    CREDENTIAL_PASSWORD_MAX = 512, /* bytes of a password */
    CREDENTIAL_SALT_MAX = 64,
    CREDENTIAL_KEY_MAX = 32,
    CREDENTIAL_ITERATIONS_MIN = 4096, /* RFC 7677 4 */
    CREDENTIAL_ITERATIONS_MAX = 10000000,
};

enum credential_digest { CREDENTIAL_SHA256, CREDENTIAL_SHA1 };
enum { CREDENTIAL_DIGESTS = 2 };

struct credential_scram {
    bool present;
    uint32_t iterations;
    uint8_t salt[CREDENTIAL_SALT_MAX];
    size_t salt_n;
    uint8_t stored_key[CREDENTIAL_KEY_MAX], server_key[CREDENTIAL_KEY_MAX];
    size_t key_n; /* 32 or 20 */
};

struct credential {
    struct str hash; /* a view into the line; empty: none */
    struct credential_scram scram[CREDENTIAL_DIGESTS];
};

const char *credential_digest_name(enum credential_digest d); /* "SCRAM-SHA-256" */
size_t credential_digest_size(enum credential_digest d);      /* bytes */

/* Reads a stored line. An empty line is a credential that no password opens. */
enum st credential_parse(struct str line, struct credential *out, struct err *e) MUST_USE;
/* Makes the full line of a new password with the scheme and cost of the settings. */
enum st credential_make(struct str password, struct buf *out, struct err *e) MUST_USE;
/* Takes over one field of another server: a crypt(3) string with or without {CRYPT} and its relatives of Dovecot ({BLF-CRYPT},
 * {SHA512-CRYPT}, ...), {ARGON2I}, {ARGON2ID}, {SHA}, {SSHA}, {SHA256}, {SSHA256}, {SHA512}, {SSHA512} in base64, {SCRAM-SHA-256}
 * as Dovecot and SCRAM-SHA-256$ as PostgreSQL write it, or {PLAIN}. Appends the line. */
enum st credential_import(struct str foreign, struct buf *out, struct err *e) MUST_USE;
/* Does the password open it? Takes the same time for right and wrong. */
bool credential_verify(const struct credential *c, struct str password);
/* Is checking it done in no time? */
bool credential_is_cheap(const struct credential *c);
/* Should be made anew from the password at the next chance: a field is missing or made with less cost than the settings ask. */
bool credential_is_old(const struct credential *c);

/* SASLprep (RFC 4013) for storing; ST_PERM if the text has forbidden characters or is empty then. Wipe *out after use. */
enum st credential_prepare(struct str text, struct buf *out, struct err *e) MUST_USE;
/* SaltedPassword and the two keys of RFC 5802 3, for tests and for checking a password against SCRAM fields. */
enum st credential_derive(enum credential_digest d, struct str password, struct credential_scram *inout, struct err *e) MUST_USE;

#endif
