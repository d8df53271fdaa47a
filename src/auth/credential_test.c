#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "auth/credential.h"
#include "format/base64.h"
#include "rt/settings.h"

static bool opens(struct str line, const char *password)
{
    struct credential c;
    struct err e = {0};
    if (credential_parse(line, &c, &e) != ST_OK)
        fail_msg("%s", e.text);
    return credential_verify(&c, str_of(password));
}

static void test_make_and_verify(void **state)
{
    (void)state;
    struct buf line = BUF_INIT(CREDENTIAL_MAX);
    struct credential c;
    assert_int_equal(credential_make(STR("vegetables"), &line, NULL), ST_OK);
    assert_int_equal(credential_parse(buf_str(&line), &c, NULL), ST_OK);
    assert_true(c.hash.n > 0 && c.scram[CREDENTIAL_SHA256].present && c.scram[CREDENTIAL_SHA1].present);
    assert_false(credential_is_old(&c));
    assert_true(opens(buf_str(&line), "vegetables"));
    static const char *const wrong[] = {"", "Vegetables", "vegetable", "vegetables ", "\xff"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (opens(buf_str(&line), wrong[i]))
            fail_msg("\"%s\" opens it", wrong[i]);
    buf_release(&line);
}

/* RFC 4013: what looks the same is the same password; RFC 7613's OpaqueString keeps case. */
static void test_saslprep(void **state)
{
    (void)state;
    static const struct {
        const char *in, *want; /* NULL: refused */
    } cases[] = {
        {"I\xc2\xadX", "IX"},
        {"user", "user"},
        {"USER", "USER"},
        {"\xc2\xaa", "a"},
        {"\xe2\x85\xa8", "IX"}, /* RFC 4013 3 */
        {"\x07", NULL},
        {"\xd8\xa7"
         "1",
         NULL},
        {"a\xc2\xa0"
         "b",
         "a b"},
        {"", NULL},
        {"\xff\xfe", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf got = BUF_INIT(64);
        enum st st = credential_prepare(str_of(cases[i].in), &got, NULL);
        if ((st == ST_OK) != (cases[i].want != NULL) || (st == ST_OK && !str_eq(buf_str(&got), str_of(cases[i].want))))
            fail_msg("case %zu: %s, \"%.*s\"", i, st_name(st), STR_FMT(buf_str(&got)));
        buf_release(&got);
    }
    struct buf line = BUF_INIT(CREDENTIAL_MAX);
    assert_int_equal(credential_make(STR("\xe2\x85\xa8"), &line, NULL), ST_OK);
    assert_true(opens(buf_str(&line), "IX"));
    buf_release(&line);
}

/* RFC 5802 5 and RFC 7677 3: user "user", password "pencil", 4096 iterations. The keys are those that make the published exchanges
 * come out. */
static void test_scram_vectors(void **state)
{
    (void)state;
    static const struct {
        enum credential_digest digest;
        const char *salt, *stored, *server;
    } cases[] = {
        {CREDENTIAL_SHA1, "QSXCR+Q6sek8bf92", "6dlGYMOdZcOPutkcNY8U2g7vK9Y=", "D+CSWLOshSulAsxiupA+qs2/fTE="},
        {CREDENTIAL_SHA256, "W22ZaJ0SNY7soEsUEjb6gQ==", "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
         "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="},
    };
    for (size_t i = 0; i < 2; i++) {
        struct credential_scram s = {.iterations = 4096};
        struct buf salt = BUF_INIT(64), stored = BUF_INIT(64), server = BUF_INIT(64);
        assert_true(base64_decode(str_of(cases[i].salt), &salt));
        memcpy(s.salt, salt.p, salt.n);
        s.salt_n = salt.n;
        assert_int_equal(credential_derive(cases[i].digest, STR("pencil"), &s, NULL), ST_OK);
        base64_encode(str_make(s.stored_key, s.key_n), &stored);
        base64_encode(str_make(s.server_key, s.key_n), &server);
        assert_true(str_eq(buf_str(&stored), str_of(cases[i].stored)));
        assert_true(str_eq(buf_str(&server), str_of(cases[i].server)));
        buf_release(&salt);
        buf_release(&stored);
        buf_release(&server);
    }
}

static void test_import(void **state)
{
    (void)state;
    static const char *const good[] = {
        /* all of "pencil" */
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "{SSHA}dFWAdLXeDBTj01WbdotiS4s3zKlzYWx0",
        "{SHA}0vxRJJChUDZGC1SJQBQ51tpUB/o=",
        "{SSHA256}IYelL73vS+N1Dkg7GnOUyJVYF5JifvEjClIz+j2xsMtzYWx0",
        "{SSHA512}i+D5SE7oOTxtkWXKlKHrQFnLB6mUMJx0OsVpWYhRi1RnUIQeI+9gQr+ANhi3p4fmzzh6sx3Lx4cvamioIp/8sXNhbHQ=",
        "{PLAIN}pencil",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct buf line = BUF_INIT(CREDENTIAL_MAX);
        struct err e = {0};
        if (credential_import(str_of(good[i]), &line, &e) != ST_OK)
            fail_msg("%s: %s", good[i], e.text);
        if (!opens(buf_str(&line), "pencil") || opens(buf_str(&line), "pencils"))
            fail_msg("%s does not tell right from wrong", good[i]);
        buf_release(&line);
    }
    static const char *const bad[] = {"",
                                      "plain",
                                      "{SSHA}",
                                      "{SSHA}KyScADcMPP4QGyVRa5CX2KhyPvg=",
                                      "{SHA}!!!!",
                                      "SCRAM-SHA-256$0:AA==$AA==:AA==",
                                      "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,x,y",
                                      "$6$with space$x",
                                      "{UNKNOWN}abc",
                                      "SCRAM-SHA-512$4096:AA==$AA==:AA=="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf line = BUF_INIT(CREDENTIAL_MAX);
        if (credential_import(str_of(bad[i]), &line, NULL) != ST_PERM)
            fail_msg("%s is taken", bad[i]);
        buf_release(&line);
    }
}

static void test_malformed_lines(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "hash hash",
        "$6$a$b $6$a$b",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096",
        "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$AA==:D+CSWLOshSulAsxiupA+qs2/fTE=",
        "SCRAM-SHA-1$99999999999:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE="};
    struct credential c;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (credential_parse(str_of(bad[i]), &c, NULL) == ST_OK)
            fail_msg("%s is taken", bad[i]);
    assert_int_equal(credential_parse(STR_NONE, &c, NULL), ST_OK);
    assert_false(credential_verify(&c, STR("anything")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make_and_verify), cmocka_unit_test(test_saslprep),        cmocka_unit_test(test_scram_vectors),
        cmocka_unit_test(test_import),          cmocka_unit_test(test_malformed_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
