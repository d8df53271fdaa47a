/* The store on a disk whose sync fails once: each call says what is true afterwards, and no client sees more than a delay. */
#include "kv/testing_disk.h"
#include "rt/log.h"
#include "store/testing.h"

static int failures_left; /* of syncs of the log */

static bool log_fails(int fd)
{
    if (failures_left == 0 || !disk_is_log(fd))
        return false;
    failures_left--;
    return true;
}

static bool quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)level, (void)fields, (void)count;
    unsigned *failed = context;
    *failed += strcmp(event, "kv.write_failed") == 0;
    return true;
}

static void no_finding(void *context, const char *what)
{
    (void)context;
    fail_msg("fsck: %s", what);
}

static uint32_t exists(struct testing *t)
{
    struct mailbox_info info;
    testing_info(t, "INBOX", &info);
    return info.exists;
}

static void sync_fails(void **state)
{
    struct testing *t = *state;
    struct uidset one = UIDSET_EMPTY;
    struct fsck_result f;
    unsigned failed = 0;
    log_capture(quiet, &failed);
    disk_sync_fails = log_fails;
    for (uint32_t i = 1; i <= 3; i++) {
        struct message_append m = {.bytes = STR("Subject: s\r\n\r\nx\r\n")};
        struct message_store c = {.mode = MESSAGE_STORE_ADD, .flags = MESSAGE_SEEN, .unchanged_since = UINT64_MAX};
        failures_left = 1;
        ok(message_append(t->account, 1, &m, 1, &t->err), t); /* the log had it, whole */
        assert_int_equal(m.uid, i);
        assert_int_equal(exists(t), i);
        failures_left = 1;
        ok(uidset_add(&one, i), t);
        ok(message_store(t->account, 1, &one, &c, &t->err), t);
        uidset_release(&one);
        uidset_release(&c.changed);
        uidset_release(&c.refused);
        testing_reopen(t);
        assert_int_equal(exists(t), i);
    }
    log_capture(NULL, NULL);
    assert_int_equal(failed, 6);
    ok(store_fsck(t->store, false, true, no_finding, NULL, &f, &t->err), t);
}

int main(void)
{
    if (!ROCKSDB_CAN_RUN)
        return 77; /* skipped */
    setenv("STORE_TEST_ENGINE", "rocksdb", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(sync_fails, testing_setup, testing_teardown)};
    return testing_run("store/disk", tests, sizeof tests / sizeof tests[0]);
}
