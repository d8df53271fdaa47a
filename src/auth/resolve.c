/* Where mail for an address goes, and who may send as it: directory_resolve and directory_owns. */
#include "auth/directory_internal.h"

enum { ALIASES_SEEN_MAX = DIRECTORY_TARGETS_MAX };
#define DETAIL_SEPARATOR '+' /* RFC 5233: user+detail@domain */

struct resolving {
    struct directory *d;
    struct arena *arena; /* the caller's: what the route shows */
    bool catch_all;      /* look at the domain's catch-all too */
    struct directory_target *targets;
    size_t count, room;
    struct str *seen; /* keys of the aliases that were expanded */
    size_t seen_count, seen_room;
    bool disabled;              /* an account was found that takes no mail */
    enum directory_state state; /* its state */
    struct err *e;
};

static enum st no_memory(struct resolving *r) { return ERR_PUBLIC(r->e, ST_LIMIT, "the list of targets is too long"); }

static enum st grow(struct resolving *r, void **array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return ST_OK;
    size_t more = *room ? *room * 4 : 4;
    void *new = arena_get_array(r->arena, more, size);
    if (!new)
        return no_memory(r);
    if (count)
        memcpy(new, *array, count * size);
    *array = new;
    *room = more;
    return ST_OK;
}

static enum st add_target(struct resolving *r, account_id account, struct str address, struct str detail)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->targets[i].account == account && (account || str_eq_nocase(r->targets[i].address, address)))
            return ST_OK;
    if (r->count >= DIRECTORY_TARGETS_MAX)
        return no_memory(r);
    TRY(grow(r, (void **)&r->targets, r->count, &r->room, sizeof *r->targets));
    struct directory_target t = {account, arena_str(r->arena, address), arena_str(r->arena, detail)};
    if (!r->targets || !t.address.p || !t.detail.p)
        return no_memory(r);
    r->targets[r->count++] = t;
    return ST_OK;
}

/* ST_NOTFOUND: no account of that address. */
static enum st try_account(struct resolving *r, const struct address *a, struct str detail)
{
    DEFER(arena_release) struct arena scratch = ARENA_INIT(DIRRECORD_VALUE_MAX * 2);
    struct dirrecord_account found;
    TRY(directory_account_get(r->d, a, false, &scratch, &found, r->e));
    if (found.account.state == DIRECTORY_ACTIVE)
        return add_target(r, found.account.id, found.account.address, detail);
    r->disabled = true;
    r->state = found.account.state;
    return ST_OK;
}

/* True if the alias was expanded before in this resolving (a loop, or two ways to the same list). */
static enum st note_seen(struct resolving *r, struct str address, bool *seen)
{
    *seen = true;
    for (size_t i = 0; i < r->seen_count; i++)
        if (str_eq_nocase(r->seen[i], address))
            return ST_OK;
    *seen = r->seen_count >= ALIASES_SEEN_MAX;
    if (*seen)
        return ST_OK;
    TRY(grow(r, (void **)&r->seen, r->seen_count, &r->seen_room, sizeof *r->seen));
    struct str copy = arena_str(r->arena, address);
    if (!r->seen || !copy.p)
        return no_memory(r);
    r->seen[r->seen_count++] = copy;
    return ST_OK;
}

static enum st expand(struct resolving *r, const struct address *a, struct str detail, unsigned depth);

static enum st expand_text(struct resolving *r, struct str text, struct str detail, unsigned depth)
{
    DEFER(arena_release) struct arena scratch = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct address a;
    if (directory_parse(&scratch, text, &a, NULL) != ST_OK)
        return ST_NOTFOUND; /* checked when it was stored; a target that does not parse any more gets no mail */
    return expand(r, &a, detail, depth);
}

static enum st try_alias(struct resolving *r, const struct address *a, struct str detail, unsigned depth)
{
    DEFER(arena_release) struct arena scratch = ARENA_INIT(DIRRECORD_VALUE_MAX * 2);
    struct directory_alias alias;
    bool seen = false;
    TRY(directory_alias_get(r->d, a, &scratch, &alias, r->e));
    TRY(note_seen(r, alias.address, &seen));
    if (seen || depth >= DIRECTORY_ALIAS_DEPTH_MAX)
        return ST_OK;
    struct str line;
    while (str_split(&alias.targets, '\n', &line)) {
        enum st st = expand_text(r, line, detail, depth + 1);
        if (st != ST_OK && st != ST_NOTFOUND)
            return st;
    }
    return ST_OK;
}

static enum st try_both(struct resolving *r, const struct address *a, struct str detail, unsigned depth)
{
    enum st st = try_account(r, a, detail);
    return st == ST_NOTFOUND ? try_alias(r, a, detail, depth) : st;
}

/* RFC 5321 4.5.1: every domain has a postmaster; one without its own is served by the default domain's. */
static enum st try_postmaster(struct resolving *r, const struct address *a, unsigned depth)
{
    DEFER(buf_release) struct buf fallback = BUF_INIT(DIRECTORY_KEY_MAX);
    if (!str_eq_nocase(a->local, STR("postmaster")))
        return ST_NOTFOUND;
    TRY(directory_default_domain(r->d, &fallback, r->e));
    if (!fallback.n || str_eq(buf_str(&fallback), a->domain))
        return ST_NOTFOUND;
    struct address there = {.local = a->local, .domain = buf_str(&fallback)};
    return try_both(r, &there, STR_NONE, depth);
}

/* One address to its targets. ST_NOTFOUND: a domain of ours has nobody of that name. */
static enum st expand(struct resolving *r, const struct address *a, struct str detail, unsigned depth)
{
    DEFER(arena_release) struct arena scratch = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct directory_domain domain;
    struct address at = *a;
    enum st st = directory_domain_find(r->d, a->domain, &scratch, &domain, r->e);
    if (st == ST_NOTFOUND) {
        struct str text = address_text(r->arena, a);
        return text.p ? add_target(r, 0, text, detail) : no_memory(r);
    }
    TRY(st);
    if (domain.alias_of.n)
        at.domain = domain.alias_of;
    st = try_both(r, &at, detail, depth);
    if (st == ST_NOTFOUND) {
        struct address user = at;
        struct str own_detail;
        address_split_detail(at.local, DETAIL_SEPARATOR, &user.local, &own_detail);
        if (own_detail.n)
            st = try_both(r, &user, own_detail, depth);
    }
    if (st == ST_NOTFOUND)
        st = try_postmaster(r, &at, depth);
    if (st == ST_NOTFOUND && r->catch_all && domain.catch_all.n && depth < DIRECTORY_ALIAS_DEPTH_MAX) {
        bool seen = false;
        TRY(note_seen(r, domain.catch_all, &seen));
        return seen ? ST_NOTFOUND : expand_text(r, domain.catch_all, detail, depth + 1);
    }
    return st;
}

static enum st resolve(struct resolving *r, struct str address, struct directory_route *out)
{
    struct address a;
    struct directory_domain domain;
    DEFER(buf_release) struct buf fallback = BUF_INIT(DIRECTORY_KEY_MAX);
    *out = (struct directory_route){.kind = DIRECTORY_UNKNOWN};
    TRY(address_parse(r->arena, address, ADDRESS_UTF8 | ADDRESS_BARE, &a, r->e));
    if (!a.domain.n) {
        TRY(directory_default_domain(r->d, &fallback, r->e));
        a.domain = buf_str(&fallback);
    }
    enum st st = directory_domain_find(r->d, a.domain, r->arena, &domain, r->e);
    if (st == ST_NOTFOUND) {
        out->kind = DIRECTORY_REMOTE;
        return ST_OK;
    }
    TRY(st);
    st = expand(r, &a, STR_NONE, 0);
    if (st != ST_OK && st != ST_NOTFOUND)
        return st;
    out->targets = r->targets;
    out->count = r->count;
    out->state = r->state;
    if (r->count)
        out->kind = DIRECTORY_LOCAL;
    else if (r->disabled)
        out->kind = DIRECTORY_DISABLED;
    return ST_OK;
}

enum st directory_resolve(struct directory *d, struct str address, struct arena *arena, struct directory_route *out, struct err *e)
{
    struct resolving r = {.d = d, .arena = arena, .catch_all = true, .e = e};
    return resolve(&r, address, out);
}

/* An identity of an account: an address, or "@domain" for all of a domain. */
static bool identity_matches(struct str identity, const struct address *a)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct address other;
    if (identity.n && identity.p[0] == '@')
        return str_eq_nocase(str_from(identity, 1), a->domain);
    if (directory_parse(&arena, identity, &other, NULL) != ST_OK)
        return false;
    DEFER(buf_release) struct buf one = BUF_INIT(DIRECTORY_KEY_MAX);
    DEFER(buf_release) struct buf two = BUF_INIT(DIRECTORY_KEY_MAX);
    address_key(&other, &one);
    address_key(a, &two);
    return buf_ok(&one) && buf_ok(&two) && str_eq(buf_str(&one), buf_str(&two));
}

static enum st has_identity(struct directory *d, account_id account, struct str address, bool *owns, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRRECORD_VALUE_MAX * 2);
    struct directory_account found;
    struct address a;
    enum st st = directory_account_find_id(d, account, &arena, &found, e);
    if (st == ST_NOTFOUND)
        return ST_OK;
    TRY(st);
    if (directory_parse(&arena, address, &a, NULL) != ST_OK)
        return ST_OK;
    struct str line;
    while (!*owns && str_split(&found.identities, '\n', &line))
        *owns = identity_matches(str_trim(line), &a);
    return ST_OK;
}

enum st directory_owns(struct directory *d, account_id account, struct str address, bool *owns, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(1 << 20);
    struct resolving r = {.d = d, .arena = &arena, .e = e};
    struct directory_route route;
    *owns = false;
    enum st st = resolve(&r, address, &route);
    if (st == ST_PERM)
        return ST_OK; /* nobody owns what is no address */
    TRY(st);
    for (size_t i = 0; i < route.count && account; i++)
        *owns = *owns || route.targets[i].account == account;
    return *owns || !account ? ST_OK : has_identity(d, account, address, owns, e);
}
