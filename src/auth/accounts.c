/* Accounts of the directory. Their records are in three partitions, which cannot change together, so each step can be repeated:
 *
 *   add     1 record, marked pending, with a new id     a crash leaves a pending account: no mail, no login; add again goes on
 *           2 the store account of that id                with the same id. remove takes it away
 *           3 id -> address, bare name -> address       what points to a pending or missing account is not found
 *           4 record without the mark                   the account exists
 *   remove  1 record marked pending, closed             no mail and no login from here on
 *           2 the store account, 3 the two pointers, 4 the record */
#include "auth/directory_internal.h"
#include "rt/clock.h"
#include "rt/random.h"

enum { TEXTS = 4 }; /* of an account */

static enum st account_to_arena(struct arena *arena, struct dirrecord_account *r, struct err *e)
{
    struct directory_account *a = &r->account;
    struct str *const texts[TEXTS] = {&a->address, &a->name, &a->password, &a->identities};
    for (size_t i = 0; i < TEXTS; i++) {
        *texts[i] = arena_str(arena, *texts[i]);
        ENSURE(texts[i]->p, e, ST_LIMIT, "out of memory for this request");
    }
    return ST_OK;
}

enum st directory_account_get(struct directory *d, const struct address *a, bool pending_too, struct arena *arena,
                              struct dirrecord_account *out, struct err *e)
{
    DEFER(buf_release) struct buf value = BUF_INIT(DIRRECORD_VALUE_MAX);
    struct directory_place place;
    TRY(directory_place_address(DIRRECORD_ACCOUNT, a, &place, e));
    TRY(directory_get(d, place_partition(&place), place_key(&place), &value, e));
    TRY(dirrecord_account_decode(buf_str(&value), out, e));
    if (out->pending && !pending_too)
        return ST_NOTFOUND;
    return account_to_arena(arena, out, e);
}

static enum st find_parsed(struct directory *d, const struct address *a, struct arena *arena, struct directory_account *out,
                           struct err *e)
{
    struct dirrecord_account r;
    struct directory_domain domain;
    struct address real = *a;
    enum st st = directory_domain_find(d, a->domain, arena, &domain, e);
    if (st == ST_OK && domain.alias_of.n)
        real.domain = domain.alias_of;
    else if (st != ST_OK && st != ST_NOTFOUND)
        return st;
    TRY(directory_account_get(d, &real, false, arena, &r, e));
    *out = r.account;
    return ST_OK;
}

enum st directory_account_find(struct directory *d, struct str address, struct arena *arena, struct directory_account *out,
                               struct err *e)
{
    struct address a;
    TRY(directory_parse(arena, address, &a, e));
    return find_parsed(d, &a, arena, out, e);
}

enum st directory_account_find_id(struct directory *d, account_id id, struct arena *arena, struct directory_account *out,
                                  struct err *e)
{
    DEFER(buf_release) struct buf text = BUF_INIT(DIRECTORY_KEY_MAX);
    struct directory_place place;
    TRY(directory_place_id(id, &place, e));
    TRY(directory_get(d, place_partition(&place), place_key(&place), &text, e));
    struct str copy = arena_str(arena, buf_str(&text));
    ENSURE(copy.p, e, ST_LIMIT, "out of memory for this request");
    TRY(directory_account_find(d, copy, arena, out, e));
    return out->id == id ? ST_OK : ST_NOTFOUND;
}

/* ---- login names ---- */

struct name_walk {
    char address[DIRECTORY_KEY_MAX];
    size_t n;
    size_t prefix; /* bytes of the key before the domain */
    size_t count;
};

static bool visit_name(void *context, struct str key, struct str value)
{
    struct name_walk *w = context;
    (void)key;
    if (value.n <= sizeof w->address) {
        memcpy(w->address, value.p, value.n);
        w->n = value.n;
    }
    return ++w->count < 2;
}

/* The one account whose local-part is `local`. ST_NOTFOUND: none, or several. */
static enum st login_by_local(struct directory *d, struct str local, struct arena *arena, struct directory_account *out,
                              struct err *e)
{
    DEFER(buf_release) struct buf from = BUF_INIT(DIRECTORY_KEY_MAX);
    struct address bare = {.local = local};
    buf_add_c(&from, DIRRECORD_NAME);
    address_key(&bare, &from); /* "local@" */
    if (from.n && from.p[from.n - 1] == '@')
        buf_cut(&from, from.n - 1);
    struct dirrecord_partition p = dirrecord_partition_of(str_from(buf_str(&from), 1));
    buf_add_c(&from, '\0');
    if (!buf_ok(&from))
        return ST_NOTFOUND;
    DEFER(buf_release) struct buf to = BUF_INIT(DIRECTORY_KEY_MAX);
    buf_add(&to, str_upto(buf_str(&from), from.n - 1));
    buf_add_c(&to, '\1');
    struct name_walk walk = {.prefix = from.n};
    TRY(kv_scan(d->kv, str_of(p.name), buf_str(&from), buf_str(&to), visit_name, &walk, e));
    if (walk.count != 1 || walk.n == 0)
        return ST_NOTFOUND;
    struct str found = arena_str(arena, str_make(walk.address, walk.n));
    ENSURE(found.p, e, ST_LIMIT, "out of memory for this request");
    return directory_account_find(d, found, arena, out, e);
}

enum st directory_account_login(struct directory *d, struct str name, struct arena *arena, struct directory_account *out,
                                struct err *e)
{
    struct address a;
    enum st st = address_parse(arena, name, ADDRESS_UTF8 | ADDRESS_BARE, &a, NULL);
    if (st == ST_PERM)
        return ST_NOTFOUND; /* what is no address is nobody's name */
    TRY(st);
    if (a.domain.n)
        return find_parsed(d, &a, arena, out, e);
    DEFER(buf_release) struct buf fallback = BUF_INIT(DIRECTORY_KEY_MAX);
    TRY(directory_default_domain(d, &fallback, e));
    if (fallback.n) {
        struct address full = {.local = a.local, .domain = buf_str(&fallback)};
        st = find_parsed(d, &full, arena, out, e);
        if (st != ST_NOTFOUND)
            return st;
    }
    return login_by_local(d, a.local, arena, out, e);
}

enum st directory_login_key(struct directory *d, struct str name, struct arena *arena, struct str *out, struct err *e)
{
    DEFER(buf_release) struct buf fallback = BUF_INIT(DIRECTORY_KEY_MAX);
    DEFER(buf_release) struct buf key = BUF_INIT(4 * ADDRESS_PATH_MAX);
    struct directory_domain domain;
    struct address a;
    enum st st = address_parse(arena, name, ADDRESS_UTF8 | ADDRESS_BARE, &a, NULL);
    if (st == ST_PERM)
        a = (struct address){.local = name}; /* nobody's name, but counted like one */
    else
        TRY(st);
    if (!a.domain.n) {
        TRY(directory_default_domain(d, &fallback, e));
        a.domain = buf_str(&fallback);
    }
    st = a.domain.n ? directory_domain_find(d, a.domain, arena, &domain, e) : ST_NOTFOUND;
    if (st == ST_OK && domain.alias_of.n)
        a.domain = domain.alias_of;
    else if (st != ST_OK && st != ST_NOTFOUND)
        return st;
    address_key(&a, &key);
    *out = arena_str(arena, buf_str(&key));
    ENSURE(buf_ok(&key) && out->p, e, ST_LIMIT, "out of memory for this request");
    return ST_OK;
}

/* ---- adding ---- */

struct account_edit {
    struct dirrecord_account wanted;
    const struct address *address;
    bool was_pending;
};

static enum st edit_add(void *context, struct directory_edit *edit, struct err *e)
{
    struct account_edit *c = context;
    c->was_pending = false;
    if (edit->exists) {
        struct dirrecord_account old;
        TRY(dirrecord_account_decode(edit->old, &old, e));
        ENSURE(old.pending, e, ST_EXISTS, "the account exists");
        c->wanted.account.id = old.account.id; /* an add that a crash cut short */
    }
    c->wanted.pending = true;
    dirrecord_account_encode(&c->wanted, &edit->value);
    edit->action = DIRECTORY_PUT;
    return ST_OK;
}

static enum st edit_settle(void *context, struct directory_edit *edit, struct err *e)
{
    struct account_edit *c = context;
    ENSURE(edit->exists, e, ST_CONFLICT, "the account was removed meanwhile");
    c->wanted.pending = false;
    dirrecord_account_encode(&c->wanted, &edit->value);
    edit->action = DIRECTORY_PUT;
    return ST_OK;
}

static enum st name_place(const struct address *a, struct directory_place *out, struct err *e)
{
    DEFER(buf_release) struct buf key = BUF_INIT(DIRECTORY_KEY_MAX);
    struct address bare = {.local = a->local};
    buf_add_c(&key, DIRRECORD_NAME);
    address_key(&bare, &key);
    if (key.n && key.p[key.n - 1] == '@')
        buf_cut(&key, key.n - 1);
    out->partition = dirrecord_partition_of(str_from(buf_str(&key), 1));
    buf_add_c(&key, '\0');
    buf_add(&key, a->domain);
    ENSURE(buf_ok(&key), e, ST_PERM, "the address is too long");
    memcpy(out->key, key.p, key.n);
    out->key_n = key.n;
    return ST_OK;
}

static enum st write_pointers(struct directory *d, const struct address *a, account_id id, struct str address, struct err *e)
{
    struct directory_place place;
    TRY(directory_place_id(id, &place, e));
    TRY(directory_write(d, place_partition(&place), place_key(&place), address, e));
    TRY(name_place(a, &place, e));
    return directory_write(d, place_partition(&place), place_key(&place), address, e);
}

static enum st make_store_account(struct store *store, const struct directory_account *account, struct err *e)
{
    enum st st = account_create(store, account->id, e);
    if (st != ST_OK && st != ST_EXISTS)
        return st;
    if (account->quota_bytes == UINT64_MAX && account->quota_messages == UINT64_MAX)
        return ST_OK;
    struct account *open = NULL;
    TRY(account_open(store, account->id, &open, e));
    st = account_quota_set(open, account->quota_bytes, account->quota_messages, e);
    account_unref(open);
    return st;
}

/* The address may be given to an account: its domain is ours and a real one, and no alias has it. */
static enum st address_is_free(struct directory *d, const struct address *a, struct arena *arena, struct err *e)
{
    struct directory_domain domain;
    struct directory_alias alias;
    enum st st = directory_domain_find(d, a->domain, arena, &domain, e);
    ENSURE(st != ST_NOTFOUND, e, ST_NOTFOUND, "%.*s is not one of the domains", STR_FMT(a->domain));
    TRY(st);
    ENSURE(str_empty(domain.alias_of), e, ST_PERM, "%.*s is an alias of %.*s", STR_FMT(a->domain), STR_FMT(domain.alias_of));
    DEFER(arena_release) struct arena big = ARENA_INIT(DIRRECORD_VALUE_MAX * 2);
    st = directory_alias_get(d, a, &big, &alias, e);
    ENSURE(st != ST_OK, e, ST_EXISTS, "an alias has this address");
    return st == ST_NOTFOUND ? ST_OK : st;
}

enum st directory_account_add(struct directory *d, struct store *store, const struct directory_account *account, account_id *id,
                              struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct address a;
    struct directory_place place;
    struct account_edit edit = {.wanted.account = *account};
    struct directory_account *wanted = &edit.wanted.account;
    TRY(directory_parse(&arena, account->address, &a, e));
    TRY(address_is_free(d, &a, &arena, e));
    wanted->address = address_text(&arena, &a);
    ENSURE(wanted->address.p, e, ST_LIMIT, "out of memory for this request");
    if (!wanted->id)
        wanted->id = random_u64();
    wanted->id |= wanted->id == 0;
    if (!wanted->created_ms)
        wanted->created_ms = clock_wall_ms();
    TRY(directory_place_address(DIRRECORD_ACCOUNT, &a, &place, e));
    TRY(directory_change(d, place_partition(&place), place_key(&place), edit_add, &edit, e));
    TRY(make_store_account(store, wanted, e));
    TRY(write_pointers(d, &a, wanted->id, wanted->address, e));
    TRY(directory_change(d, place_partition(&place), place_key(&place), edit_settle, &edit, e));
    *id = wanted->id;
    return ST_OK;
}

/* ---- changing and removing ---- */

static enum st edit_update(void *context, struct directory_edit *edit, struct err *e)
{
    struct account_edit *c = context;
    struct dirrecord_account old;
    ENSURE(edit->exists, e, ST_NOTFOUND, "no such account");
    TRY(dirrecord_account_decode(edit->old, &old, e));
    ENSURE(!old.pending && old.account.id == c->wanted.account.id, e, ST_NOTFOUND, "no such account");
    struct dirrecord_account new = c->wanted;
    new.account.address = old.account.address;
    new.account.created_ms = old.account.created_ms;
    dirrecord_account_encode(&new, &edit->value);
    edit->action = DIRECTORY_PUT;
    return ST_OK;
}

enum st directory_account_update(struct directory *d, const struct directory_account *account, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct address a;
    struct directory_place place;
    struct account_edit edit = {.wanted.account = *account};
    TRY(directory_parse(&arena, account->address, &a, e));
    TRY(directory_place_address(DIRRECORD_ACCOUNT, &a, &place, e));
    return directory_change(d, place_partition(&place), place_key(&place), edit_update, &edit, e);
}

struct account_change {
    directory_account_editor *editor;
    void *context;
};

static enum st edit_change(void *context, struct directory_edit *edit, struct err *e)
{
    struct account_change *c = context;
    struct dirrecord_account r;
    ENSURE(edit->exists, e, ST_NOTFOUND, "no such account");
    TRY(dirrecord_account_decode(edit->old, &r, e));
    ENSURE(!r.pending, e, ST_NOTFOUND, "no such account");
    struct directory_account changed = r.account;
    TRY(c->editor(c->context, &changed, e));
    changed.id = r.account.id;
    changed.address = r.account.address;
    r.account = changed;
    dirrecord_account_encode(&r, &edit->value);
    edit->action = DIRECTORY_PUT;
    return ST_OK;
}

enum st directory_account_edit(struct directory *d, struct str address, directory_account_editor *editor, void *context,
                               struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct address a;
    struct directory_place place;
    struct account_change change = {editor, context};
    TRY(directory_parse(&arena, address, &a, e));
    TRY(directory_place_address(DIRRECORD_ACCOUNT, &a, &place, e));
    return directory_change(d, place_partition(&place), place_key(&place), edit_change, &change, e);
}

static enum st edit_close(void *context, struct directory_edit *edit, struct err *e)
{
    struct account_edit *c = context;
    ENSURE(edit->exists, e, ST_NOTFOUND, "no such account");
    TRY(dirrecord_account_decode(edit->old, &c->wanted, e));
    c->wanted.pending = true;
    c->wanted.account.state = DIRECTORY_CLOSED;
    dirrecord_account_encode(&c->wanted, &edit->value);
    edit->action = DIRECTORY_PUT;
    return ST_OK;
}

enum st directory_account_remove(struct directory *d, struct store *store, struct str address, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(DIRECTORY_ARENA_MAX);
    struct address a;
    struct directory_place place, pointer;
    struct account_edit edit = {0};
    TRY(directory_parse(&arena, address, &a, e));
    TRY(directory_place_address(DIRRECORD_ACCOUNT, &a, &place, e));
    TRY(directory_change(d, place_partition(&place), place_key(&place), edit_close, &edit, e));
    account_id id = edit.wanted.account.id;
    enum st st = account_remove(store, id, e);
    if (st != ST_OK && st != ST_NOTFOUND)
        return st;
    TRY(name_place(&a, &pointer, e));
    TRY(directory_erase(d, place_partition(&pointer), place_key(&pointer), e));
    TRY(directory_place_id(id, &pointer, e));
    TRY(directory_erase(d, place_partition(&pointer), place_key(&pointer), e));
    return directory_erase(d, place_partition(&place), place_key(&place), e);
}

/* ---- listing ---- */

struct account_walk {
    directory_visit_account *visit;
    void *context;
    struct str domain; /* '@' domain, or empty */
    bool stopped;
    enum st st;
    struct err *e;
};

static bool visit_account_record(void *context, struct str key, struct str value)
{
    struct account_walk *w = context;
    struct dirrecord_account r;
    if (!str_ends(key, w->domain))
        return true;
    w->st = dirrecord_account_decode(value, &r, w->e);
    if (w->st == ST_OK && r.pending)
        return true;
    w->stopped = w->st != ST_OK || !w->visit(w->context, &r.account);
    return !w->stopped;
}

static enum st walk_part(struct directory *d, unsigned part, struct str domain, struct account_walk *walk)
{
    DEFER(buf_release) struct buf suffix = BUF_INIT(DIRECTORY_KEY_MAX);
    if (domain.n) {
        buf_add_c(&suffix, '@');
        buf_add(&suffix, domain);
    }
    walk->domain = buf_str(&suffix);
    struct dirrecord_partition p = dirrecord_partition_number(part);
    TRY(kv_scan(d->kv, str_of(p.name), str_make((char[]){DIRRECORD_ACCOUNT}, 1), str_make((char[]){DIRRECORD_ACCOUNT + 1}, 1),
                visit_account_record, walk, walk->e));
    return walk->st;
}

enum st directory_accounts_part(struct directory *d, unsigned part, struct str domain, directory_visit_account *visit,
                                void *context, struct err *e)
{
    struct account_walk walk = {.visit = visit, .context = context, .st = ST_OK, .e = e};
    return walk_part(d, part, domain, &walk);
}

enum st directory_accounts(struct directory *d, struct str domain, directory_visit_account *visit, void *context, struct err *e)
{
    struct account_walk walk = {.visit = visit, .context = context, .st = ST_OK, .e = e};
    for (unsigned i = 0; i < DIRECTORY_PARTS && !walk.stopped; i++)
        TRY(walk_part(d, i, domain, &walk));
    return ST_OK;
}
