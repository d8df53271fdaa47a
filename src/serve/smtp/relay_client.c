#include "serve/smtp/relay_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "format/address.h"
#include "serve/smtp/rates.h"

enum { NETWORKS_MAX = 64, PATTERNS_MAX = 256, RATE_MESSAGES_MAX = 1000000, RATE_SECONDS_MAX = 86400 };

struct network { /* IPv4 as ::ffff:a.b.c.d */
    uint8_t ip[16];
    unsigned bits;
};

struct patterns { /* "local@domain", "@domain", "*" */
    struct str list[PATTERNS_MAX];
    size_t count;
};

struct relay_client {
    struct network networks[NETWORKS_MAX];
    size_t network_count;
    struct patterns from, to;
    int64_t step_us, window_us; /* 1 message each step_us on average, as many at once as fit into window_us */
    _Atomic int64_t *next_us;   /* when the next message would be due if they came evenly (GCRA) */
    unsigned number;
};

struct relay_clients {
    struct arena arena;
    struct relay_client *rules;
    size_t count;
};

/* ---- networks ---- */

static bool ip_parse(struct str text, uint8_t ip[16], bool *v4)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char z[64];
    if (text.n >= sizeof z || text.n == 0)
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    *v4 = inet_pton(AF_INET, z, ip + 12) == 1;
    if (*v4)
        memcpy(ip, mapped, sizeof mapped);
    return *v4 || inet_pton(AF_INET6, z, ip) == 1;
}

static bool network_parse(struct str text, struct network *out)
{
    size_t slash = str_find_char(text, '/');
    bool v4;
    if (!ip_parse(str_upto(text, slash), out->ip, &v4))
        return false;
    unsigned width = v4 ? 32 : 128;
    uint32_t bits = width;
    if (slash != STR_NPOS && (!str_to_u32(str_from(text, slash + 1), &bits) || bits > width))
        return false;
    out->bits = bits + (v4 ? 96 : 0);
    return true;
}

static bool network_has(const struct network *n, const uint8_t ip[16])
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    if (memcmp(n->ip, ip, whole) != 0)
        return false;
    return rest == 0 || ((n->ip[whole] ^ ip[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

/* ---- patterns ---- */

static bool pattern_has(struct str pattern, struct str address)
{
    if (str_eq(pattern, STR("*")))
        return true;
    if (pattern.p[0] != '@')
        return str_eq_nocase(pattern, address);
    size_t at = str_rfind_char(address, '@');
    return at != STR_NPOS && str_eq_nocase(pattern, str_from(address, at));
}

static bool patterns_have(const struct patterns *p, struct str address)
{
    for (size_t i = 0; i < p->count; i++)
        if (pattern_has(p->list[i], address))
            return true;
    return false;
}

/* Canonical text of a pattern in the arena; p NULL: it is none. */
static struct str pattern_parse(struct arena *arena, struct str text)
{
    DEFER(buf_release) struct buf domain = BUF_INIT(ADDRESS_DOMAIN_MAX);
    struct address a;
    if (str_eq(text, STR("*")))
        return STR("*");
    if (text.n > 1 && text.p[0] == '@') {
        if (address_domain_canonical(str_from(text, 1), ADDRESS_UTF8, &domain, NULL) != ST_OK)
            return STR_NONE;
        return arena_printf(arena, "@%.*s", STR_FMT(buf_str(&domain)));
    }
    if (address_parse(arena, text, ADDRESS_UTF8, &a, NULL) != ST_OK)
        return STR_NONE;
    return address_text(arena, &a);
}

/* ---- parsing ---- */

static enum st patterns_parse(struct relay_clients *r, struct relay_client *rule, struct patterns *out, struct str text,
                              struct err *e)
{
    struct str part;
    while (str_split(&text, ',', &part)) {
        part = str_trim(part);
        if (!part.n)
            continue;
        ENSURE(out->count < PATTERNS_MAX, e, ST_LIMIT, "relay_client rule %u: more than %d addresses", rule->number, PATTERNS_MAX);
        struct str pattern = pattern_parse(&r->arena, part);
        ENSURE(pattern.p, e, ST_PERM, "relay_client rule %u: '%.*s' is neither an address nor @domain nor *", rule->number,
               STR_FMT(part));
        out->list[out->count++] = pattern;
    }
    return ST_OK;
}

static enum st rate_parse(struct relay_client *rule, struct str text, struct err *e)
{
    uint32_t messages = 0, seconds = 0;
    size_t slash = str_find_char(text, '/');
    bool good =
        slash != STR_NPOS && str_to_u32(str_upto(text, slash), &messages) && str_to_u32(str_from(text, slash + 1), &seconds);
    ENSURE(good && messages > 0 && seconds > 0 && messages <= RATE_MESSAGES_MAX && seconds <= RATE_SECONDS_MAX, e, ST_PERM,
           "relay_client rule %u: rate must be messages/seconds, such as rate=60/3600", rule->number);
    rule->window_us = (int64_t)seconds * 1000000;
    rule->step_us = rule->window_us / messages;
    return ST_OK;
}

static enum st networks_parse(struct relay_client *rule, struct str text, struct err *e)
{
    struct str part;
    while (str_split(&text, ',', &part)) {
        part = str_trim(part);
        if (!part.n)
            continue;
        ENSURE(rule->network_count < NETWORKS_MAX, e, ST_LIMIT, "relay_client rule %u: more than %d networks", rule->number,
               NETWORKS_MAX);
        ENSURE(network_parse(part, &rule->networks[rule->network_count]), e, ST_PERM,
               "relay_client rule %u: '%.*s' is not a network such as 192.0.2.0/24", rule->number, STR_FMT(part));
        rule->network_count++;
    }
    return ST_OK;
}

static enum st word_parse(struct relay_clients *r, struct relay_client *rule, struct str word, struct err *e)
{
    if (str_starts_nocase(word, STR("from=")))
        return patterns_parse(r, rule, &rule->from, str_from(word, 5), e);
    if (str_starts_nocase(word, STR("to=")))
        return patterns_parse(r, rule, &rule->to, str_from(word, 3), e);
    if (str_starts_nocase(word, STR("rate=")))
        return rate_parse(rule, str_from(word, 5), e);
    return networks_parse(rule, word, e);
}

static enum st rule_parse(struct relay_clients *r, struct relay_client *rule, struct str line, struct err *e)
{
    struct rd in = rd_of(line);
    for (;;) {
        rd_skip_space(&in);
        const char *start = in.p;
        while (rd_peek(&in) > ' ')
            rd_take(&in);
        if (in.p == start)
            break;
        TRY(word_parse(r, rule, str_make(start, (size_t)(in.p - start)), e));
    }
    ENSURE(rd_end(&in), e, ST_PERM, "relay_client rule %u: control character", rule->number);
    ENSURE(rule->network_count && rule->from.count && rule->to.count && rule->step_us, e, ST_PERM,
           "relay_client rule %u needs networks, from=, to= and rate=, such as "
           "192.0.2.0/24 from=printer@abcd.com to=@abcd.com rate=60/3600",
           rule->number);
    return ST_OK;
}

static enum st rules_parse(struct relay_clients *r, struct str text, struct err *e)
{
    struct str line, rule;
    while (str_split(&text, '\n', &line)) {
        line = str_upto(line, str_find_char(line, '#'));
        while (str_split(&line, ';', &rule)) {
            rule = str_trim(rule);
            if (!rule.n)
                continue;
            ENSURE(r->count < RELAY_CLIENT_RULES_MAX, e, ST_LIMIT, "more than %d relay_client rules", RELAY_CLIENT_RULES_MAX);
            struct relay_client *c = &r->rules[r->count];
            c->number = (unsigned)r->count + 1;
            c->next_us = ARENA_NEW(&r->arena, _Atomic int64_t);
            ENSURE(c->next_us, e, ST_LIMIT, "relay_client rules are too long");
            TRY(rule_parse(r, c, rule, e));
            r->count++;
        }
    }
    return ST_OK;
}

/* How many rules there can be at most. */
static size_t rules_bound(struct str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n' || text.p[i] == ';';
    return n < RELAY_CLIENT_RULES_MAX ? n : RELAY_CLIENT_RULES_MAX;
}

enum st relay_clients_parse(struct str text, struct relay_clients **out, struct err *e)
{
    ENSURE(text.n <= RELAY_CLIENT_TEXT_MAX, e, ST_LIMIT, "relay_client rules are too long");
    struct relay_clients *r = calloc(1, sizeof *r);
    if (!r)
        return ERR(e, ST_TEMP, "out of memory", "relay_clients");
    arena_init(&r->arena, RELAY_CLIENT_TEXT_MAX * 16);
    r->rules = calloc(rules_bound(text), sizeof *r->rules);
    enum st st = r->rules ? rules_parse(r, text, e) : ERR(e, ST_TEMP, "out of memory", "relay_clients");
    if (st != ST_OK) {
        relay_clients_free(r);
        return st;
    }
    *out = r;
    return ST_OK;
}

enum st relay_clients_load(const char *path, struct relay_clients **out, struct err *e)
{
    DEFER(buf_release) struct buf text = BUF_INIT(RELAY_CLIENT_TEXT_MAX + 1);
    FILE *f = fopen(path, "re");
    ENSURE(f, e, ST_PERM, "%s: %s", path, strerror(errno));
    char *to = buf_reserve(&text, RELAY_CLIENT_TEXT_MAX + 1);
    if (to)
        buf_grew(&text, fread(to, 1, RELAY_CLIENT_TEXT_MAX + 1, f));
    bool bad = ferror(f) != 0;
    fclose(f);
    ENSURE(to && !bad, e, ST_TEMP, "%s: cannot be read", path);
    return relay_clients_parse(buf_str(&text), out, e);
}

void relay_clients_free(struct relay_clients *r)
{
    if (!r)
        return;
    free(r->rules);
    arena_release(&r->arena);
    free(r);
}

/* ---- asking ---- */

static bool rule_lists(const struct relay_client *rule, const uint8_t ip[16])
{
    for (size_t i = 0; i < rule->network_count; i++)
        if (network_has(&rule->networks[i], ip))
            return true;
    return false;
}

bool relay_clients_list(const struct relay_clients *r, const char *client)
{
    uint8_t ip[16];
    bool v4;
    if (!r || !ip_parse(str_of(client), ip, &v4))
        return false;
    for (size_t i = 0; i < r->count; i++)
        if (rule_lists(&r->rules[i], ip))
            return true;
    return false;
}

const struct relay_client *relay_clients_find(const struct relay_clients *r, const char *client, struct str from)
{
    uint8_t ip[16];
    bool v4;
    if (!r || !from.n || !ip_parse(str_of(client), ip, &v4))
        return NULL;
    for (size_t i = 0; i < r->count; i++)
        if (rule_lists(&r->rules[i], ip) && patterns_have(&r->rules[i].from, from))
            return &r->rules[i];
    return NULL;
}

bool relay_client_allows(const struct relay_client *rule, struct str to) { return patterns_have(&rule->to, to); }

bool relay_client_take(const struct relay_client *rule, int64_t now_ms)
{
    return rate_take(rule->next_us, rule->step_us, rule->window_us, now_ms);
}
