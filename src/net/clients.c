#include "net/clients.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/str.h"

enum { BUCKETS = 4096 };

struct client {
    struct client *next;
    unsigned char key[8];
    unsigned count;
};

struct clients {
    atomic_uint max_each;
    pthread_mutex_t lock;
    struct client *buckets[BUCKETS];
};

struct clients *clients_new(unsigned max_each)
{
    struct clients *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->max_each = max_each;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void clients_limit(struct clients *c, unsigned max_each) { c->max_each = max_each; }

void clients_free(struct clients *c)
{
    for (size_t i = 0; c && i < BUCKETS; i++)
        for (struct client *p = c->buckets[i], *next; p; p = next) {
            next = p->next;
            free(p);
        }
    if (c)
        pthread_mutex_destroy(&c->lock);
    free(c);
}

/* False for what is not counted. */
static bool key_of(const char *address, unsigned char key[8])
{
    struct in_addr v4;
    struct in6_addr v6;
    memset(key, 0, 8);
    if (inet_pton(AF_INET, address, &v4) == 1) {
        memcpy(key, &v4, 4);
        key[7] = 4;
        return key[0] != 127;
    }
    if (inet_pton(AF_INET6, address, &v6) != 1 || IN6_IS_ADDR_LOOPBACK(&v6))
        return false;
    memcpy(key, &v6, 8);
    return true;
}

static struct client **find(struct clients *c, const unsigned char key[8])
{
    struct client **p = &c->buckets[str_hash(str_make(key, 8)) % BUCKETS];
    while (*p && memcmp((*p)->key, key, 8) != 0)
        p = &(*p)->next;
    return p;
}

static bool enter_locked(struct clients *c, const unsigned char key[8])
{
    struct client **p = find(c, key);
    if (!*p) {
        struct client *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
            return false;
        memcpy(fresh->key, key, 8);
        *p = fresh;
    }
    if ((*p)->count >= c->max_each)
        return false;
    (*p)->count++;
    return true;
}

bool clients_enter(struct clients *c, const char *address)
{
    unsigned char key[8];
    if (!key_of(address, key))
        return true;
    pthread_mutex_lock(&c->lock);
    bool ok = enter_locked(c, key);
    pthread_mutex_unlock(&c->lock);
    return ok;
}

void clients_leave(struct clients *c, const char *address)
{
    unsigned char key[8];
    if (!key_of(address, key))
        return;
    pthread_mutex_lock(&c->lock);
    struct client **p = find(c, key), *gone = *p;
    if (gone && --gone->count == 0) {
        *p = gone->next;
        free(gone);
    }
    pthread_mutex_unlock(&c->lock);
}
