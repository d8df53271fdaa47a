#include "net/tls_ticket.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "rt/clock.h"
#include "rt/random.h"

enum { KEY_LIFE_MS = 12 * 3600 * 1000, NAME_BYTES = 16, IV_BYTES = 16 };

struct ticket_key {
    unsigned char name[NAME_BYTES], seal[32], mac[32];
};

struct tickets {
    pthread_mutex_t lock;
    struct ticket_key now, before;
    int64_t born_ms;
};

struct tickets *tickets_new(void)
{
    struct tickets *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    random_bytes(&t->now, sizeof t->now);
    random_bytes(&t->before, sizeof t->before); /* opens nothing */
    t->born_ms = clock_mono_ms();
    return t;
}

void tickets_free(struct tickets *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    OPENSSL_cleanse(t, sizeof *t);
    free(t);
}

static void renew_locked(struct tickets *t)
{
    int64_t age_ms = clock_mono_ms() - t->born_ms;
    if (age_ms < KEY_LIFE_MS)
        return;
    if (age_ms < 2 * (int64_t)KEY_LIFE_MS)
        t->before = t->now;
    else
        random_bytes(&t->before, sizeof t->before); /* nobody came for a day */
    random_bytes(&t->now, sizeof t->now);
    t->born_ms += age_ms;
}

/* The key to seal with, or the one of that name. False: there is none. */
static bool find_key(struct tickets *t, const unsigned char *name, struct ticket_key *out, bool *is_old)
{
    pthread_mutex_lock(&t->lock);
    renew_locked(t);
    bool now = !name || memcmp(name, t->now.name, NAME_BYTES) == 0, before = !now && memcmp(name, t->before.name, NAME_BYTES) == 0;
    *out = before ? t->before : t->now;
    pthread_mutex_unlock(&t->lock);
    *is_old = before;
    return now || before;
}

static bool set_keys(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, struct ticket_key *k, const unsigned char *iv, int sealing)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof k->mac),
                               OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->seal, iv, sealing) == 1 &&
           EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/* 1: done, 2: done, and the client shall get a new ticket, 0: not one of ours, -1: failed (SSL_CTX_set_tlsext_ticket_key_evp_cb).
 */
static int ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
    struct tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    bool is_old;
    if (!find_key(t, sealing ? NULL : name, &key, &is_old))
        return 0;
    if (sealing) {
        memcpy(name, key.name, NAME_BYTES);
        random_bytes(iv, IV_BYTES);
    }
    bool ok = set_keys(cipher, mac, &key, iv, sealing);
    OPENSSL_cleanse(&key, sizeof key);
    return !ok ? -1 : is_old ? 2 : 1;
}

void tickets_use(struct tickets *t, SSL_CTX *c)
{
    SSL_CTX_set_app_data(c, t);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(c, ticket_callback);
}
