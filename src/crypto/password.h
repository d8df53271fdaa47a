/* Password hashes: made as yescrypt, and verified in every form that libxcrypt or libargon2 knows, so that accounts of other
 * servers can be taken over with their hashes. Hashing is meant to be slow: take a permit first (rt/permit.h, PERMIT_PASSWORD).
 * Threads: any.
 *
 * Forms: "$y$...", "$2b$...", "$6$..." and the other prefixes of crypt(5), also as "{CRYPT}$..." or "{BLF-CRYPT}$..." and the like;
 * "$argon2id$..." and "$argon2i$...", also as "{ARGON2ID}$..." and "{ARGON2I}$...". A password is any bytes without NUL, at most
 * PASSWORD_MAX. Traditional DES and MD5 hashes are not taken. */
#ifndef CRYPTO_PASSWORD_H
#define CRYPTO_PASSWORD_H

#include "base/buf.h"
#include "base/err.h"

enum { PASSWORD_MAX = 512, PASSWORD_HASH_MAX = 512 };

/* Appends a new yescrypt hash with a random salt. ST_PERM for an empty password, one with a NUL, or one that is too long. */
enum st password_hash(struct str password, struct buf *out, struct err *e) MUST_USE;
bool password_verify(struct str hash, struct str password); /* false also for a hash that is not understood */
bool password_hash_known(struct str hash);                  /* can password_verify work with it? */
bool password_hash_is_old(struct str hash);                 /* weaker than what password_hash makes now */

#endif
