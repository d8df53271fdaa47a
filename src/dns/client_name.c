#include "dns/client_name.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "dns/resolver_internal.h"

struct client_name {
    struct resolver *resolver;
    enum resolver_type type; /* of the address: A, AAAA */
    uint8_t address[16];
    char candidates[CLIENT_NAMES_TRIED][RESOLVER_NAME_MAX + 1];
    size_t count, tried;

    pthread_mutex_t lock; /* over what follows; held while done runs */
    unsigned refs;        /* the owner, and the look-up under way */
    bool ready;
    void (*done)(void *context);
    void *context;
    char name[RESOLVER_NAME_MAX + 1];
};

static void unref(struct client_name *n)
{
    pthread_mutex_lock(&n->lock);
    bool last = --n->refs == 0;
    pthread_mutex_unlock(&n->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&n->lock);
    free(n);
}

/* The look-up is over; the caller's reference to n is gone after this. */
static void finish(struct client_name *n, const char *name)
{
    atomic_fetch_sub(&n->resolver->client_names, 1);
    pthread_mutex_lock(&n->lock);
    memcpy(n->name, name, strlen(name) + 1);
    n->ready = true;
    if (n->done)
        n->done(n->context);
    pthread_mutex_unlock(&n->lock);
    unref(n);
}

static void address_answered(void *context, const struct resolver_answer *answer);

/* Asks for the addresses of the next candidate. */
static void try_next(struct client_name *n)
{
    while (n->tried < n->count) {
        struct str name = str_of(n->candidates[n->tried++]);
        if (resolver_start(n->resolver, n->type, name, address_answered, n) == ST_OK)
            return;
    }
    finish(n, "");
}

static void address_answered(void *context, const struct resolver_answer *answer)
{
    struct client_name *n = context;
    size_t size = n->type == RESOLVER_A ? 4 : 16;
    for (size_t i = 0; answer && i < answer->count; i++)
        if (memcmp(answer->records[i].address, n->address, size) == 0) {
            finish(n, n->candidates[n->tried - 1]);
            return;
        }
    try_next(n);
}

/* A host name (RFC 1123 2.1; '_' occurs). Whoever owns an address block writes its PTR records: anything else is not worth a line
 * in a trace field. */
static bool is_host_name(struct str name)
{
    if (name.n == 0 || name.n > RESOLVER_NAME_MAX || str_find_char(name, '.') == STR_NPOS)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!ascii_alpha(name.p[i]) && !ascii_digit(name.p[i]) && !strchr("-._", name.p[i]))
            return false;
    return true;
}

static void names_answered(void *context, const struct resolver_answer *answer)
{
    struct client_name *n = context;
    for (size_t i = 0; answer && i < answer->count && n->count < CLIENT_NAMES_TRIED; i++) {
        struct str name = answer->records[i].name;
        if (!is_host_name(name))
            continue;
        memcpy(n->candidates[n->count], name.p, name.n);
        n->candidates[n->count++][name.n] = '\0';
    }
    try_next(n);
}

static bool room_for_one(struct resolver *r)
{
    if (atomic_fetch_add(&r->client_names, 1) < CLIENT_NAME_PENDING_MAX)
        return true;
    atomic_fetch_sub(&r->client_names, 1);
    return false;
}

static struct client_name *make(struct resolver *r, const char *address)
{
    struct client_name *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->resolver = r;
    n->type = inet_pton(AF_INET, address, n->address) == 1 ? RESOLVER_A : RESOLVER_AAAA;
    if (n->type == RESOLVER_AAAA && inet_pton(AF_INET6, address, n->address) != 1) {
        free(n);
        return NULL;
    }
    pthread_mutex_init(&n->lock, NULL);
    n->refs = 2;
    return n;
}

struct client_name *client_name_begin(struct resolver *r, const char *address, void (*done)(void *context), void *context)
{
    char reverse[80];
    if (!resolver_reverse_name(address, reverse) || !room_for_one(r))
        return NULL;
    struct client_name *n = make(r, address);
    if (!n) {
        atomic_fetch_sub(&r->client_names, 1);
        return NULL;
    }
    if (resolver_start(r, RESOLVER_PTR, str_of(reverse), names_answered, n) != ST_OK)
        finish(n, "");
    pthread_mutex_lock(&n->lock);
    if (!n->ready) { /* NOLINT(clang-analyzer-unix.Malloc): our own reference keeps n */
        n->done = done;
        n->context = context;
    }
    pthread_mutex_unlock(&n->lock);
    return n;
}

bool client_name_ready(struct client_name *n)
{
    pthread_mutex_lock(&n->lock);
    bool ready = n->ready;
    pthread_mutex_unlock(&n->lock);
    return ready;
}

struct str client_name_text(struct client_name *n) { return client_name_ready(n) ? str_of(n->name) : STR_NONE; }

void client_name_free(struct client_name *n)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    n->done = NULL;
    pthread_mutex_unlock(&n->lock);
    unref(n);
}
