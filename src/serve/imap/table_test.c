#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "serve/imap/table.h"

/* The table is searched by halves, so it must be in order; and it is where the manual comes from. */
static void test_rows(void **state)
{
    (void)state;
    const struct imap_verb *v;
    for (size_t i = 0; (v = imap_table_get(i)) != NULL; i++) {
        if (i > 0)
            assert_true(strcmp(imap_table_get(i - 1)->name, v->name) < 0);
        assert_ptr_equal(imap_table_find(str_of(v->name)), v);
        assert_int_equal(imap_table_index(v), i);
        assert_true(v->run && v->states && v->rfc && v->help);
        assert_true(!v->literal == !v->stream);
        /* arguments are optional only where there are arguments */
        assert_true(!(v->flags & IMAP_VERB_OPTIONAL_ARGS) || (v->flags & IMAP_VERB_ARGS));
    }
}

static void test_find(void **state)
{
    (void)state;
    assert_string_equal(imap_table_find(STR("nOoP"))->name, "NOOP");
    static const char *const unknown[] = {"", "A", "NOO", "NOOPE", "ZZZ", "UID"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_null(imap_table_find(str_of(unknown[i])));
}

/* Every command of RFC 9051 and RFC 3501 is there. */
static void test_complete(void **state)
{
    (void)state;
    static const char *const names[] = {
        "CAPABILITY", "NOOP",   "LOGOUT",   "STARTTLS",  "AUTHENTICATE", "LOGIN",       "ENABLE", "SELECT",    "EXAMINE", "CREATE",
        "DELETE",     "RENAME", "LIST",     "SUBSCRIBE", "LSUB",         "UNSUBSCRIBE", "STATUS", "NAMESPACE", "APPEND",  "IDLE",
        "CHECK",      "CLOSE",  "UNSELECT", "EXPUNGE",   "SEARCH",       "FETCH",       "STORE",  "COPY",      "MOVE"};
    static const char *const by_uid[] = {"EXPUNGE", "SEARCH", "FETCH", "STORE", "COPY", "MOVE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_non_null(imap_table_find(str_of(names[i])));
    for (size_t i = 0; i < sizeof by_uid / sizeof *by_uid; i++)
        assert_true(imap_table_find(str_of(by_uid[i]))->flags & IMAP_VERB_UID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_find), cmocka_unit_test(test_complete)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
