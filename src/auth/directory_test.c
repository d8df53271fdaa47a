#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "auth/directory.h"
#include "kv/engine.h"
#include "kv/fault.h"
#include "store/store.h"

struct world {
    struct kv *kv;
    struct store *store;
    struct directory *d;
    struct arena arena;
};

static void open_world(struct world *w)
{
    struct kv_config config = {.engine = "memory"};
    struct store_config store;
    *w = (struct world){.arena = ARENA_INIT(1 << 20)};
    assert_int_equal(kv_open(&config, &w->kv, NULL), ST_OK);
    store_config_defaults(&store);
    assert_int_equal(store_open(w->kv, &store, &w->store, NULL), ST_OK);
    assert_int_equal(directory_open(w->kv, &w->d, NULL), ST_OK);
}

static void close_world(struct world *w)
{
    arena_release(&w->arena);
    directory_close(w->d);
    store_close(w->store);
    kv_close(w->kv);
}

static void add_domain(struct world *w, const char *name, const char *catch_all, const char *alias_of, bool is_default)
{
    struct directory_domain d = {str_of(name), str_of(catch_all), str_of(alias_of), is_default};
    assert_int_equal(directory_domain_put(w->d, &d, NULL), ST_OK);
}

static account_id add_account(struct world *w, const char *address)
{
    account_id id = 0;
    struct directory_account a = {.address = str_of(address), .quota_bytes = UINT64_MAX, .quota_messages = UINT64_MAX};
    assert_int_equal(directory_account_add(w->d, w->store, &a, &id, NULL), ST_OK);
    assert_true(id != 0);
    return id;
}

static enum st put_alias(struct world *w, const char *address, const char *targets)
{
    struct directory_alias a = {str_of(address), str_of(targets)};
    return directory_alias_put(w->d, &a, NULL);
}

static void set_state(struct world *w, const char *address, enum directory_state state)
{
    struct directory_account a;
    assert_int_equal(directory_account_find(w->d, str_of(address), &w->arena, &a, NULL), ST_OK);
    a.state = state;
    assert_int_equal(directory_account_update(w->d, &a, NULL), ST_OK);
}

static void populate(struct world *w)
{
    open_world(w);
    add_domain(w, "abcd.com", "", "", true);
    add_domain(w, "xyz.com", "", "", false);
    add_domain(w, "catch.example", "elinor@abcd.com", "", false);
    add_domain(w, "also.example", "", "xyz.com", false);
    add_account(w, "elinor@abcd.com");
    add_account(w, "carolyn@xyz.com");
    add_account(w, "both@abcd.com");
    add_account(w, "both@xyz.com");
    add_account(w, "tom+fixed@xyz.com");
    add_account(w, "away@xyz.com");
    add_account(w, "gone@xyz.com");
    set_state(w, "away@xyz.com", DIRECTORY_SUSPENDED);
    set_state(w, "gone@xyz.com", DIRECTORY_CLOSED);
    assert_int_equal(put_alias(w, "postmaster@abcd.com", "elinor@abcd.com"), ST_OK);
    assert_int_equal(put_alias(w, "all@xyz.com", "carolyn@xyz.com\nboth@xyz.com\ncarolyn@xyz.com\nfar@else.example"), ST_OK);
    assert_int_equal(put_alias(w, "loop1@xyz.com", "loop2@xyz.com"), ST_OK);
    assert_int_equal(put_alias(w, "loop2@xyz.com", "loop1@xyz.com\ncarolyn@xyz.com"), ST_OK);
    assert_int_equal(put_alias(w, "nobody@xyz.com", "missing@xyz.com"), ST_OK);
}

/* Targets joined by spaces: "local" or "->foreign", "+detail" behind. */
static void print_route(const struct directory_route *r, struct buf *out)
{
    for (size_t i = 0; i < r->count; i++) {
        if (i)
            buf_add_c(out, ' ');
        if (!r->targets[i].account)
            buf_add_z(out, "->");
        buf_add(out, r->targets[i].address);
        if (r->targets[i].detail.n) {
            buf_add_c(out, '+');
            buf_add(out, r->targets[i].detail);
        }
    }
}

static void test_resolve(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        enum directory_kind kind;
        const char *want;
    } cases[] = {
        {"elinor@abcd.com", DIRECTORY_LOCAL, "elinor@abcd.com"},
        {"Elinor@abcd.com", DIRECTORY_LOCAL, "elinor@abcd.com"},
        {"carolyn+lists@xyz.com", DIRECTORY_LOCAL, "carolyn@xyz.com+lists"},
        {"tom+fixed@xyz.com", DIRECTORY_LOCAL, "tom+fixed@xyz.com"},
        {"all@xyz.com", DIRECTORY_LOCAL, "carolyn@xyz.com both@xyz.com ->far@else.example"},
        {"all+x@xyz.com", DIRECTORY_LOCAL, "carolyn@xyz.com+x both@xyz.com+x ->far@else.example+x"},
        {"loop1@xyz.com", DIRECTORY_LOCAL, "carolyn@xyz.com"},
        {"nobody@xyz.com", DIRECTORY_UNKNOWN, ""},
        {"missing@xyz.com", DIRECTORY_UNKNOWN, ""},
        {"anything@catch.example", DIRECTORY_LOCAL, "elinor@abcd.com"},
        {"carolyn@also.example", DIRECTORY_LOCAL, "carolyn@xyz.com"},
        {"away@xyz.com", DIRECTORY_DISABLED, ""},
        {"gone@xyz.com", DIRECTORY_DISABLED, ""},
        {"a@elsewhere.example", DIRECTORY_REMOTE, ""},
        {"postmaster", DIRECTORY_LOCAL, "elinor@abcd.com"},
        {"Postmaster@xyz.com", DIRECTORY_LOCAL, "elinor@abcd.com"},
    };
    struct world w;
    populate(&w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct directory_route r;
        struct buf got = BUF_INIT(4096);
        assert_int_equal(directory_resolve(w.d, str_of(cases[i].address), &w.arena, &r, NULL), ST_OK);
        print_route(&r, &got);
        if (r.kind != cases[i].kind || !str_eq(buf_str(&got), str_of(cases[i].want)))
            fail_msg("%s: kind %d, %.*s; want kind %d, %s", cases[i].address, r.kind, STR_FMT(buf_str(&got)), cases[i].kind,
                     cases[i].want);
        if (str_eq(str_of(cases[i].address), STR("gone@xyz.com")))
            assert_int_equal(r.state, DIRECTORY_CLOSED);
        buf_release(&got);
    }
    close_world(&w);
}

static void test_login_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *want; /* NULL: not found */
    } cases[] = {
        {"carolyn", "carolyn@xyz.com"},
        {"CAROLYN", "carolyn@xyz.com"},
        {"carolyn@xyz.com", "carolyn@xyz.com"},
        {"elinor", "elinor@abcd.com"},
        {"both", "both@abcd.com"},
        {"both@xyz.com", "both@xyz.com"},
        {"carolyn@also.example", "carolyn@xyz.com"},
        {"carolyn@abcd.com", NULL},
        {"nobody", NULL},
        {"", NULL},
        {"carolyn@", NULL},
        {"all@xyz.com", NULL},
    };
    struct world w;
    populate(&w);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct directory_account a;
        enum st st = directory_account_login(w.d, str_of(cases[i].name), &w.arena, &a, NULL);
        if (st != (cases[i].want ? ST_OK : ST_NOTFOUND) || (st == ST_OK && !str_eq(a.address, str_of(cases[i].want))))
            fail_msg("login name \"%s\": %s", cases[i].name, st_name(st));
    }
    /* a bare name of two accounts, none in the default domain, is nobody's */
    add_account(&w, "carolyn@catch.example");
    struct directory_account a;
    assert_int_equal(directory_account_login(w.d, STR("carolyn"), &w.arena, &a, NULL), ST_NOTFOUND);
    close_world(&w);
}

static void test_owns(void **state)
{
    (void)state;
    static const struct {
        const char *who, *address;
        bool want;
    } cases[] = {
        {"carolyn@xyz.com", "carolyn@xyz.com", true},
        {"carolyn@xyz.com", "Carolyn+any@xyz.com", true},
        {"carolyn@xyz.com", "all@xyz.com", true},
        {"carolyn@xyz.com", "carolyn@also.example", true},
        {"carolyn@xyz.com", "elinor@abcd.com", false},
        {"carolyn@xyz.com", "missing@xyz.com", false},
        {"carolyn@xyz.com", "carolyn@elsewhere.example", true}, /* an identity */
        {"carolyn@xyz.com", "anybody@whole.example", true},     /* "@whole.example" */
        {"carolyn@xyz.com", "x@elsewhere.example", false},
        {"elinor@abcd.com", "anything@catch.example", false},
        {"elinor@abcd.com", "postmaster@abcd.com", true},
        {"carolyn@xyz.com", "far@else.example", false},
        {"carolyn@xyz.com", "", false},
    };
    struct world w;
    populate(&w);
    struct directory_account a;
    assert_int_equal(directory_account_find(w.d, STR("carolyn@xyz.com"), &w.arena, &a, NULL), ST_OK);
    a.identities = STR("carolyn@elsewhere.example\n@whole.example");
    assert_int_equal(directory_account_update(w.d, &a, NULL), ST_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool owns = !cases[i].want;
        assert_int_equal(directory_account_find(w.d, str_of(cases[i].who), &w.arena, &a, NULL), ST_OK);
        assert_int_equal(directory_owns(w.d, a.id, str_of(cases[i].address), &owns, NULL), ST_OK);
        if (owns != cases[i].want)
            fail_msg("%s as %s: %d", cases[i].who, cases[i].address, owns);
    }
    bool nobody = true;
    assert_int_equal(directory_owns(w.d, 0, STR("elinor@abcd.com"), &nobody, NULL), ST_OK);
    assert_false(nobody);
    close_world(&w);
}

static void test_refusals(void **state)
{
    (void)state;
    struct world w;
    account_id id;
    populate(&w);
    struct directory_account a = {.address = STR("elinor@abcd.com")};
    assert_int_equal(directory_account_add(w.d, w.store, &a, &id, NULL), ST_EXISTS);
    a.address = STR("ELINOR@abcd.com");
    assert_int_equal(directory_account_add(w.d, w.store, &a, &id, NULL), ST_EXISTS);
    a.address = STR("all@xyz.com"); /* an alias */
    assert_int_equal(directory_account_add(w.d, w.store, &a, &id, NULL), ST_EXISTS);
    a.address = STR("x@elsewhere.example");
    assert_int_equal(directory_account_add(w.d, w.store, &a, &id, NULL), ST_NOTFOUND);
    a.address = STR("x@also.example"); /* an alias domain */
    assert_int_equal(directory_account_add(w.d, w.store, &a, &id, NULL), ST_PERM);
    a.address = STR("no address");
    assert_int_equal(directory_account_add(w.d, w.store, &a, &id, NULL), ST_PERM);
    assert_int_equal(put_alias(&w, "elinor@abcd.com", "carolyn@xyz.com"), ST_EXISTS);
    assert_int_equal(put_alias(&w, "new@xyz.com", ""), ST_PERM);
    assert_int_equal(put_alias(&w, "new@xyz.com", "carolyn@xyz.com\nnonsense"), ST_PERM);
    assert_int_equal(put_alias(&w, "new@elsewhere.example", "carolyn@xyz.com"), ST_NOTFOUND);
    assert_int_equal(directory_alias_remove(w.d, STR("missing@xyz.com"), NULL), ST_NOTFOUND);
    assert_int_equal(directory_domain_remove(w.d, STR("xyz.com"), NULL), ST_CONFLICT);
    assert_int_equal(directory_domain_remove(w.d, STR("missing.example"), NULL), ST_NOTFOUND);
    assert_int_equal(directory_domain_remove(w.d, STR("catch.example"), NULL), ST_OK);
    bool local = true;
    assert_int_equal(directory_domain_is_local(w.d, STR("catch.example"), &local, NULL), ST_OK);
    assert_false(local);
    close_world(&w);
}

static bool count_account(void *context, const struct directory_account *a)
{
    (void)a;
    ++*(size_t *)context;
    return true;
}

static void test_remove_and_list(void **state)
{
    (void)state;
    struct world w;
    size_t all = 0, of_domain = 0;
    struct directory_account a, b;
    struct account *open = NULL;
    populate(&w);
    assert_int_equal(directory_accounts(w.d, STR_NONE, count_account, &all, NULL), ST_OK);
    assert_int_equal(all, 7);
    assert_int_equal(directory_accounts(w.d, STR("abcd.com"), count_account, &of_domain, NULL), ST_OK);
    assert_int_equal(of_domain, 2);
    assert_int_equal(directory_account_find(w.d, STR("carolyn@xyz.com"), &w.arena, &a, NULL), ST_OK);
    assert_int_equal(directory_account_find_id(w.d, a.id, &w.arena, &b, NULL), ST_OK);
    assert_true(str_eq(b.address, a.address));
    assert_int_equal(directory_account_remove(w.d, w.store, STR("carolyn@xyz.com"), NULL), ST_OK);
    assert_int_equal(directory_account_find(w.d, STR("carolyn@xyz.com"), &w.arena, &b, NULL), ST_NOTFOUND);
    assert_int_equal(directory_account_find_id(w.d, a.id, &w.arena, &b, NULL), ST_NOTFOUND);
    assert_int_equal(directory_account_login(w.d, STR("carolyn"), &w.arena, &b, NULL), ST_NOTFOUND);
    assert_int_equal(account_open(w.store, a.id, &open, NULL), ST_NOTFOUND);
    assert_int_equal(directory_account_remove(w.d, w.store, STR("carolyn@xyz.com"), NULL), ST_NOTFOUND);
    account_id again = add_account(&w, "carolyn@xyz.com");
    assert_true(again != a.id);
    close_world(&w);
}

/* The secret and everything else are found again. */
static void test_directory_survives_reopening(void **state)
{
    (void)state;
    struct world w;
    uint8_t secret[DIRECTORY_SECRET_SIZE];
    struct directory_account a;
    populate(&w);
    memcpy(secret, directory_secret(w.d), sizeof secret);
    directory_close(w.d);
    assert_int_equal(directory_open(w.kv, &w.d, NULL), ST_OK);
    assert_memory_equal(secret, directory_secret(w.d), sizeof secret);
    assert_int_equal(directory_account_login(w.d, STR("carolyn"), &w.arena, &a, NULL), ST_OK);
    close_world(&w);
}

static enum st try_add(struct directory *d, struct store *store)
{
    account_id id = 0;
    struct directory_account a = {.address = STR("new@xyz.com"), .quota_bytes = 1 << 20, .quota_messages = UINT64_MAX};
    return directory_account_add(d, store, &a, &id, NULL);
}

/* The crash states of accounts.c: the engine crashes at the n-th write of adding or removing; after the restart the same call goes
 * on to the end, and nothing is left over. */
static void crash_at(uint64_t n, bool removing, bool *more)
{
    struct world w = {0};
    struct kv *fault = NULL;
    struct arena arena = ARENA_INIT(1 << 20);
    struct directory_account a;
    struct store_config config;
    size_t accounts = 0;
    open_world(&w);
    add_domain(&w, "xyz.com", "", "", true);
    directory_close(w.d);
    store_close(w.store);
    assert_int_equal(kv_fault_new(&w.kv, true, &fault, NULL), ST_OK);
    w.kv = fault;
    store_config_defaults(&config);
    assert_int_equal(store_open(fault, &config, &w.store, NULL), ST_OK);
    assert_int_equal(directory_open(fault, &w.d, NULL), ST_OK);
    if (removing)
        assert_int_equal(try_add(w.d, w.store), ST_OK);
    kv_fault_plan(fault, &(struct kv_fault_plan){.kinds = KV_FAULT_WRITE, .at = n, .class = ST_TEMP, .crash = true});
    (void)!(removing ? directory_account_remove(w.d, w.store, STR("new@xyz.com"), NULL) : try_add(w.d, w.store));
    *more = kv_fault_fired(fault);
    kv_fault_restart(fault);
    directory_close(w.d);
    store_close(w.store);
    assert_int_equal(store_open(fault, &config, &w.store, NULL), ST_OK);
    assert_int_equal(directory_open(fault, &w.d, NULL), ST_OK);
    enum st st = removing ? directory_account_remove(w.d, w.store, STR("new@xyz.com"), NULL) : try_add(w.d, w.store);
    if (st != ST_OK && st != (removing ? ST_NOTFOUND : ST_EXISTS))
        fail_msg("write %d of %s: then %s", (int)n, removing ? "remove" : "add", st_name(st));
    assert_int_equal(directory_accounts(w.d, STR_NONE, count_account, &accounts, NULL), ST_OK);
    assert_int_equal(accounts, removing ? 0 : 1);
    assert_int_equal(directory_account_login(w.d, STR("new"), &arena, &a, NULL), removing ? ST_NOTFOUND : ST_OK);
    struct fsck_result fsck = {0};
    assert_int_equal(store_fsck(w.store, false, true, NULL, NULL, &fsck, NULL), ST_OK);
    assert_int_equal(fsck.accounts, accounts);
    arena_release(&arena);
    close_world(&w);
}

static void test_crashes(void **state)
{
    (void)state;
    for (int removing = 0; removing < 2; removing++) {
        bool more = true;
        uint64_t n = 0;
        while (more && n < 100)
            crash_at(++n, removing, &more);
        assert_in_range(n, 4, 99); /* several writes were cut off, and the last round had none */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_login_names),
        cmocka_unit_test(test_owns),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_remove_and_list),
        cmocka_unit_test(test_directory_survives_reopening),
        cmocka_unit_test(test_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
