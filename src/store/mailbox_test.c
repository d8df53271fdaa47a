/* Names, hierarchy, subscriptions and roles of mailboxes. */
#include "store/name.h"
#include "store/testing.h"

static void accepts_and_refuses_names(void **state)
{
    (void)state;
    char deep[200], deepest[200], longest[1100];
    size_t n = 0;
    for (int i = 0; i < 33; i++)
        n += (size_t)snprintf(deepest + n, sizeof deepest - n, i ? "/a" : "a");
    memcpy(deep, deepest, n + 1);
    deep[n - 2] = 0; /* 32 levels */
    memset(longest, 'x', sizeof longest);
    longest[1001] = 0;
    const struct {
        const char *in, *want; /* NULL: refused */
    } table[] = {
        {"a", "a"},
        {"inbox", "INBOX"},
        {"iNbOx/Sub", "INBOX/Sub"},
        {"inboxes", "inboxes"},
        {"a/inbox", "a/inbox"},
        {"e\xcc\x81", "\xc3\xa9"}, /* composed: NFC */
        {"\xc3\xa9", "\xc3\xa9"},
        {"with space & \\\"quotes\\\"", "with space & \\\"quotes\\\""},
        {deep, deep},
        {"", NULL},
        {"/a", NULL},
        {"a/", NULL},
        {"a//b", NULL},
        {"a*", NULL},
        {"%", NULL},
        {"a\tb", NULL},
        {"a\x7f", NULL},
        {"a\xc2\x85", NULL},     /* C1 */
        {"a\xe2\x80\xa8", NULL}, /* line separator */
        {"a\xff", NULL},
        {"\xc0\xaf", NULL}, /* overlong */
        {"..", NULL},
        {"a/../b", NULL},
        {deepest, NULL},
        {longest, NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct name name;
        struct err e = {0};
        enum st s = name_parse(str_of(table[i].in), &name, &e);
        assert_int_equal(s, table[i].want ? ST_OK : ST_PERM);
        if (table[i].want)
            assert_true(str_eq(name_str(&name), str_of(table[i].want)));
        else
            assert_true(e.text[0] != 0);
    }
}

static void check_list(struct testing *t, const char *want)
{
    struct testing_list *list = calloc(1, sizeof *list);
    char got[1000] = "";
    assert_non_null(list);
    testing_list(t, list);
    for (size_t i = 0; i < list->count; i++) {
        const struct mailbox_info *m = &list->infos[i];
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s%s%s%s", i ? " " : "", list->names[i], m->subscribed ? "" : "-",
                 m->id == 0 ? "?" : "", m->id != 0 && !m->selectable ? "!" : "");
    }
    assert_string_equal(got, want);
    free(list);
}

static void keeps_the_hierarchy(void **state)
{
    struct testing *t = *state;
    uint32_t id, other;
    static const char *const drop[] = {"Archive", "Drafts", "Junk", "Trash"};
    for (int i = 0; i < 4; i++) {
        ok(mailbox_delete(t->account, str_of(drop[i]), &t->err), t);
        ok(mailbox_subscribe(t->account, str_of(drop[i]), false, &t->err), t);
    }
    check_list(t, "INBOX Sent");
    ok(mailbox_create(t->account, STR("a/b/c"), MAILBOX_ROLE_NONE, &id, &t->err), t);
    ok(mailbox_create(t->account, STR("a b"), MAILBOX_ROLE_NONE, &other, &t->err), t);
    ok(mailbox_create(t->account, STR("INBOX/z"), MAILBOX_ROLE_NONE, &other, &t->err), t);
    check_list(t, "INBOX INBOX/z- Sent a- a/b- a/b/c- a b-"); /* by levels: a/b before "a b" */
    assert_int_equal(mailbox_create(t->account, STR("a/b"), MAILBOX_ROLE_NONE, &other, &t->err), ST_EXISTS);
    /* with children it stays as a level */
    ok(mailbox_delete(t->account, STR("a/b"), &t->err), t);
    check_list(t, "INBOX INBOX/z- Sent a- a/b-! a/b/c- a b-");
    assert_int_equal(mailbox_delete(t->account, STR("a/b"), &t->err), ST_DENIED);
    struct message_append m = {.bytes = STR("x")};
    uint32_t level = testing_mailbox(t, "a/b");
    assert_int_equal(message_append(t->account, level, &m, 1, &t->err), ST_NOTFOUND);
    /* and becomes a mailbox again, or goes with the last child */
    ok(mailbox_create(t->account, STR("a/b"), MAILBOX_ROLE_NONE, &other, &t->err), t);
    assert_int_equal(other, level);
    ok(message_append(t->account, level, &m, 1, &t->err), t);
    ok(mailbox_delete(t->account, STR("a/b"), &t->err), t);
    ok(mailbox_rename(t->account, STR("a/b/c"), STR("x/y"), &t->err), t);
    check_list(t, "INBOX INBOX/z- Sent a- a b- x- x/y-");
    struct mailbox_info info;
    testing_info(t, "x/y", &info);
    assert_int_equal(info.id, id);
    testing_reopen(t);
    check_list(t, "INBOX INBOX/z- Sent a- a b- x- x/y-");
}

static void renames_with_children(void **state)
{
    struct testing *t = *state;
    uint32_t id, inner;
    ok(mailbox_create(t->account, STR("p/q/r"), MAILBOX_ROLE_NONE, &id, &t->err), t);
    inner = testing_mailbox(t, "p/q");
    testing_fill(t, inner, 3);
    struct mailbox_info before, after;
    testing_info(t, "p/q", &before);
    ok(mailbox_rename(t->account, STR("p"), STR("P/new"), &t->err), t);
    testing_info(t, "P/new/q", &after);
    assert_int_equal(after.id, inner);
    assert_int_equal(after.uidvalidity, before.uidvalidity);
    assert_int_equal(after.exists, 3);
    assert_int_equal(testing_mailbox(t, "P/new/q/r"), id);
    struct mailbox_info none;
    assert_int_equal(mailbox_find(t->account, STR("p/q"), &t->arena, &none, &t->err), ST_NOTFOUND);
    assert_int_equal(mailbox_rename(t->account, STR("P"), STR("P/new/deep"), &t->err), ST_PERM);
    assert_int_equal(mailbox_rename(t->account, STR("P"), STR("Sent"), &t->err), ST_EXISTS);
    assert_int_equal(mailbox_rename(t->account, STR("nothing"), STR("x"), &t->err), ST_NOTFOUND);
    char longest[1000];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(mailbox_rename(t->account, STR("P"), str_make(longest, 998), &t->err), ST_PERM);
    assert_int_equal(testing_mailbox(t, "P/new/q"), inner); /* all or nothing */
}

static void renames_inbox_by_moving(void **state)
{
    struct testing *t = *state;
    uint32_t inbox = testing_mailbox(t, "INBOX"), below;
    struct mailbox_info before, after;
    testing_fill(t, inbox, 5);
    ok(mailbox_create(t->account, STR("INBOX/kept"), MAILBOX_ROLE_NONE, &below, &t->err), t);
    testing_info(t, "INBOX", &before);
    ok(mailbox_rename(t->account, STR("inbox"), STR("Old/2026"), &t->err), t);
    testing_info(t, "INBOX", &after);
    assert_int_equal(after.id, inbox);
    assert_int_equal(after.uidvalidity, before.uidvalidity);
    assert_int_equal(after.exists, 0);
    assert_int_equal(after.uidnext, 6);
    testing_info(t, "Old/2026", &after);
    assert_int_equal(after.exists, 5);
    assert_int_equal(testing_mailbox(t, "INBOX/kept"), below);
    assert_int_equal(mailbox_delete(t->account, STR("InBox"), &t->err), ST_DENIED);
}

static void never_reuses_a_uidvalidity(void **state)
{
    struct testing *t = *state;
    uint32_t last = 0;
    for (int i = 0; i < 5; i++) {
        uint32_t id;
        struct mailbox_info info;
        ok(mailbox_create(t->account, STR("again"), MAILBOX_ROLE_NONE, &id, &t->err), t);
        testing_info(t, "again", &info);
        assert_true(info.uidvalidity > last);
        last = info.uidvalidity;
        ok(mailbox_delete(t->account, STR("again"), &t->err), t);
    }
}

static void gives_roles(void **state)
{
    struct testing *t = *state;
    uint32_t id;
    struct mailbox_info info;
    assert_int_equal(mailbox_create(t->account, STR("Bin"), MAILBOX_ROLE_TRASH, &id, &t->err), ST_EXISTS);
    ok(mailbox_create(t->account, STR("Everything"), MAILBOX_ROLE_ALL, &id, &t->err), t);
    ok(mailbox_find_role(t->account, MAILBOX_ROLE_ALL, &t->arena, &info, &t->err), t);
    assert_int_equal(info.id, id);
    ok(mailbox_set_role(t->account, id, MAILBOX_ROLE_TRASH, &t->err), t); /* taken from the other */
    ok(mailbox_find_role(t->account, MAILBOX_ROLE_TRASH, &t->arena, &info, &t->err), t);
    assert_int_equal(info.id, id);
    testing_info(t, "Trash", &info);
    assert_int_equal(info.role, MAILBOX_ROLE_NONE);
    assert_int_equal(mailbox_find_role(t->account, MAILBOX_ROLE_ALL, &t->arena, &info, &t->err), ST_NOTFOUND);
    assert_int_equal(mailbox_set_role(t->account, testing_mailbox(t, "INBOX"), MAILBOX_ROLE_JUNK, &t->err), ST_DENIED);
    assert_int_equal(mailbox_set_role(t->account, id, MAILBOX_ROLE_INBOX, &t->err), ST_PERM);
    assert_int_equal(mailbox_set_role(t->account, id, (enum mailbox_role)(MAILBOX_ROLE_JUNK | MAILBOX_ROLE_SENT), &t->err),
                     ST_PERM);
}

static void keeps_subscriptions_of_what_is_not_there(void **state)
{
    struct testing *t = *state;
    uint32_t id;
    ok(mailbox_subscribe(t->account, STR("Future"), true, &t->err), t);
    ok(mailbox_delete(t->account, STR("Junk"), &t->err), t);
    check_list(t, "INBOX Archive Drafts Future? Junk? Sent Trash");
    testing_reopen(t);
    check_list(t, "INBOX Archive Drafts Future? Junk? Sent Trash");
    ok(mailbox_create(t->account, STR("Future"), MAILBOX_ROLE_NONE, &id, &t->err), t);
    ok(mailbox_rename(t->account, STR("Sent"), STR("Junk"), &t->err), t);
    ok(mailbox_subscribe(t->account, STR("Trash"), false, &t->err), t);
    check_list(t, "INBOX Archive Drafts Future Junk Trash-");
    ok(mailbox_subscribe(t->account, STR("nowhere"), false, &t->err), t);
    assert_int_equal(mailbox_subscribe(t->account, STR("bad//name"), true, &t->err), ST_PERM);
}

static void limits_mailboxes_and_keywords(void **state)
{
    struct testing *t = *state;
    uint32_t id;
    t->config.mailboxes_max = 8;
    testing_reopen(t);
    ok(mailbox_create(t->account, STR("seven"), MAILBOX_ROLE_NONE, &id, &t->err), t);
    assert_int_equal(mailbox_create(t->account, STR("eight/nine"), MAILBOX_ROLE_NONE, &id, &t->err), ST_LIMIT);
    check_list(t, "INBOX Archive Drafts Junk Sent Trash seven-"); /* nothing of it */
    char words[MAILBOX_KEYWORDS_MAX + 1][16];
    struct str names[MAILBOX_KEYWORDS_MAX + 1];
    for (int i = 0; i <= MAILBOX_KEYWORDS_MAX; i++)
        names[i] = str_make(words[i], (size_t)snprintf(words[i], 16, "key%d", i));
    uint64_t bits, again;
    assert_int_equal(mailbox_keywords(t->account, 1, names, MAILBOX_KEYWORDS_MAX + 1, true, &bits, &t->err), ST_LIMIT);
    ok(mailbox_keywords(t->account, 1, names, MAILBOX_KEYWORDS_MAX, false, &bits, &t->err), t);
    assert_true(bits == 0);
    ok(mailbox_keywords(t->account, 1, names, MAILBOX_KEYWORDS_MAX, true, &bits, &t->err), t);
    assert_true(bits == UINT64_MAX);
    struct str shouted = STR("KEY3");
    ok(mailbox_keywords(t->account, 1, &shouted, 1, true, &again, &t->err), t);
    assert_true(again == 1 << 3);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, testing_setup, testing_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_and_refuses_names),
        T(keeps_the_hierarchy),
        T(renames_with_children),
        T(renames_inbox_by_moving),
        T(never_reuses_a_uidvalidity),
        T(gives_roles),
        T(keeps_subscriptions_of_what_is_not_there),
        T(limits_mailboxes_and_keywords),
    };
    return testing_run("store/mailbox", tests, sizeof tests / sizeof tests[0]);
}
