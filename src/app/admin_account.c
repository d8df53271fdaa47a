/* account.*: adding, listing, changing and removing accounts. */
#include "app/admin.h"
#include "auth/credential.h"
#include "auth/directory.h"
#include "format/date.h"
#include "store/store.h"

static const char *const state_names[] = {
    [DIRECTORY_ACTIVE] = "active", [DIRECTORY_SUSPENDED] = "suspended", [DIRECTORY_CLOSED] = "closed"};

static json_t *quota_json(uint64_t limit) { return limit == UINT64_MAX ? json_null() : json_integer((json_int_t)limit); }

static json_t *lines_json(struct str lines)
{
    json_t *list = json_array();
    struct str line;
    while (str_split(&lines, '\n', &line))
        if (line.n)
            json_array_append_new(list, admin_json(line));
    return list;
}

static json_t *account_json(const struct directory_account *a)
{
    char id[24];
    DEFER(buf_release) struct buf when = BUF_INIT(64);
    snprintf(id, sizeof id, "%016llx", (unsigned long long)a->id);
    date_print_rfc3339_utc(a->created_ms / 1000, &when);
    return json_pack("{s:o, s:o, s:s, s:s, s:o, s:b, s:o, s:o, s:o}", "address", admin_json(a->address), "name",
                     admin_json(a->name), "state", state_names[a->state], "id", id, "created", admin_json(buf_str(&when)),
                     "password", a->password.n > 0, "quota_bytes", quota_json(a->quota_bytes), "quota_messages",
                     quota_json(a->quota_messages), "identities", lines_json(a->identities));
}

/* The account that the argument "address" names, in the call's arena. */
static enum st find(struct admin_call *c, struct directory_account *out, struct err *e)
{
    struct str address;
    TRY(admin_text(c, "address", true, &address, e));
    enum st st = directory_account_login(c->context->services->directory, address, &c->arena, out, e);
    ENSURE(st != ST_NOTFOUND, e, ST_NOTFOUND, "no account %.*s", STR_FMT(address));
    return st;
}

/* From "password" (a new one) or "hash" (another server's); neither: no password. */
static enum st credential_of(struct admin_call *c, struct buf *line, struct err *e)
{
    struct str password, hash;
    TRY(admin_text(c, "password", false, &password, e));
    TRY(admin_text(c, "hash", false, &hash, e));
    ENSURE(str_empty(password) || str_empty(hash), e, ST_PERM, "a password and a hash at once");
    if (password.n)
        return credential_make(password, line, e);
    return hash.n ? credential_import(hash, line, e) : ST_OK;
}

static enum st account_add(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    const struct services *sv = c->context->services;
    DEFER(buf_release) struct buf line = BUF_INIT(CREDENTIAL_MAX);
    struct directory_account a = {0}, made;
    TRY(admin_text(c, "address", true, &a.address, e));
    TRY(admin_text(c, "name", false, &a.name, e));
    TRY(admin_number(c, "quota_bytes", UINT64_MAX, &a.quota_bytes, e));
    TRY(admin_number(c, "quota_messages", UINT64_MAX, &a.quota_messages, e));
    TRY(credential_of(c, &line, e));
    a.password = buf_str(&line);
    account_id id = 0;
    TRY(directory_account_add(sv->directory, sv->store, &a, &id, e));
    TRY(directory_account_find(sv->directory, a.address, &c->arena, &made, e));
    admin_done(c, account_json(&made));
    return ST_OK;
}

static bool emit_account(void *context, const struct directory_account *a)
{
    admin_row(context, account_json(a));
    return true;
}

struct list_state {
    unsigned part;
};

static enum st account_list(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    struct str domain;
    TRY(admin_text(c, "domain", false, &domain, e));
    if (!c->state) {
        c->state = arena_get(&c->arena, sizeof(struct list_state));
        ENSURE(c->state, e, ST_TEMP, "out of memory");
    }
    struct list_state *s = c->state;
    while (s->part < DIRECTORY_PARTS && c->out->n < ADMIN_OUT_SLICE)
        TRY(directory_accounts_part(c->context->services->directory, s->part++, domain, emit_account, c, e));
    *outcome = s->part < DIRECTORY_PARTS ? ADMIN_MORE : ADMIN_DONE;
    if (*outcome == ADMIN_DONE)
        admin_done(c, NULL);
    return ST_OK;
}

static enum st account_show(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct directory_account a;
    struct account *open = NULL;
    struct account_quota quota;
    TRY(find(c, &a, e));
    TRY(account_open(c->context->services->store, a.id, &open, e));
    account_quota(open, &quota);
    account_unref(open);
    json_t *j = account_json(&a);
    json_object_set_new(j, "bytes_used", json_integer((json_int_t)quota.bytes_used));
    json_object_set_new(j, "messages_used", json_integer((json_int_t)quota.messages_used));
    admin_done(c, j);
    return ST_OK;
}

/* What a request changes; texts are views into the request. */
struct wanted {
    const struct str *password, *name, *identities;
    const enum directory_state *state;
    const uint64_t *quota_bytes, *quota_messages;
};

static enum st edit_wanted(void *context, struct directory_account *a, struct err *e)
{
    (void)e;
    const struct wanted *w = context;
    a->password = w->password ? *w->password : a->password;
    a->name = w->name ? *w->name : a->name;
    a->identities = w->identities ? *w->identities : a->identities;
    a->state = w->state ? *w->state : a->state;
    a->quota_bytes = w->quota_bytes ? *w->quota_bytes : a->quota_bytes;
    a->quota_messages = w->quota_messages ? *w->quota_messages : a->quota_messages;
    return ST_OK;
}

/* Changes the account that was found, and answers with it. */
static enum st change(struct admin_call *c, struct str address, struct wanted *w, struct err *e)
{
    struct directory_account now;
    TRY(directory_account_edit(c->context->services->directory, address, edit_wanted, w, e));
    TRY(directory_account_find(c->context->services->directory, address, &c->arena, &now, e));
    admin_done(c, account_json(&now));
    return ST_OK;
}

static enum st account_password(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct directory_account a;
    DEFER(buf_release) struct buf line = BUF_INIT(CREDENTIAL_MAX);
    TRY(find(c, &a, e));
    TRY(credential_of(c, &line, e));
    struct str password = buf_str(&line);
    return change(c, a.address, &(struct wanted){.password = &password}, e);
}

static enum st account_set(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct directory_account a;
    struct str text, name, identities;
    enum directory_state state = DIRECTORY_ACTIVE;
    struct wanted w = {0};
    TRY(find(c, &a, e));
    TRY(admin_text(c, "state", false, &text, e));
    TRY(admin_text(c, "name", false, &name, e));
    TRY(admin_text(c, "identities", false, &identities, e));
    for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++) {
        if (str_eq(text, str_of(state_names[i]))) {
            state = (enum directory_state)i;
            w.state = &state;
        }
    }
    ENSURE(w.state || str_empty(text), e, ST_PERM, "the state is none of active, suspended, closed");
    w.name = json_object_get(c->args, "name") ? &name : NULL;
    w.identities = json_object_get(c->args, "identities") ? &identities : NULL;
    return change(c, a.address, &w, e);
}

static enum st account_quota_request(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct directory_account a;
    struct account *open = NULL;
    uint64_t bytes = 0, messages = 0;
    TRY(find(c, &a, e));
    TRY(admin_number(c, "quota_bytes", UINT64_MAX, &bytes, e));
    TRY(admin_number(c, "quota_messages", UINT64_MAX, &messages, e));
    TRY(account_open(c->context->services->store, a.id, &open, e));
    enum st st = account_quota_set(open, bytes, messages, e);
    account_unref(open);
    TRY(st);
    return change(c, a.address, &(struct wanted){.quota_bytes = &bytes, .quota_messages = &messages}, e);
}

static enum st account_remove_request(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    const struct services *sv = c->context->services;
    struct str address;
    TRY(admin_text(c, "address", true, &address, e));
    TRY(directory_account_remove(sv->directory, sv->store, address, e));
    admin_done(c, NULL);
    return ST_OK;
}

const struct admin_request admin_accounts[] = {
    {"account.add", account_add},
    {"account.list", account_list},
    {"account.show", account_show},
    {"account.password", account_password},
    {"account.set", account_set},
    {"account.quota", account_quota_request},
    {"account.remove", account_remove_request},
    {0},
};
