#include "crypto/password.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_own_hash(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf a = BUF_INIT(PASSWORD_HASH_MAX), b = BUF_INIT(PASSWORD_HASH_MAX);
    assert_int_equal(password_hash(STR("vegetables"), &a, &e), ST_OK);
    assert_int_equal(password_hash(STR("vegetables"), &b, &e), ST_OK);
    assert_false(str_eq(buf_str(&a), buf_str(&b))); /* salted */
    assert_true(password_verify(buf_str(&a), STR("vegetables")));
    assert_false(password_verify(buf_str(&a), STR("vegetable")));
    assert_false(password_verify(buf_str(&a), STR("Vegetables")));
    assert_false(password_verify(buf_str(&a), STR("")));
    assert_false(password_hash_is_old(buf_str(&a)));
    assert_int_equal(password_hash(STR(""), &a, &e), ST_PERM);
    assert_int_equal(password_hash(str_make("a\0b", 3), &a, &e), ST_PERM);
    buf_release(&a);
    buf_release(&b);
}

static void test_hashes_of_others(void **state)
{
    (void)state;
    static const struct {
        const char *hash, *password;
        bool known;
    } rows[] = {
        /* made by openssl passwd, the bcrypt and the Argon2 authors' test vectors */
        {"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!",
         true},
        {"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!", true},
        {"{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!", true},
        {"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", true},
        {"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password", true},
        {"{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password", true},
        {"$1$salt$qJH7.N4xYta3aEG/dfqo/0", "", false},
        {"plain", "plain", false},
        {"", "", false},
        {"*", "x", false},
        {"$y$", "x", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct str hash = str_of(rows[i].hash);
        if (password_hash_known(hash) != rows[i].known)
            fail_msg("%s: known is %d", rows[i].hash, !rows[i].known);
        if (password_verify(hash, str_of(rows[i].password)) != rows[i].known)
            fail_msg("%s: verify is %d", rows[i].hash, !rows[i].known);
        assert_false(password_verify(hash, STR("something else")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_own_hash), cmocka_unit_test(test_hashes_of_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
