/* Places, threads and changes of e-mails. */
#include "store/care.h"
#include "store/email.h"
#include "store/testing.h"

static uint64_t append(struct testing *t, const char *bytes)
{
    struct message_append m = {.bytes = str_of(bytes)};
    ok(message_append(t->account, 1, &m, 1, &t->err), t);
    return m.email;
}

static uint64_t thread_of(struct testing *t, uint64_t email)
{
    struct message_email m;
    ok(message_email(t->account, email, &m, &t->err), t);
    return m.thread;
}

static void transfer(struct testing *t, uint32_t from, uint32_t uid, uint32_t to, bool move)
{
    struct uidset one = UIDSET_EMPTY;
    struct message_copy c = {.move = move};
    ok(uidset_add(&one, uid), t);
    ok(message_copy(t->account, from, to, &one, &c, &t->err), t);
    uidset_release(&one);
    uidset_release(&c.from_uids);
    uidset_release(&c.to_uids);
}

static void expunge(struct testing *t, uint32_t mailbox, uint32_t uid)
{
    struct uidset one = UIDSET_EMPTY, gone;
    uint64_t modseq;
    ok(uidset_add(&one, uid), t);
    ok(message_expunge(t->account, mailbox, &one, false, &gone, &modseq, &t->err), t);
    assert_int_equal(uidset_count(&gone), 1);
    uidset_release(&one);
    uidset_release(&gone);
}

static void check_places(struct testing *t, uint64_t email, const char *want)
{
    struct email_place places[8];
    size_t count;
    char got[100] = "";
    enum st s = email_places(t->account, email, places, 8, &count, &t->err);
    assert_int_equal(s, want[0] ? ST_OK : ST_NOTFOUND);
    for (size_t i = 0; i < count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%u:%u", i ? " " : "", places[i].mailbox, places[i].uid);
    assert_string_equal(got, want);
}

static void knows_the_places(void **state)
{
    struct testing *t = *state;
    uint64_t e = append(t, "Subject: a\r\n\r\nx\r\n");
    check_places(t, e, "1:1");
    transfer(t, 1, 1, 3, false);
    check_places(t, e, "1:1 3:1");
    transfer(t, 1, 1, 2, true);
    check_places(t, e, "2:1 3:1");
    transfer(t, 3, 1, 1, true);
    check_places(t, e, "1:2 2:1");
    ok(mailbox_delete(t->account, STR("Sent"), &t->err), t);
    check_places(t, e, "1:2");
    bool more = true;
    while (more)
        ok(account_care(t->account, &more, &t->err), t);
    check_places(t, e, "1:2");
    expunge(t, 1, 2);
    check_places(t, e, "");
    check_places(t, 999, "");
    uint64_t f = append(t, "Subject: b\r\n\r\nx\r\n");
    expunge(t, 1, 3);
    check_places(t, f, "");
}

static bool list_email(void *context, uint64_t email)
{
    char *out = context;
    snprintf(out + strlen(out), 100 - strlen(out), "%s%u", out[0] ? " " : "", (unsigned)email);
    return true;
}

static void check_thread(struct testing *t, uint64_t thread, const char *want)
{
    char got[100] = "";
    ok(email_thread(t->account, thread, list_email, got, &t->err), t);
    assert_string_equal(got, want);
}

static void builds_threads(void **state)
{
    struct testing *t = *state;
    static const struct {
        const char *bytes;
        uint64_t thread;
    } mails[] = {
        {"Message-ID: <1@x>\r\nSubject: Hello\r\n\r\n", 1},
        {"Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\nSubject: Re: hello\r\n\r\n", 1},
        {"Message-ID: <3@x>\r\nReferences: <1@x> <2@x>\r\nSubject: RE: Hello\r\n\r\n", 1},
        /* the same ancestors, another subject: a new matter */
        {"Message-ID: <4@x>\r\nReferences: <1@x> <2@x>\r\nSubject: Lunch?\r\n\r\n", 4},
        /* the answer comes before what it answers */
        {"Message-ID: <6@x>\r\nReferences: <5@x>\r\nSubject: Re: Plan\r\n\r\n", 5},
        {"Message-ID: <5@x>\r\nSubject: Plan\r\n\r\n", 5},
        /* no ids at all */
        {"Subject: Hello\r\n\r\n", 7},
        {"Subject: Hello\r\n\r\n", 8},
        /* the same message again */
        {"Message-ID: <1@x>\r\nSubject: Hello\r\n\r\n", 1},
    };
    for (size_t i = 0; i < sizeof mails / sizeof mails[0]; i++)
        assert_int_equal(thread_of(t, append(t, mails[i].bytes)), mails[i].thread);
    check_thread(t, 1, "1 2 3 9");
    check_thread(t, 5, "5 6");
    check_thread(t, 7, "7");
    /* the first one goes: the thread stays, and is found by its id */
    expunge(t, 1, 1);
    bool more = true;
    while (more)
        ok(account_care(t->account, &more, &t->err), t);
    check_thread(t, 1, "2 3 9");
    assert_int_equal(thread_of(t, append(t, "Message-ID: <9@x>\r\nIn-Reply-To: <1@x>\r\nSubject: Re: Hello\r\n\r\n")), 1);
    /* all go: what comes then begins anew */
    expunge(t, 1, 4);
    for (more = true; more;)
        ok(account_care(t->account, &more, &t->err), t);
    check_thread(t, 4, "");
    assert_int_equal(thread_of(t, append(t, "Message-ID: <4@x>\r\nSubject: Lunch?\r\n\r\n")), 11);
}

static void check_changes(struct testing *t, uint64_t since, const char *created, const char *updated, const char *destroyed)
{
    struct email_changes c;
    struct buf out = BUF_INIT(1000);
    ok(email_changes(t->account, since, &c, &t->err), t);
    assert_int_equal(c.modseq, account_modseq(t->account));
    uidset_print(&c.created, &out);
    assert_string_equal(buf_z(&out), created);
    buf_clear(&out);
    uidset_print(&c.updated, &out);
    assert_string_equal(buf_z(&out), updated);
    buf_clear(&out);
    uidset_print(&c.destroyed, &out);
    assert_string_equal(buf_z(&out), destroyed);
    buf_release(&out);
    email_changes_release(&c);
}

static void tells_changes(void **state)
{
    struct testing *t = *state;
    uint64_t start = account_modseq(t->account);
    append(t, "Subject: 1\r\n\r\n");
    append(t, "Subject: 2\r\n\r\n");
    append(t, "Subject: 3\r\n\r\n");
    check_changes(t, start, "1:3", "", "");
    uint64_t middle = account_modseq(t->account);
    transfer(t, 1, 1, 2, true);
    transfer(t, 1, 2, 2, false);
    check_changes(t, middle, "", "1:2", "");
    expunge(t, 1, 3);
    expunge(t, 1, 2); /* still in the other mailbox */
    check_changes(t, middle, "", "1:2", "3");
    check_changes(t, start, "1:2", "", "");
    check_changes(t, account_modseq(t->account), "", "", "");
    struct email_changes c;
    assert_int_equal(email_changes(t->account, account_modseq(t->account) + 1, &c, &t->err), ST_NOTFOUND);
    t->config.journal_max_changes = 2;
    testing_reopen(t);
    append(t, "Subject: 4\r\n\r\n");
    assert_int_equal(email_changes(t->account, start, &c, &t->err), ST_NOTFOUND);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, testing_setup, testing_teardown)
    const struct CMUnitTest tests[] = {T(knows_the_places), T(builds_threads), T(tells_changes)};
    return testing_run("store/email", tests, sizeof tests / sizeof tests[0]);
}
