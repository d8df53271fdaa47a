#include "queue/route.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "dns/resolver.h"
#include "format/address.h"
#include "queue/queue_internal.h"
#include "rt/random.h"
#include "rt/settings.h"

enum { HOST_TEXT_MAX = 256, SMARTHOST_PORT = 587 };

/* ---- which way: settings ---- */

static const struct settings_route *static_route(const struct settings *settings, struct str domain)
{
    const struct settings_route *any = NULL;
    for (size_t i = 0; i < settings->route_count; i++) {
        const struct settings_route *r = &settings->route[i];
        if (str_eq_nocase(str_of(r->domain), domain))
            return r;
        if (r->domain[0] == '*' && r->domain[1] == '\0')
            any = r;
    }
    return any;
}

static void add_fixed(struct buf *out, bool lmtp, struct str host, unsigned port)
{
    buf_add_z(out, lmtp ? "=lmtp:" : "=");
    buf_add(out, host);
    buf_printf(out, ":%u", port);
}

/* "HOST", "HOST:PORT", "[IPv6]:PORT". */
static struct str split_port(struct str text, unsigned *port)
{
    size_t colon = str_rfind_char(text, ':');
    uint32_t v;
    bool literal = text.n > 0 && text.p[0] == '[';
    if (colon != STR_NPOS && (!literal || text.p[colon - 1] == ']') && str_to_u32(str_from(text, colon + 1), &v) && v > 0 &&
        v < 65536) {
        *port = v;
        text = str_upto(text, colon);
    }
    if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = str_sub(text, 1, text.n - 2);
    return text;
}

void route_destination(struct queue *q, struct str domain, struct buf *out)
{
    if (domain.n == 0)
        return;
    const struct settings *settings = settings_current();
    const struct settings_route *fixed = static_route(settings, domain);
    struct str relay = q->relay[0] ? str_of(q->relay) : str_of(settings->queue_smarthost);
    unsigned port = q->relay[0] ? ROUTE_PORT : SMARTHOST_PORT;
    if (fixed && fixed->program && fixed->program[0]) {
        buf_add_z(out, ROUTE_PROGRAM);
        buf_add_z(out, fixed->program);
    } else if (fixed) {
        add_fixed(out, fixed->lmtp, str_of(fixed->host), fixed->port ? fixed->port : ROUTE_PORT);
    } else if (relay.n > 0) {
        struct str host = split_port(relay, &port);
        add_fixed(out, false, host, port);
    } else {
        for (size_t i = 0; i < domain.n; i++)
            buf_add_c(out, ascii_lower(domain.p[i]));
    }
    settings_unref(settings);
}

/* ---- hosts and their addresses ---- */

struct host {
    struct str name;
    unsigned preference;
    uint64_t chance; /* order among equals */
    bool secure;
};

struct finding {
    struct queue *q;
    struct arena *arena;
    struct route *route;
    bool ipv6, v6_first;
    unsigned port;
    bool temp;        /* some look-up failed for now */
    struct err first; /* why */
};

static void add_target(struct finding *f, struct str host, const char *address, bool secure)
{
    struct route *r = f->route;
    if (r->count == ROUTE_TARGETS_MAX)
        return;
    struct route_target *t = &r->targets[r->count++];
    *t = (struct route_target){.host = host, .port = (uint16_t)f->port, .secure = secure};
    memcpy(t->address, address, strlen(address) < sizeof t->address ? strlen(address) + 1 : 0);
}

static void add_addresses(struct finding *f, struct str host, bool v6, bool secure)
{
    struct resolver_answer answer;
    struct err e = {0};
    char text[INET6_ADDRSTRLEN];
    enum st st = resolver_lookup(f->q->resolver, v6 ? RESOLVER_AAAA : RESOLVER_A, host, f->arena, &answer, &e);
    if (st != ST_OK) {
        f->temp = f->temp || st != ST_PERM;
        f->first = e;
        return;
    }
    for (size_t i = 0; i < answer.count; i++)
        if (inet_ntop(v6 ? AF_INET6 : AF_INET, answer.records[i].address, text, sizeof text))
            add_target(f, host, text, secure && answer.secure);
}

static bool add_numeric(struct finding *f, struct str host)
{
    uint8_t bytes[16];
    char text[64];
    if (host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, bytes) != 1 && inet_pton(AF_INET6, text, bytes) != 1)
        return false;
    add_target(f, host, text, false);
    return true;
}

/* IPv6 and IPv4 take turns at being first, so that a broken one costs only half (RFC 5321 5.2 leaves it to us). */
static void add_host(struct finding *f, const struct host *host)
{
    if (add_numeric(f, host->name))
        return;
    if (str_eq_nocase(host->name, STR("localhost"))) {
        add_target(f, host->name, "127.0.0.1", false);
        if (f->ipv6)
            add_target(f, host->name, "::1", false);
        return;
    }
    if (!f->q->resolver)
        return;
    if (f->ipv6 && f->v6_first)
        add_addresses(f, host->name, true, host->secure);
    add_addresses(f, host->name, false, host->secure);
    if (f->ipv6 && !f->v6_first)
        add_addresses(f, host->name, true, host->secure);
}

static enum st finding_init(struct finding *f, struct queue *q, struct arena *arena, struct route *out, struct err *e)
{
    const struct settings *settings = settings_current();
    *f = (struct finding){
        .q = q, .arena = arena, .route = out, .ipv6 = settings->queue_ipv6, .port = (unsigned)settings->queue_port};
    settings_unref(settings);
    f->v6_first = random_below(2);
    out->targets = ARENA_ARRAY(arena, ROUTE_TARGETS_MAX, struct route_target);
    ENSURE(out->targets, e, ST_TEMP, "4.3.0 Out of memory");
    return ST_OK;
}

static enum st no_addresses(const struct finding *f, struct err *e)
{
    if (f->temp)
        return ERR(e, ST_TEMP, "4.4.3 DNS does not answer", "%s", f->first.detail);
    return ERR_PUBLIC(e, ST_PERM, "5.4.4 The domain's mail hosts have no addresses");
}

static enum st find_fixed(struct finding *f, struct str text, struct err *e)
{
    struct host host = {0};
    f->route->fixed = true;
    if (str_starts(text, STR("lmtp:"))) {
        f->route->lmtp = true;
        text = str_from(text, 5);
    }
    size_t colon = str_rfind_char(text, ':');
    uint32_t port;
    ENSURE(colon != STR_NPOS && str_to_u32(str_from(text, colon + 1), &port), e, ST_PERM, "5.3.5 Bad route");
    f->port = port;
    host.name = str_upto(text, colon);
    const struct settings *settings = settings_current();
    unsigned own_port = SMARTHOST_PORT;
    struct str own = split_port(str_of(settings->queue_smarthost), &own_port);
    f->route->smarthost = !f->q->relay[0] && !f->route->lmtp && str_eq_nocase(own, host.name) && own_port == port;
    settings_unref(settings);
    add_host(f, &host);
    if (f->route->count > 0)
        return ST_OK;
    /* Our own configuration is wrong, or DNS is: nobody's mail is returned for that. */
    return ERR(e, ST_TEMP, "4.4.4 The relay host has no address", "%.*s: %s", STR_FMT(host.name), f->first.detail);
}

static enum st find_literal(struct finding *f, struct str domain, struct err *e)
{
    struct str inside = str_sub(domain, 1, domain.n - 2);
    if (str_starts_nocase(inside, STR("IPv6:")))
        inside = str_from(inside, 5);
    ENSURE(add_numeric(f, inside), e, ST_PERM, "5.1.2 Unknown kind of address literal");
    return ST_OK;
}

/* ---- MX ---- */

static int host_cmp(const void *pa, const void *pb)
{
    const struct host *a = pa, *b = pb;
    if (a->preference != b->preference)
        return a->preference < b->preference ? -1 : 1;
    return a->chance < b->chance ? -1 : a->chance > b->chance;
}

/* RFC 5321 5.1: we are in the list: hosts as good as us or worse are no use, the mail would come back. */
static size_t drop_self(struct queue *q, const struct host *hosts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(hosts[i].name, str_of(q->hostname))) {
            size_t kept = i;
            while (kept > 0 && hosts[kept - 1].preference == hosts[i].preference)
                kept--;
            return kept;
        }
    return count;
}

static enum st mx_hosts(struct queue *q, struct str domain, struct arena *arena, struct host *hosts, size_t *count, struct err *e)
{
    struct resolver_answer answer;
    *count = 0;
    TRY(resolver_lookup(q->resolver, RESOLVER_MX, domain, arena, &answer, e));
    if (answer.outcome == RESOLVER_NO_NAME)
        return ERR_PUBLIC(e, ST_NOTFOUND, "5.1.2 No such domain");
    if (answer.outcome == RESOLVER_NO_DATA) { /* implicit MX */
        hosts[(*count)++] = (struct host){.name = domain, .secure = answer.secure};
        return ST_OK;
    }
    /* RFC 7505 */
    ENSURE(answer.count != 1 || answer.records[0].name.n > 0, e, ST_PERM, "5.1.10 The domain takes no mail");
    struct host *all = ARENA_ARRAY(arena, answer.count, struct host);
    ENSURE(all, e, ST_TEMP, "4.3.0 Out of memory");
    size_t n = 0;
    for (size_t i = 0; i < answer.count; i++)
        if (answer.records[i].name.n > 0)
            all[n++] = (struct host){answer.records[i].name, answer.records[i].preference, random_u64(), answer.secure};
    qsort(all, n, sizeof *all, host_cmp);
    size_t kept = drop_self(q, all, n);
    ENSURE(kept > 0 || n == 0, e, ST_PERM, "5.4.6 Mail for the domain loops back to this host");
    ENSURE(kept > 0, e, ST_PERM, "5.4.4 The domain names no usable mail host");
    *count = kept < ROUTE_HOSTS_MAX ? kept : ROUTE_HOSTS_MAX;
    memcpy(hosts, all, *count * sizeof *all);
    return ST_OK;
}

enum st route_find(struct queue *q, struct str destination, struct arena *arena, struct route *out, struct err *e)
{
    struct finding f;
    struct host hosts[ROUTE_HOSTS_MAX];
    size_t count;
    *out = (struct route){0};
    TRY(finding_init(&f, q, arena, out, e));
    if (str_starts(destination, STR("=")))
        return find_fixed(&f, str_from(destination, 1), e);
    if (destination.n > 2 && destination.p[0] == '[' && destination.p[destination.n - 1] == ']')
        return find_literal(&f, destination, e);
    ENSURE(q->resolver, e, ST_PERM, "5.4.4 This host sends no mail to other domains");
    enum st st = mx_hosts(q, destination, arena, hosts, &count, e);
    if (st == ST_PERM && e && e->text[1] != '.')
        return ERR_PUBLIC(e, ST_PERM, "5.1.2 Not a domain name");
    TRY(st);
    for (size_t i = 0; i < count; i++)
        add_host(&f, &hosts[i]);
    out->partial = f.temp;
    return out->count > 0 ? ST_OK : no_addresses(&f, e);
}
