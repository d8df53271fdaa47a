/* What the visitor of a scan may call neither commits nor waits for a commit, whatever state the account is in. */
#include "store/account.h"
#include "store/testing.h"

struct visitor {
    struct testing *t;
    unsigned visited;
};

static bool count_email(void *context, const struct message_email *email, struct str digest)
{
    unsigned *n = context;
    *n += email->size > 0 && digest.n > 0;
    return true;
}

static bool count_digest(void *context, uint64_t email, struct str digest)
{
    unsigned *n = context;
    *n += email > 0 && digest.n > 0;
    return true;
}

/* The head became stale since the scan began, as by another node's commit. Reloading it is the leader's work, and a leader carries
 * out and commits the changes of everybody who waits: from within a scan that breaks the contract of kv/engine.h. */
static bool read_everything(void *context, const struct message_entry *entry)
{
    struct visitor *v = context;
    struct account *a = v->t->account;
    struct err *e = &v->t->err;
    DEFER(buf_release) struct buf bytes = BUF_INIT(100000);
    struct message_email email;
    unsigned seen = 0;
    a->stale = true;
    ok(message_digest(a, entry->email, &bytes, e), v->t);
    ok(message_email(a, entry->email, &email, e), v->t);
    ok(message_read(a, entry->email, 0, 1000, &bytes, e), v->t);
    ok(message_read_email(a, &email, 0, 1000, &bytes, e), v->t);
    ok(message_emails(a, &entry->email, 1, count_email, &seen, e), v->t);
    ok(message_digests(a, &entry->email, 1, count_digest, &seen, e), v->t);
    assert_int_equal(seen, 2);
    assert_true(a->stale); /* nobody led */
    v->visited++;
    return true;
}

static void reads_of_a_visitor_never_lead(void **state)
{
    struct testing *t = *state;
    struct visitor v = {.t = t};
    testing_fill(t, 1, 3);
    ok(message_scan(t->account, 1, NULL, read_everything, &v, &t->err), t);
    assert_int_equal(v.visited, 3);
    testing_fill(t, 1, 1); /* and the next change reloads */
    assert_false(t->account->stale);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_of_a_visitor_never_lead, testing_setup, testing_teardown),
    };
    return testing_run("store/scan", tests, sizeof tests / sizeof tests[0]);
}
