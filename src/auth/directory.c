#include "auth/directory_internal.h"

#include <stdlib.h>

#include "rt/clock.h"
#include "rt/random.h"
#include "rt/settings.h"

enum { CHANGE_TRIES_MAX = 64 };

/* ---- records ---- */

enum st directory_get(struct directory *d, struct str partition, struct str key, struct buf *value, struct err *e)
{
    uint64_t generation = 0;
    switch (dircache_get(d->cache, partition, key, value, &generation)) {
    case DIRCACHE_HIT:
        return buf_ok(value) ? ST_OK : ERR(e, ST_TEMP, "out of memory", "directory record of %zu bytes", value->n);
    case DIRCACHE_ABSENT:
        return ST_NOTFOUND;
    case DIRCACHE_MISS:
        break;
    }
    size_t before = value->n;
    enum st st = kv_get(d->kv, partition, key, value, e);
    if (st == ST_OK || st == ST_NOTFOUND)
        dircache_put(d->cache, partition, key, st == ST_OK, str_from(buf_str(value), before), generation);
    return st;
}

static enum st change_once(struct directory *d, struct str partition, struct str key, directory_editor *editor, void *context,
                           struct err *e)
{
    DEFER(buf_release) struct buf old = BUF_INIT(KV_VALUE_MAX);
    uint64_t version = 0;
    TRY(kv_version(d->kv, partition, &version, e));
    enum st st = kv_get(d->kv, partition, key, &old, e);
    if (st != ST_OK && st != ST_NOTFOUND)
        return st;
    struct directory_edit edit = {.exists = st == ST_OK, .old = buf_str(&old), .value = BUF_INIT(DIRRECORD_VALUE_MAX)};
    st = editor(context, &edit, e);
    if (st == ST_OK && edit.action != DIRECTORY_KEEP) {
        struct kv_batch *b = kv_batch_new(d->kv);
        if (b && buf_ok(&edit.value)) {
            if (edit.action == DIRECTORY_PUT)
                kv_batch_put(b, key, buf_str(&edit.value));
            else
                kv_batch_delete(b, key);
            st = kv_commit(d->kv, partition, b, version, e);
        } else {
            st = ERR(e, ST_LIMIT, "the directory record is too long", "record of %zu bytes", edit.value.n);
        }
        kv_batch_free(b);
        dircache_forget(d->cache, partition, key);
    }
    if (edit.value.p)
        explicit_bzero(edit.value.p, edit.value.n);
    buf_release(&edit.value);
    return st;
}

enum st directory_change(struct directory *d, struct str partition, struct str key, directory_editor *editor, void *context,
                         struct err *e)
{
    enum st st = ST_CONFLICT;
    for (unsigned i = 0; i < CHANGE_TRIES_MAX && st == ST_CONFLICT; i++)
        st = change_once(d, partition, key, editor, context, e);
    if (st == ST_CONFLICT)
        return ERR(e, ST_TEMP, "the directory is busy", "partition %.*s changed %d times meanwhile", STR_FMT(partition),
                   CHANGE_TRIES_MAX);
    return st;
}

static enum st edit_write(void *context, struct directory_edit *edit, struct err *e)
{
    (void)e;
    const struct str *value = context;
    edit->action = edit->exists && str_eq(edit->old, *value) ? DIRECTORY_KEEP : DIRECTORY_PUT;
    buf_add(&edit->value, *value);
    return ST_OK;
}

enum st directory_write(struct directory *d, struct str partition, struct str key, struct str value, struct err *e)
{
    return directory_change(d, partition, key, edit_write, &value, e);
}

static enum st edit_erase(void *context, struct directory_edit *edit, struct err *e)
{
    (void)context, (void)e;
    edit->action = edit->exists ? DIRECTORY_DELETE : DIRECTORY_KEEP;
    return ST_OK;
}

enum st directory_erase(struct directory *d, struct str partition, struct str key, struct err *e)
{
    return directory_change(d, partition, key, edit_erase, NULL, e);
}

/* ---- places ---- */

static enum st place_take(struct buf *key, struct directory_place *out, struct err *e)
{
    ENSURE(buf_ok(key), e, ST_PERM, "the address is too long");
    memcpy(out->key, key->p, key->n);
    out->key_n = key->n;
    buf_release(key);
    return ST_OK;
}

enum st directory_place_address(enum dirrecord_kind kind, const struct address *a, struct directory_place *out, struct err *e)
{
    DEFER(buf_release) struct buf key = BUF_INIT(DIRECTORY_KEY_MAX);
    buf_add_c(&key, (char)kind);
    address_key(a, &key);
    out->partition = dirrecord_partition_of(str_from(buf_str(&key), 1));
    return place_take(&key, out, e);
}

enum st directory_place_id(account_id id, struct directory_place *out, struct err *e)
{
    DEFER(buf_release) struct buf key = BUF_INIT(DIRECTORY_KEY_MAX);
    buf_add_c(&key, DIRRECORD_ID);
    dirrecord_key_id(id, &key);
    out->partition = dirrecord_partition_of(str_from(buf_str(&key), 1));
    return place_take(&key, out, e);
}

enum st directory_parse(struct arena *arena, struct str text, struct address *out, struct err *e)
{
    return address_parse(arena, text, ADDRESS_UTF8, out, e);
}

/* ---- open ---- */

static enum st edit_secret(void *context, struct directory_edit *edit, struct err *e)
{
    (void)e;
    struct directory *d = context;
    if (edit->exists && edit->old.n == DIRECTORY_SECRET_SIZE) {
        memcpy(d->secret, edit->old.p, DIRECTORY_SECRET_SIZE);
        return ST_OK;
    }
    random_bytes(d->secret, sizeof d->secret);
    buf_add(&edit->value, str_make(d->secret, sizeof d->secret));
    edit->action = DIRECTORY_PUT;
    return ST_OK;
}

enum st directory_open(struct kv *kv, struct directory **out, struct err *e)
{
    struct directory *d = calloc(1, sizeof *d);
    ENSURE(d, e, ST_TEMP, "out of memory");
    d->kv = kv;
    const struct settings *settings = settings_current();
    d->cache = dircache_new((size_t)settings->directory_cache_entries, (unsigned)settings->directory_cache_ms);
    settings_unref(settings);
    enum st st = d->cache ? ST_OK : ERR_PUBLIC(e, ST_TEMP, "out of memory");
    if (st == ST_OK)
        st = directory_change(d, DIRRECORD_DOMAINS, str_make((char[]){DIRRECORD_SECRET}, 1), edit_secret, d, e);
    if (st != ST_OK) {
        directory_close(d);
        return st;
    }
    *out = d;
    return ST_OK;
}

void directory_close(struct directory *d)
{
    if (!d)
        return;
    dircache_free(d->cache);
    explicit_bzero(d->secret, sizeof d->secret);
    free(d);
}

const uint8_t *directory_secret(const struct directory *d) { return d->secret; }

/* ---- domains ---- */

static enum st domain_key(struct str name, struct buf *key, struct err *e)
{
    buf_add_c(key, DIRRECORD_DOMAIN);
    if (name.n && name.p[0] == '[') {
        ENSURE(address_literal_valid(name), e, ST_PERM, "not a domain or address literal");
        buf_add(key, name);
    } else {
        TRY(address_domain_canonical(name, ADDRESS_UTF8, key, e));
    }
    ENSURE(buf_ok(key), e, ST_PERM, "the domain name is too long");
    return ST_OK;
}

static enum st domain_to_arena(struct arena *arena, struct directory_domain *d, struct err *e)
{
    d->name = arena_str(arena, d->name);
    d->catch_all = arena_str(arena, d->catch_all);
    d->alias_of = arena_str(arena, d->alias_of);
    ENSURE(d->name.p && d->catch_all.p && d->alias_of.p, e, ST_LIMIT, "out of memory for this request");
    return ST_OK;
}

enum st directory_domain_find(struct directory *d, struct str name, struct arena *arena, struct directory_domain *out,
                              struct err *e)
{
    DEFER(buf_release) struct buf key = BUF_INIT(DIRECTORY_KEY_MAX);
    DEFER(buf_release) struct buf value = BUF_INIT(DIRRECORD_VALUE_MAX);
    buf_add_c(&key, DIRRECORD_DOMAIN);
    for (size_t i = 0; i < name.n && i <= ADDRESS_DOMAIN_MAX; i++)
        buf_add_c(&key, ascii_lower(name.p[i]));
    if (!buf_ok(&key) || name.n == 0 || name.n > ADDRESS_DOMAIN_MAX)
        return ST_NOTFOUND;
    TRY(directory_get(d, DIRRECORD_DOMAINS, buf_str(&key), &value, e));
    TRY(dirrecord_domain_decode(buf_str(&value), out, e));
    return domain_to_arena(arena, out, e);
}

enum st directory_default_domain(struct directory *d, struct buf *out, struct err *e)
{
    enum st st = directory_get(d, DIRRECORD_DOMAINS, str_make((char[]){DIRRECORD_DEFAULT}, 1), out, e);
    return st == ST_NOTFOUND ? ST_OK : st;
}

enum st directory_domain_is_local(struct directory *d, struct str domain, bool *local, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct directory_domain found;
    enum st st = directory_domain_find(d, domain, &arena, &found, e);
    *local = st == ST_OK;
    return st == ST_NOTFOUND ? ST_OK : st;
}

enum st directory_domain_put(struct directory *d, const struct directory_domain *domain, struct err *e)
{
    DEFER(buf_release) struct buf key = BUF_INIT(DIRECTORY_KEY_MAX);
    DEFER(buf_release) struct buf of = BUF_INIT(DIRECTORY_KEY_MAX);
    DEFER(buf_release) struct buf value = BUF_INIT(DIRRECORD_VALUE_MAX);
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct address catch_all;
    TRY(domain_key(domain->name, &key, e));
    if (domain->alias_of.n) {
        struct directory_domain real;
        TRY(address_domain_canonical(domain->alias_of, ADDRESS_UTF8, &of, e));
        enum st st = directory_domain_find(d, buf_str(&of), &arena, &real, e);
        ENSURE(st != ST_NOTFOUND, e, ST_NOTFOUND, "%.*s is not one of the domains", STR_FMT(domain->alias_of));
        TRY(st);
        ENSURE(str_empty(real.alias_of), e, ST_PERM, "%.*s is an alias domain itself", STR_FMT(domain->alias_of));
    }
    if (domain->catch_all.n)
        TRY(directory_parse(&arena, domain->catch_all, &catch_all, e));
    struct directory_domain stored = {str_from(buf_str(&key), 1), domain->catch_all, buf_str(&of), false};
    dirrecord_domain_encode(&stored, &value);
    TRY(directory_write(d, DIRRECORD_DOMAINS, buf_str(&key), buf_str(&value), e));
    if (!domain->is_default)
        return ST_OK;
    return directory_write(d, DIRRECORD_DOMAINS, str_make((char[]){DIRRECORD_DEFAULT}, 1), stored.name, e);
}

static bool stop_at_first_account(void *context, const struct directory_account *account)
{
    (void)account;
    *(bool *)context = true;
    return false;
}

static bool stop_at_first_alias(void *context, const struct directory_alias *alias)
{
    (void)alias;
    *(bool *)context = true;
    return false;
}

enum st directory_domain_remove(struct directory *d, struct str name, struct err *e)
{
    DEFER(buf_release) struct buf key = BUF_INIT(DIRECTORY_KEY_MAX);
    DEFER(buf_release) struct buf fallback = BUF_INIT(DIRECTORY_KEY_MAX);
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct directory_domain found;
    TRY(domain_key(name, &key, e));
    struct str canonical = str_from(buf_str(&key), 1);
    enum st st = directory_domain_find(d, canonical, &arena, &found, e);
    ENSURE(st != ST_NOTFOUND, e, ST_NOTFOUND, "%.*s is not one of the domains", STR_FMT(name));
    TRY(st);
    bool used = false;
    TRY(directory_accounts(d, canonical, stop_at_first_account, &used, e));
    ENSURE(!used, e, ST_CONFLICT, "%.*s still has accounts", STR_FMT(name));
    TRY(directory_aliases(d, canonical, stop_at_first_alias, &used, e));
    ENSURE(!used, e, ST_CONFLICT, "%.*s still has aliases", STR_FMT(name));
    TRY(directory_default_domain(d, &fallback, e));
    ENSURE(!str_eq(buf_str(&fallback), canonical), e, ST_CONFLICT, "%.*s is the default domain", STR_FMT(name));
    return directory_erase(d, DIRRECORD_DOMAINS, buf_str(&key), e);
}

struct domain_walk {
    directory_visit_domain *visit;
    void *context;
    struct str fallback;
    enum st st;
    struct err *e;
};

static bool visit_domain_record(void *context, struct str key, struct str value)
{
    struct domain_walk *w = context;
    (void)key;
    struct directory_domain domain;
    w->st = dirrecord_domain_decode(value, &domain, w->e);
    if (w->st != ST_OK)
        return false;
    domain.is_default = str_eq(domain.name, w->fallback);
    return w->visit(w->context, &domain);
}

enum st directory_domains(struct directory *d, directory_visit_domain *visit, void *context, struct err *e)
{
    DEFER(buf_release) struct buf fallback = BUF_INIT(DIRECTORY_KEY_MAX);
    TRY(directory_default_domain(d, &fallback, e));
    struct domain_walk walk = {visit, context, buf_str(&fallback), ST_OK, e};
    TRY(kv_scan(d->kv, DIRRECORD_DOMAINS, str_make((char[]){DIRRECORD_DOMAIN}, 1), str_make((char[]){DIRRECORD_DOMAIN + 1}, 1),
                visit_domain_record, &walk, e));
    return walk.st;
}

/* ---- aliases ---- */

static enum st alias_to_arena(struct arena *arena, struct directory_alias *a, struct err *e)
{
    a->address = arena_str(arena, a->address);
    a->targets = arena_str(arena, a->targets);
    ENSURE(a->address.p && a->targets.p, e, ST_LIMIT, "out of memory for this request");
    return ST_OK;
}

enum st directory_alias_get(struct directory *d, const struct address *a, struct arena *arena, struct directory_alias *out,
                            struct err *e)
{
    DEFER(buf_release) struct buf value = BUF_INIT(DIRRECORD_VALUE_MAX);
    struct directory_place place;
    TRY(directory_place_address(DIRRECORD_ALIAS, a, &place, e));
    TRY(directory_get(d, place_partition(&place), place_key(&place), &value, e));
    TRY(dirrecord_alias_decode(buf_str(&value), out, e));
    return alias_to_arena(arena, out, e);
}

enum st directory_alias_find(struct directory *d, struct str address, struct arena *arena, struct directory_alias *out,
                             struct err *e)
{
    struct address a;
    TRY(directory_parse(arena, address, &a, e));
    return directory_alias_get(d, &a, arena, out, e);
}

/* Every line of the targets must be an address; empty lines are dropped, the others are written in canonical form. */
static enum st canonical_targets(struct str targets, struct buf *out, struct err *e)
{
    struct str line;
    size_t count = 0;
    while (str_split(&targets, '\n', &line)) {
        DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
        struct address a;
        line = str_trim(line);
        if (str_empty(line))
            continue;
        TRY(directory_parse(&arena, line, &a, e));
        ENSURE(++count <= DIRECTORY_TARGETS_MAX, e, ST_LIMIT, "more than %d targets", DIRECTORY_TARGETS_MAX);
        if (out->n)
            buf_add_c(out, '\n');
        address_print(&a, out);
    }
    ENSURE(count, e, ST_PERM, "an alias needs at least one target");
    ENSURE(buf_ok(out), e, ST_LIMIT, "the list of targets is too long");
    return ST_OK;
}

enum st directory_alias_put(struct directory *d, const struct directory_alias *alias, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    DEFER(buf_release) struct buf targets = BUF_INIT(DIRRECORD_VALUE_MAX / 2);
    DEFER(buf_release) struct buf value = BUF_INIT(DIRRECORD_VALUE_MAX);
    struct address a;
    struct directory_place place;
    struct directory_domain domain;
    struct dirrecord_account taken;
    TRY(directory_parse(&arena, alias->address, &a, e));
    TRY(directory_place_address(DIRRECORD_ALIAS, &a, &place, e));
    enum st st = directory_domain_find(d, a.domain, &arena, &domain, e);
    ENSURE(st != ST_NOTFOUND, e, ST_NOTFOUND, "%.*s is not one of the domains", STR_FMT(a.domain));
    TRY(st);
    st = directory_account_get(d, &a, true, &arena, &taken, e);
    ENSURE(st != ST_OK, e, ST_EXISTS, "an account has this address");
    if (st != ST_NOTFOUND)
        return st;
    TRY(canonical_targets(alias->targets, &targets, e));
    struct str text = address_text(&arena, &a);
    ENSURE(text.p, e, ST_LIMIT, "out of memory for this request");
    dirrecord_alias_encode(text, buf_str(&targets), &value);
    return directory_write(d, place_partition(&place), place_key(&place), buf_str(&value), e);
}

enum st directory_alias_remove(struct directory *d, struct str address, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct directory_alias found;
    struct directory_place place;
    struct address a;
    TRY(directory_parse(&arena, address, &a, e));
    DEFER(arena_release) struct arena big = ARENA_INIT(DIRRECORD_VALUE_MAX * 2);
    enum st st = directory_alias_get(d, &a, &big, &found, e);
    ENSURE(st != ST_NOTFOUND, e, ST_NOTFOUND, "no such alias");
    TRY(st);
    TRY(directory_place_address(DIRRECORD_ALIAS, &a, &place, e));
    return directory_erase(d, place_partition(&place), place_key(&place), e);
}

struct alias_walk {
    directory_visit_alias *visit;
    void *context;
    struct str domain; /* '@' domain, or empty */
    bool stopped;
    enum st st;
    struct err *e;
};

static bool visit_alias_record(void *context, struct str key, struct str value)
{
    struct alias_walk *w = context;
    struct directory_alias alias;
    if (!str_ends(key, w->domain))
        return true;
    w->st = dirrecord_alias_decode(value, &alias, w->e);
    w->stopped = w->st != ST_OK || !w->visit(w->context, &alias);
    return !w->stopped;
}

enum st directory_aliases(struct directory *d, struct str domain, directory_visit_alias *visit, void *context, struct err *e)
{
    DEFER(buf_release) struct buf suffix = BUF_INIT(DIRECTORY_KEY_MAX);
    if (domain.n) {
        buf_add_c(&suffix, '@');
        buf_add(&suffix, domain);
    }
    struct alias_walk walk = {visit, context, buf_str(&suffix), false, ST_OK, e};
    for (unsigned i = 0; i < 256 && !walk.stopped; i++) {
        struct dirrecord_partition p = dirrecord_partition_number(i);
        TRY(kv_scan(d->kv, str_of(p.name), str_make((char[]){DIRRECORD_ALIAS}, 1), str_make((char[]){DIRRECORD_ALIAS + 1}, 1),
                    visit_alias_record, &walk, e));
    }
    return walk.st;
}
