#include "auth/decoy.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

#include "auth/credential.h"

enum { PLACES = 64 };

struct place {
    uint64_t owner; /* hash of the name whose credential is here */
    size_t n;       /* 0: free */
    char credential[CREDENTIAL_MAX];
};

struct decoys {
    pthread_mutex_t lock;
    struct place places[PLACES];
};

struct decoys *decoys_new(void)
{
    struct decoys *d = calloc(1, sizeof *d);
    if (d)
        pthread_mutex_init(&d->lock, NULL);
    return d;
}

void decoys_free(struct decoys *d)
{
    if (!d)
        return;
    pthread_mutex_destroy(&d->lock);
    OPENSSL_cleanse(d, sizeof *d);
    free(d);
}

void decoys_learn(struct decoys *d, struct str name, struct str credential)
{
    uint64_t owner = str_hash(name);
    struct place *p = &d->places[owner % PLACES];
    if (credential.n == 0 || credential.n > sizeof p->credential)
        return;
    pthread_mutex_lock(&d->lock);
    if (p->n == 0 || p->owner == owner) {
        p->owner = owner;
        p->n = credential.n;
        memcpy(p->credential, credential.p, credential.n);
    }
    pthread_mutex_unlock(&d->lock);
}

bool decoys_find(struct decoys *d, struct str name, struct buf *credential)
{
    struct place *p = &d->places[str_hash(name) % PLACES];
    pthread_mutex_lock(&d->lock);
    bool found = p->n > 0;
    if (found)
        buf_add(credential, (struct str){p->credential, p->n});
    pthread_mutex_unlock(&d->lock);
    return found && buf_ok(credential);
}
