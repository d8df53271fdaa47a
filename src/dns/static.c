/* A resolver that answers from a small zone text. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/rd.h"
#include "dns/resolver_internal.h"

enum { ZONE_RECORDS_MAX = 10000, ZONE_TEXT_MAX = 1 << 20, CNAMES_MAX = 8 };

enum zone_kind { ZONE_RECORD, ZONE_CNAME, ZONE_TEMP, ZONE_SILENT };
struct zone_record {
    struct str name;
    enum zone_kind kind;
    enum resolver_type type;
    bool secure;
    struct resolver_record r; /* of a CNAME: its name */
};

struct open_question { /* to a silent name */
    struct open_question *next;
    resolver_done *done;
    void *context;
};

struct zone {
    struct resolver base;
    struct arena arena;
    struct zone_record *records;
    size_t count;
    pthread_mutex_t lock;
    struct open_question *open; /* under the lock */
};

static struct str lower(struct arena *arena, struct str name)
{
    struct str copy = arena_str(arena, name.n > 0 && name.p[name.n - 1] == '.' ? str_upto(name, name.n - 1) : name);
    for (size_t i = 0; copy.p && i < copy.n; i++)
        ((char *)(uintptr_t)copy.p)[i] = ascii_lower(copy.p[i]);
    return copy;
}

static bool word(struct rd *in, struct str *out)
{
    rd_skip_space(in);
    if (rd_accept(in, '"')) {
        *out = rd_until(in, '"');
        return rd_expect(in, '"');
    }
    const char *from = in->p;
    while (!rd_end(in) && !ascii_space(*in->p))
        in->p++;
    *out = str_make(from, (size_t)(in->p - from));
    return out->n > 0;
}

static bool parse_address(int family, struct str text, uint8_t out[16])
{
    char z[64];
    if (text.n >= sizeof z)
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    return inet_pton(family, z, out) == 1;
}

static bool parse_hex(struct arena *arena, struct str text, struct str *out)
{
    char *to = arena_get(arena, text.n / 2 + 1);
    for (size_t i = 0; to && i + 1 < text.n; i += 2) {
        int high = ascii_hex_value(text.p[i]), low = ascii_hex_value(text.p[i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i / 2] = (char)(high << 4 | low);
    }
    *out = str_make(to, text.n / 2);
    return to && text.n > 0 && text.n % 2 == 0;
}

static bool parse_small(struct str text, uint8_t *out)
{
    uint32_t v;
    if (!str_to_u32(text, &v) || v > 255)
        return false;
    *out = (uint8_t)v;
    return true;
}

static bool parse_tlsa(struct rd *in, struct arena *arena, struct resolver_record *r)
{
    struct str a, b, c, d;
    return word(in, &a) && word(in, &b) && word(in, &c) && word(in, &d) && parse_small(a, &r->usage) &&
           parse_small(b, &r->selector) && parse_small(c, &r->matching) && parse_hex(arena, d, &r->data);
}

static bool parse_mx(struct rd *in, struct arena *arena, struct resolver_record *r)
{
    struct str preference, name;
    uint32_t v;
    if (!word(in, &preference) || !word(in, &name) || !str_to_u32(preference, &v) || v > UINT16_MAX)
        return false;
    r->preference = (uint16_t)v;
    r->name = lower(arena, name);
    return r->name.p != NULL;
}

static bool parse_value(struct rd *in, struct arena *arena, struct str type, struct zone_record *z)
{
    struct str text;
    if (str_eq_nocase(type, STR("TEMP"))) {
        z->kind = ZONE_TEMP;
        return true;
    }
    if (str_eq_nocase(type, STR("SILENT"))) {
        z->kind = ZONE_SILENT;
        return true;
    }
    if (str_eq_nocase(type, STR("MX"))) {
        z->type = RESOLVER_MX;
        return parse_mx(in, arena, &z->r);
    }
    if (str_eq_nocase(type, STR("TLSA"))) {
        z->type = RESOLVER_TLSA;
        return parse_tlsa(in, arena, &z->r);
    }
    if (!word(in, &text))
        return false;
    if (str_eq_nocase(type, STR("A"))) {
        z->type = RESOLVER_A;
        return parse_address(AF_INET, text, z->r.address);
    }
    if (str_eq_nocase(type, STR("AAAA"))) {
        z->type = RESOLVER_AAAA;
        return parse_address(AF_INET6, text, z->r.address);
    }
    if (str_eq_nocase(type, STR("TXT"))) {
        z->type = RESOLVER_TXT;
        z->r.data = arena_str(arena, text);
        return z->r.data.p != NULL;
    }
    if (str_eq_nocase(type, STR("CNAME")))
        z->kind = ZONE_CNAME;
    else if (str_eq_nocase(type, STR("PTR")))
        z->type = RESOLVER_PTR;
    else
        return false;
    z->r.name = lower(arena, text);
    return z->r.name.p != NULL;
}

static bool parse_line(struct str line, struct arena *arena, struct zone_record *z)
{
    struct rd in = rd_of(line);
    struct str name, type, last;
    if (!word(&in, &name) || !word(&in, &type) || !parse_value(&in, arena, type, z))
        return false;
    z->name = lower(arena, name);
    if (word(&in, &last)) {
        z->secure = str_eq_nocase(last, STR("secure"));
        rd_skip_space(&in);
        return z->secure && rd_end(&in) && z->name.p;
    }
    return rd_ok(&in) && rd_end(&in) && z->name.p;
}

static enum st zone_lookup(struct resolver *r, enum resolver_type type, struct str name, struct arena *arena,
                           struct resolver_answer *out, struct err *e)
{
    const struct zone *zone = (const struct zone *)r;
    out->records = ARENA_ARRAY(arena, RESOLVER_RECORDS_MAX, struct resolver_record);
    ENSURE(out->records, e, ST_LIMIT, "Out of memory");
    out->outcome = RESOLVER_NO_NAME;
    out->secure = true;
    out->ttl_s = 300;
    for (size_t i = 0, hops = 0; i < zone->count; i++) {
        const struct zone_record *z = &zone->records[i];
        if (!str_eq(z->name, name))
            continue;
        ENSURE(z->kind != ZONE_TEMP && z->kind != ZONE_SILENT, e, ST_TEMP, "4.4.3 DNS does not answer");
        out->secure = out->secure && z->secure;
        if (z->kind == ZONE_CNAME) {
            ENSURE(++hops <= CNAMES_MAX, e, ST_TEMP, "4.4.3 Too many CNAMEs");
            out->name = name = z->r.name;
            i = (size_t)-1;
            continue;
        }
        out->outcome = out->outcome == RESOLVER_NO_NAME ? RESOLVER_NO_DATA : out->outcome;
        if (z->type != type || out->count == RESOLVER_RECORDS_MAX)
            continue;
        out->records[out->count++] = z->r;
        out->outcome = RESOLVER_FOUND;
    }
    out->secure = out->secure && out->outcome != RESOLVER_NO_NAME;
    return ST_OK;
}

static bool is_silent(const struct zone *zone, struct str name)
{
    for (size_t i = 0; i < zone->count; i++)
        if (zone->records[i].kind == ZONE_SILENT && str_eq(zone->records[i].name, name))
            return true;
    return false;
}

static enum st keep_open(struct zone *zone, resolver_done *done, void *context)
{
    struct open_question *q = malloc(sizeof *q);
    if (!q)
        return ST_TEMP;
    pthread_mutex_lock(&zone->lock);
    *q = (struct open_question){zone->open, done, context};
    zone->open = q;
    pthread_mutex_unlock(&zone->lock);
    return ST_OK;
}

static enum st zone_start(struct resolver *r, enum resolver_type type, struct str name, resolver_done *done, void *context)
{
    struct zone *zone = (struct zone *)r;
    if (is_silent(zone, name))
        return keep_open(zone, done, context);
    DEFER(arena_release) struct arena arena = ARENA_INIT(1 << 20);
    struct resolver_answer answer = {.name = name};
    bool known = zone_lookup(r, type, name, &arena, &answer, NULL) == ST_OK;
    done(context, known ? &answer : NULL);
    return ST_OK;
}

static void zone_close(struct resolver *r)
{
    struct zone *zone = (struct zone *)r;
    for (struct open_question *q; (q = zone->open); free(q)) {
        zone->open = q->next;
        q->done(q->context, NULL);
    }
    pthread_mutex_destroy(&zone->lock);
    arena_release(&zone->arena);
    free(zone);
}

static const struct resolver_class zone_class = {zone_lookup, zone_start, zone_close};

static enum st parse_zone(struct zone *zone, struct str text, struct err *e)
{
    struct str line;
    zone->records = ARENA_ARRAY(&zone->arena, ZONE_RECORDS_MAX, struct zone_record);
    ENSURE(zone->records, e, ST_TEMP, "Out of memory");
    for (size_t number = 1; str_split(&text, '\n', &line); number++) {
        line = str_trim(str_upto(line, str_find_char(line, '#')));
        if (line.n == 0)
            continue;
        ENSURE(zone->count < ZONE_RECORDS_MAX, e, ST_LIMIT, "The zone has too many records");
        ENSURE(parse_line(line, &zone->arena, &zone->records[zone->count]), e, ST_PERM,
               "Line %zu of the zone: expected NAME TYPE VALUE, as in: example.net MX 10 mx.example.net", number);
        zone->count++;
    }
    return ST_OK;
}

enum st resolver_static(struct str text, struct resolver **out, struct err *e)
{
    *out = NULL;
    ENSURE(text.n <= ZONE_TEXT_MAX, e, ST_LIMIT, "The zone is too long");
    struct zone *zone = calloc(1, sizeof *zone);
    if (!zone)
        return ERR(e, ST_TEMP, "Out of memory", "reading a zone");
    zone->base.class = &zone_class;
    arena_init(&zone->arena, 16 << 20);
    pthread_mutex_init(&zone->lock, NULL);
    enum st st = parse_zone(zone, text, e);
    if (st != ST_OK) {
        zone_close(&zone->base);
        return st;
    }
    *out = &zone->base;
    return ST_OK;
}
