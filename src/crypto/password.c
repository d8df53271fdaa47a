#include "crypto/password.h"

#include <argon2.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "rt/clock.h"
#include "rt/metrics.h"
#include "rt/random.h"
#include "rt/waiting.h"

/* Without the "{SCHEME}" that other servers put in front. */
static struct str bare(struct str hash)
{
    size_t end = hash.n && hash.p[0] == '{' ? str_find_char(hash, '}') : STR_NPOS;
    return end == STR_NPOS ? hash : str_from(hash, end + 1);
}

static bool to_z(struct str s, char *z, size_t size)
{
    if (s.n == 0 || s.n >= size || memchr(s.p, '\0', s.n))
        return false;
    memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    return true;
}

/* The forms of crypt(5) that are still worth something. */
static bool is_crypt(struct str hash)
{
    static const char *const prefixes[] = {"$y$", "$gy$", "$7$", "$2a$", "$2b$", "$2y$", "$6$", "$5$"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (str_starts(hash, str_of(prefixes[i])) && hash.n > strlen(prefixes[i]) + 8) /* a salt and a hash behind it */
            return true;
    return false;
}

static bool is_argon2(struct str hash) { return str_starts(hash, STR("$argon2id$")) || str_starts(hash, STR("$argon2i$")); }

enum st password_hash(struct str password, struct buf *out, struct err *e)
{
    char z[PASSWORD_MAX + 1], random[32], setting[CRYPT_GENSALT_OUTPUT_SIZE];
    ENSURE(to_z(password, z, sizeof z), e, ST_PERM, "a password has 1 to %d bytes and no NUL", PASSWORD_MAX);
    struct crypt_data *work = calloc(1, sizeof *work);
    random_bytes(random, sizeof random);
    const char *hash = NULL;
    waiting_begin();
    if (work && crypt_gensalt_rn("$y$", 0, random, sizeof random, setting, sizeof setting))
        hash = crypt_r(z, setting, work);
    waiting_end();
    OPENSSL_cleanse(z, sizeof z);
    enum st s = hash && hash[0] != '*' ? ST_OK : ERR_PUBLIC(e, ST_TEMP, "the password could not be hashed");
    if (s == ST_OK)
        buf_add_z(out, hash);
    if (work)
        OPENSSL_cleanse(work, sizeof *work);
    free(work);
    return s;
}

static bool verify_crypt(const char *hash, const char *password)
{
    struct crypt_data *work = calloc(1, sizeof *work);
    const char *got = work ? crypt_r(password, hash, work) : NULL;
    size_t n = strlen(hash);
    bool same = got && got[0] != '*' && strlen(got) == n && CRYPTO_memcmp(got, hash, n) == 0;
    if (work)
        OPENSSL_cleanse(work, sizeof *work);
    free(work);
    return same;
}

bool password_verify(struct str hash, struct str password)
{
    char h[PASSWORD_HASH_MAX + 1], p[PASSWORD_MAX + 1];
    bool ok = false;
    hash = bare(hash);
    if (!to_z(hash, h, sizeof h) || !to_z(password, p, sizeof p))
        return false;
    int64_t begun_us = clock_mono_us();
    waiting_begin(); /* it computes for long: others shall go on */
    if (str_starts(hash, STR("$argon2id$")))
        ok = argon2id_verify(h, p, password.n) == ARGON2_OK;
    else if (is_argon2(hash))
        ok = argon2i_verify(h, p, password.n) == ARGON2_OK;
    else if (is_crypt(hash))
        ok = verify_crypt(h, p);
    waiting_end();
    metrics_took(METRIC_TIME_PASSWORD, clock_mono_us() - begun_us);
    OPENSSL_cleanse(p, sizeof p);
    return ok;
}

bool password_hash_known(struct str hash)
{
    char z[PASSWORD_HASH_MAX + 1];
    hash = bare(hash);
    if (!to_z(hash, z, sizeof z))
        return false;
    if (is_argon2(hash))
        return true;
    int state = is_crypt(hash) ? crypt_checksalt(z) : CRYPT_SALT_INVALID;
    return state == CRYPT_SALT_OK || state == CRYPT_SALT_METHOD_LEGACY || state == CRYPT_SALT_TOO_CHEAP;
}

bool password_hash_is_old(struct str hash)
{
    hash = bare(hash);
    return !str_starts(hash, STR("$y$")) && !str_starts(hash, STR("$argon2id$"));
}
