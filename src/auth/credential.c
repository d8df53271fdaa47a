#include "auth/credential.h"

#include <gsasl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "base/rd.h"
#include "crypto/password.h"
#include "format/base64.h"
#include "rt/random.h"
#include "rt/settings.h"

enum { SALT_SIZE = 16 }; /* of the salts made here */

struct digest_row {
    const char *name;
    size_t size;
};
static const struct digest_row digest_rows[CREDENTIAL_DIGESTS] = {
    [CREDENTIAL_SHA256] = {"SCRAM-SHA-256", 32},
    [CREDENTIAL_SHA1] = {"SCRAM-SHA-1", 20},
};

const char *credential_digest_name(enum credential_digest d) { return digest_rows[d].name; }
size_t credential_digest_size(enum credential_digest d) { return digest_rows[d].size; }

static const EVP_MD *digest_md(enum credential_digest d)
{
    switch (d) {
    case CREDENTIAL_SHA256:
        return EVP_sha256();
    case CREDENTIAL_SHA1:
        return EVP_sha1();
    }
    return EVP_sha256();
}

/* ---- SASLprep ---- */

enum st credential_prepare(struct str text, struct buf *out, struct err *e)
{
    ENSURE(text.n <= CREDENTIAL_PASSWORD_MAX, e, ST_LIMIT, "the password is longer than %d bytes", CREDENTIAL_PASSWORD_MAX);
    ENSURE(text.n && !memchr(text.p, 0, text.n) && str_is_utf8(text), e, ST_PERM, "the password is empty or not valid UTF-8");
    char raw[CREDENTIAL_PASSWORD_MAX + 1];
    memcpy(raw, text.p, text.n);
    raw[text.n] = '\0';
    char *prepared = NULL;
    int rc = gsasl_saslprep(raw, 0, &prepared, NULL);
    explicit_bzero(raw, sizeof raw);
    ENSURE(rc == GSASL_OK && prepared && *prepared, e, ST_PERM, "the password has characters that SASLprep forbids");
    buf_add_z(out, prepared);
    explicit_bzero(prepared, strlen(prepared));
    gsasl_free(prepared);
    ENSURE(buf_ok(out), e, ST_LIMIT, "the password is too long");
    return ST_OK;
}

static void wipe(struct buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->cap);
    buf_release(b);
}

/* ---- SCRAM keys ---- */

enum st credential_derive(enum credential_digest d, struct str password, struct credential_scram *io, struct err *e)
{
    static const char client[] = "Client Key", server[] = "Server Key"; /* RFC 5802 3 */
    uint8_t salted[EVP_MAX_MD_SIZE], key[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    const EVP_MD *md = digest_md(d);
    int size = (int)digest_rows[d].size;
    bool ok = PKCS5_PBKDF2_HMAC(password.p, (int)password.n, io->salt, (int)io->salt_n, (int)io->iterations, md, size, salted) == 1;
    ok = ok && HMAC(md, salted, size, (const uint8_t *)client, sizeof client - 1, key, &n);
    ok = ok && EVP_Digest(key, n, io->stored_key, &n, md, NULL) == 1;
    ok = ok && HMAC(md, salted, size, (const uint8_t *)server, sizeof server - 1, io->server_key, &n);
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(key, sizeof key);
    if (!ok)
        return ERR(e, ST_TEMP, "temporary failure", "PBKDF2 or HMAC of %s failed", digest_rows[d].name);
    io->key_n = digest_rows[d].size;
    io->present = true;
    return ST_OK;
}

static void scram_print(enum credential_digest d, const struct credential_scram *s, struct buf *out)
{
    buf_printf(out, "%s$%u:", digest_rows[d].name, s->iterations);
    base64_encode(str_make(s->salt, s->salt_n), out);
    buf_add_c(out, '$');
    base64_encode(str_make(s->stored_key, s->key_n), out);
    buf_add_c(out, ':');
    base64_encode(str_make(s->server_key, s->key_n), out);
}

static bool decode_exact(struct str text, uint8_t *to, size_t min, size_t max, size_t *n)
{
    DEFER(buf_release) struct buf bytes = BUF_INIT(256);
    if (text.n > 128 || !base64_decode(text, &bytes) || !buf_ok(&bytes) || bytes.n < min || bytes.n > max)
        return false;
    memcpy(to, bytes.p, bytes.n);
    *n = bytes.n;
    return true;
}

/* iterations `sep` salt `sep2` StoredKey `sep3` ServerKey; seps are three bytes. */
static bool scram_read(enum credential_digest d, struct str body, const char seps[3], struct credential_scram *out)
{
    struct rd r = rd_of(body);
    struct str iterations = rd_until(&r, seps[0]);
    rd_expect(&r, seps[0]);
    struct str salt = rd_until(&r, seps[1]);
    rd_expect(&r, seps[1]);
    struct str stored = rd_until(&r, seps[2]);
    rd_expect(&r, seps[2]);
    struct str server = rd_rest(&r);
    size_t size = digest_rows[d].size, n1 = 0, n2 = 0;
    *out = (struct credential_scram){0};
    out->present = rd_ok(&r) && str_to_u32(iterations, &out->iterations) && out->iterations >= 1 &&
                   out->iterations <= CREDENTIAL_ITERATIONS_MAX &&
                   decode_exact(salt, out->salt, 1, CREDENTIAL_SALT_MAX, &out->salt_n) &&
                   decode_exact(stored, out->stored_key, size, size, &n1) && decode_exact(server, out->server_key, size, size, &n2);
    out->key_n = size;
    return out->present;
}

/* ---- the line ---- */

enum st credential_parse(struct str line, struct credential *out, struct err *e)
{
    *out = (struct credential){0};
    ENSURE(line.n <= CREDENTIAL_MAX, e, ST_LIMIT, "the credential is too long");
    struct str field;
    while (str_split(&line, ' ', &field)) {
        bool scram = false;
        if (str_empty(field))
            continue;
        for (size_t d = 0; d < CREDENTIAL_DIGESTS && !scram; d++) {
            struct str name = str_of(digest_rows[d].name);
            scram = str_starts(field, name) && field.n > name.n && field.p[name.n] == '$';
            if (scram)
                ENSURE(!out->scram[d].present &&
                           scram_read((enum credential_digest)d, str_from(field, name.n + 1), ":$:", &out->scram[d]),
                       e, ST_PERM, "the %s field is malformed", digest_rows[d].name);
        }
        if (scram)
            continue;
        ENSURE(str_empty(out->hash) && (field.p[0] == '$' || field.p[0] == '{' || field.n == 13 || field.p[0] == '_'), e, ST_PERM,
               "not a password hash");
        out->hash = field;
    }
    return ST_OK;
}

static unsigned iterations_wanted(void)
{
    const struct settings *s = settings_current();
    unsigned n = (unsigned)s->auth_scram_iterations;
    settings_unref(s);
    return n;
}

/* Appends the SCRAM fields of a prepared password. */
static enum st add_scram(struct str prepared, struct buf *out, struct err *e)
{
    unsigned iterations = iterations_wanted();
    for (size_t d = 0; d < CREDENTIAL_DIGESTS; d++) {
        struct credential_scram s = {.iterations = iterations, .salt_n = SALT_SIZE};
        random_bytes(s.salt, SALT_SIZE);
        TRY(credential_derive((enum credential_digest)d, prepared, &s, e));
        buf_add_c(out, ' ');
        scram_print((enum credential_digest)d, &s, out);
        OPENSSL_cleanse(&s, sizeof s);
    }
    return ST_OK;
}

enum st credential_make(struct str password, struct buf *out, struct err *e)
{
    DEFER(wipe) struct buf prepared = BUF_INIT(CREDENTIAL_PASSWORD_MAX * 4);
    TRY(credential_prepare(password, &prepared, e));
    TRY(password_hash(buf_str(&prepared), out, e));
    TRY(add_scram(buf_str(&prepared), out, e));
    ENSURE(buf_ok(out), e, ST_LIMIT, "the credential is too long");
    return ST_OK;
}

/* ---- hashes of other servers ---- */

struct digest_scheme {
    const char *name; /* "{SSHA512}" */
    const EVP_MD *(*md)(void);
    size_t size;
    bool salted;
};
static const struct digest_scheme digest_schemes[] = {
    {"{SHA}", EVP_sha1, 20, false},      {"{SSHA}", EVP_sha1, 20, true},      {"{SHA256}", EVP_sha256, 32, false},
    {"{SSHA256}", EVP_sha256, 32, true}, {"{SHA512}", EVP_sha512, 64, false}, {"{SSHA512}", EVP_sha512, 64, true},
};

static const struct digest_scheme *digest_scheme_find(struct str hash)
{
    for (size_t i = 0; i < sizeof digest_schemes / sizeof *digest_schemes; i++)
        if (str_starts_nocase(hash, str_of(digest_schemes[i].name)))
            return &digest_schemes[i];
    return NULL;
}

/* digest(password + salt) + salt, in base64, as RFC 2307 directories and Dovecot keep them. */
static bool digest_scheme_read(const struct digest_scheme *s, struct str hash, struct buf *bytes)
{
    struct str text = str_from(hash, strlen(s->name));
    if (text.n > 256 || !base64_decode(text, bytes) || !buf_ok(bytes))
        return false;
    return s->salted ? bytes->n > s->size : bytes->n == s->size;
}

static bool digest_scheme_verify(const struct digest_scheme *s, struct str hash, struct str password)
{
    DEFER(buf_release) struct buf bytes = BUF_INIT(256);
    uint8_t got[EVP_MAX_MD_SIZE];
    if (!digest_scheme_read(s, hash, &bytes))
        return false;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = c && EVP_DigestInit_ex(c, s->md(), NULL) == 1 && EVP_DigestUpdate(c, password.p, password.n) == 1 &&
              EVP_DigestUpdate(c, bytes.p + s->size, bytes.n - s->size) == 1 && EVP_DigestFinal_ex(c, got, NULL) == 1;
    EVP_MD_CTX_free(c);
    return ok && CRYPTO_memcmp(got, bytes.p, s->size) == 0;
}

/* Dovecot's names of what crypt(3) and argon2 print anyway. */
static struct str without_scheme(struct str hash)
{
    static const char *const names[] = {"{CRYPT}",     "{BLF-CRYPT}", "{SHA512-CRYPT}", "{SHA256-CRYPT}",
                                        "{MD5-CRYPT}", "{ARGON2I}",   "{ARGON2ID}",     "{DES-CRYPT}"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_starts_nocase(hash, str_of(names[i])))
            return str_from(hash, strlen(names[i]));
    return hash;
}

static enum st import_scram(struct str foreign, struct buf *out, struct err *e)
{
    for (size_t d = 0; d < CREDENTIAL_DIGESTS; d++) {
        struct credential_scram s;
        char prefix[32];
        snprintf(prefix, sizeof prefix, "{%s}", digest_rows[d].name);
        if (!str_starts_nocase(foreign, str_of(prefix)))
            continue;
        ENSURE(scram_read((enum credential_digest)d, str_from(foreign, strlen(prefix)), ",,,", &s), e, ST_PERM,
               "the %s field is malformed", digest_rows[d].name);
        scram_print((enum credential_digest)d, &s, out);
        return ST_OK;
    }
    struct credential parsed;
    TRY(credential_parse(foreign, &parsed, e)); /* PostgreSQL writes the form of RFC 5803, as we do */
    buf_add(out, foreign);
    return ST_OK;
}

static bool hash_is_known(struct str hash)
{
    DEFER(buf_release) struct buf bytes = BUF_INIT(256);
    const struct digest_scheme *s = digest_scheme_find(hash);
    for (size_t i = 0; i < hash.n; i++)
        if ((unsigned char)hash.p[i] <= ' ' || (unsigned char)hash.p[i] >= 0x7f)
            return false;
    return s ? digest_scheme_read(s, hash, &bytes) : password_hash_known(hash);
}

enum st credential_import(struct str foreign, struct buf *out, struct err *e)
{
    ENSURE(foreign.n && foreign.n <= CREDENTIAL_MAX, e, ST_PERM, "the password hash is empty or too long");
    if (str_starts_nocase(foreign, STR("{PLAIN}")))
        return credential_make(str_from(foreign, 7), out, e);
    if (str_starts_nocase(foreign, STR("{SCRAM-")) || str_starts_nocase(foreign, STR("SCRAM-")))
        return import_scram(foreign, out, e);
    struct str hash = without_scheme(foreign);
    ENSURE(hash_is_known(hash), e, ST_PERM, "not a password hash that this system knows");
    buf_add(out, hash);
    ENSURE(buf_ok(out), e, ST_LIMIT, "the credential is too long");
    return ST_OK;
}

/* ---- checking ---- */

static bool verify_scram(const struct credential_scram *s, enum credential_digest d, struct str password)
{
    struct credential_scram got = *s;
    bool ok = credential_derive(d, password, &got, NULL) == ST_OK && CRYPTO_memcmp(got.stored_key, s->stored_key, s->key_n) == 0;
    OPENSSL_cleanse(&got, sizeof got);
    return ok;
}

static bool verify_text(const struct credential *c, struct str password)
{
    if (c->hash.n) {
        const struct digest_scheme *s = digest_scheme_find(c->hash);
        return s ? digest_scheme_verify(s, c->hash, password) : password_verify(c->hash, password);
    }
    for (size_t d = 0; d < CREDENTIAL_DIGESTS; d++)
        if (c->scram[d].present)
            return verify_scram(&c->scram[d], (enum credential_digest)d, password);
    return false;
}

bool credential_verify(const struct credential *c, struct str password)
{
    DEFER(wipe) struct buf prepared = BUF_INIT(CREDENTIAL_PASSWORD_MAX * 4);
    if (password.n == 0 || password.n > CREDENTIAL_PASSWORD_MAX || memchr(password.p, 0, password.n))
        return false;
    if (credential_prepare(password, &prepared, NULL) != ST_OK)
        return verify_text(c, password); /* another server may have hashed bytes that SASLprep forbids */
    if (verify_text(c, buf_str(&prepared)))
        return true;
    return !str_eq(buf_str(&prepared), password) && verify_text(c, password);
}

bool credential_is_cheap(const struct credential *c)
{
    if (c->hash.n)
        return digest_scheme_find(c->hash) || !password_hash_known(c->hash);
    for (size_t d = 0; d < CREDENTIAL_DIGESTS; d++)
        if (c->scram[d].present)
            return false;
    return true;
}

bool credential_is_old(const struct credential *c)
{
    unsigned iterations = iterations_wanted();
    for (size_t d = 0; d < CREDENTIAL_DIGESTS; d++)
        if (!c->scram[d].present || c->scram[d].iterations < iterations)
            return true;
    return str_empty(c->hash) || digest_scheme_find(c->hash) || password_hash_is_old(c->hash);
}
