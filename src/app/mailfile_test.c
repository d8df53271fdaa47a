#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/mailfile.h"
#include "store/message.h"

enum { PATH = 4096 };

static int open_dir(void **state)
{
    char *dir = strdup("/tmp/postrider-mailfile-XXXXXX");
    *state = dir;
    return dir && mkdtemp(dir) ? 0 : 1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *w)
{
    (void)st, (void)kind, (void)w;
    return remove(path);
}

static int close_dir(void **state)
{
    nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return 0;
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void make_dir(const char *dir, const char *name)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* ---- mbox ---- */

struct want {
    const char *bytes;
    uint32_t flags;
    int64_t date_ms;
    const char *keyword;
};

static void check_message(const struct mailfile_message *m, const struct want *want, size_t i)
{
    if (!str_eq(m->bytes, str_of(want->bytes)))
        fail_msg("message %zu: \"%.*s\"", i, STR_FMT(m->bytes));
    if (m->flags != want->flags || m->date_ms != want->date_ms)
        fail_msg("message %zu: flags %x, date %lld", i, m->flags, (long long)m->date_ms);
    assert_string_equal(m->keyword_count ? m->keywords[0] : "", want->keyword);
}

static void check_mbox(const char *dir, const char *text, enum mboxfile_quoting quoting, const struct want *want, size_t count)
{
    char path[PATH];
    struct mboxfile *m = NULL;
    struct mailfile_message got;
    write_file(dir, "mbox", text);
    snprintf(path, sizeof path, "%s/mbox", dir);
    assert_int_equal(mboxfile_open(path, quoting, 1 << 20, &m, NULL), ST_OK);
    for (size_t i = 0; i < count; i++) {
        struct err e = {0};
        if (mboxfile_next(m, &got, &e) != ST_OK)
            fail_msg("message %zu: %s", i, e.text);
        check_message(&got, &want[i], i);
    }
    assert_int_equal(mboxfile_next(m, &got, NULL), ST_NOTFOUND);
    assert_int_equal(mboxfile_position(m), mboxfile_size(m));
    mboxfile_close(m);
}

static void test_mbox(void **state)
{
    static const char text[] = "From a@b Mon Jul 17 02:44:25 1996\n"
                               "Subject: one\nStatus: RO\nX-Status: AF\nX-Keywords: Work\nX-UID: 7\n\n"
                               "line\n>From quoted\n>>From twice\nFrom here no blank line precedes\n\nFrom prose without a time\n\n"
                               "From b@c Tue Jul 18 02:44:25 1996\n"
                               "Subject: two\n\n\n"
                               "From c@d Tue Jul 18 02:44:26 1996 +0000\r\nSubject: three\r\n\r\ncrlf\r\n\r\n"
                               "From d Wed Jul 19 00:00:00 1996\nSubject: last\n\nno newline";
    static const struct want rd[] = {
        {"Subject: one\r\n\r\nline\r\nFrom quoted\r\n>From twice\r\nFrom here no blank line precedes\r\n\r\nFrom prose without a "
         "time\r\n",
         MESSAGE_SEEN | MESSAGE_ANSWERED | MESSAGE_FLAGGED, 837571465000, "Work"},
        {"Subject: two\r\n\r\n", 0, 837657865000, ""},
        {"Subject: three\r\n\r\ncrlf\r\n", 0, 837657866000, ""},
        {"Subject: last\r\n\r\nno newline", 0, 837734400000, ""},
    };
    check_mbox(*state, text, MBOXFILE_RD, rd, 4);
    struct want other[4];
    memcpy(other, rd, sizeof other);
    other[0].bytes =
        "Subject: one\r\n\r\nline\r\nFrom quoted\r\n>>From twice\r\nFrom here no blank line precedes\r\n\r\nFrom prose "
        "without a time\r\n";
    check_mbox(*state, text, MBOXFILE_O, other, 4);
    other[0].bytes =
        "Subject: one\r\n\r\nline\r\n>From quoted\r\n>>From twice\r\nFrom here no blank line precedes\r\n\r\nFrom prose "
        "without a time\r\n";
    check_mbox(*state, text, MBOXFILE_NONE, other, 4);
    check_mbox(*state, "", MBOXFILE_RD, NULL, 0);
    check_mbox(*state, "\n\n", MBOXFILE_RD, NULL, 0);
}

static void test_no_mbox(void **state)
{
    char path[PATH];
    struct mboxfile *m = NULL;
    struct mailfile_message got;
    write_file(*state, "mbox", "Subject: not an mbox\n\nbody\n");
    snprintf(path, sizeof path, "%s/mbox", (char *)*state);
    assert_int_equal(mboxfile_open(path, MBOXFILE_RD, 1 << 20, &m, NULL), ST_OK);
    assert_int_equal(mboxfile_next(m, &got, NULL), ST_PERM);
    mboxfile_close(m);
    snprintf(path, sizeof path, "%s/missing", (char *)*state);
    assert_int_equal(mboxfile_open(path, MBOXFILE_RD, 1 << 20, &m, NULL), ST_NOTFOUND);
}

/* print then read gives the message back, whatever is in it. */
static void test_mbox_round_trip(void **state)
{
    static const char *const bodies[] = {
        "Subject: x\r\n\r\nbody\r\n",
        "Subject: x\r\n\r\nFrom the first line\r\n\r\nFrom a@b Mon Jul 17 02:44:25 1996\r\n>From\r\n>From x\r\n>>From y\r\n",
        "Subject: x\r\n\r\n",
        "Subject: x\r\nFrom: a@b\r\n\r\n\r\n\r\nblank lines at the end\r\n\r\n",
        "\r\nno header\r\n",
    };
    struct buf text = BUF_INIT(1 << 20);
    struct want want[5];
    for (size_t i = 0; i < 5; i++) {
        struct mailfile_message m = {.bytes = str_of(bodies[i]), .flags = MESSAGE_SEEN | MESSAGE_DRAFT, .date_ms = 837571465000};
        m.keyword_count = 1;
        strcpy(m.keywords[0], "Blue");
        mboxfile_print(&m, &text);
        want[i] = (struct want){bodies[i], m.flags, m.date_ms, "Blue"};
    }
    check_mbox(*state, buf_z(&text), MBOXFILE_RD, want, 5);
    buf_release(&text);
}

/* ---- Maildir ---- */

static void test_maildir_folders(void **state)
{
    static const char *const dirs[] = {"m",
                                       "m/cur",
                                       "m/new",
                                       "m/tmp",
                                       "m/.Sent",
                                       "m/.Sent/cur",
                                       "m/.A.B",
                                       "m/.A.B/cur",
                                       "m/.Gr&APwA3w-e",
                                       "m/.Gr&APwA3w-e/cur",
                                       "m/nested",
                                       "m/nested/deep",
                                       "m/nested/deep/cur",
                                       "m/nested/deep/new"};
    static const char *const want[] = {"INBOX", "Sent", "A/B", "Gr\u00fc\u00dfe", "nested/deep"};
    char path[PATH];
    struct arena arena = ARENA_INIT(1 << 20);
    struct maildir_folder *folders = NULL;
    size_t count = 0, found = 0;
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        make_dir(*state, dirs[i]);
    snprintf(path, sizeof path, "%s/m", (char *)*state);
    assert_int_equal(maildir_folders(path, &arena, &folders, &count, NULL), ST_OK);
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < 5; k++)
            found += str_eq(folders[i].name, str_of(want[k]));
    assert_int_equal(found, 5);
    assert_int_equal(maildir_folders(*state, &arena, &folders, &count, NULL), ST_OK); /* from above: nested */
    snprintf(path, sizeof path, "%s/m/tmp", (char *)*state);
    assert_int_equal(maildir_folders(path, &arena, &folders, &count, NULL), ST_PERM);
    arena_release(&arena);
}

static void test_maildir_round_trip(void **state)
{
    char top[PATH], folder[PATH];
    struct maildir_writer *w = NULL;
    struct maildir *m = NULL;
    struct mailfile_message got;
    snprintf(top, sizeof top, "%s/out", (char *)*state);
    snprintf(folder, sizeof folder, "%s/out/.Lists.2024", (char *)*state);
    struct mailfile_message one = {.bytes = STR("Subject: one\r\n\r\nbody\r\n"), .flags = 0x1f, .date_ms = 1500000000000};
    struct mailfile_message two = {.bytes = STR("Subject: two\r\n\r\nbare\rcr\r\n"), .date_ms = 1500000001000};
    one.keyword_count = 2;
    strcpy(one.keywords[0], "$Forwarded");
    strcpy(one.keywords[1], "Work");
    assert_int_equal(maildir_create(top, STR("Lists/2024"), &w, NULL), ST_OK);
    assert_int_equal(maildir_write(w, &two, NULL), ST_OK);
    assert_int_equal(maildir_write(w, &one, NULL), ST_OK);
    assert_int_equal(maildir_finish(w, NULL), ST_OK);
    assert_int_equal(maildir_open(str_of(folder), 1 << 20, &m, NULL), ST_OK);
    assert_int_equal(maildir_count(m), 2);
    assert_int_equal(maildir_next(m, &got, NULL), ST_OK); /* by date, not as they were written */
    assert_true(str_eq(got.bytes, one.bytes));
    assert_int_equal(got.flags, 0x1f);
    assert_int_equal(got.date_ms, one.date_ms);
    assert_int_equal(got.keyword_count, 2);
    assert_string_equal(got.keywords[0], "$Forwarded");
    assert_string_equal(got.keywords[1], "Work");
    assert_int_equal(maildir_next(m, &got, NULL), ST_OK);
    assert_true(str_eq(got.bytes, two.bytes));
    assert_int_equal(got.flags, 0);
    assert_int_equal(maildir_next(m, &got, NULL), ST_NOTFOUND);
    maildir_close(m);
}

static void test_received(void **state)
{
    (void)state;
    assert_int_equal(
        mailfile_received_ms(STR("Received: by x; Thu, 1 Jan 1970 00:01:00 +0000\r\nReceived: by y; Thu, 1 Jan 1970 00:00:30 "
                                 "+0000\r\nDate: Thu, 1 Jan 1970 00:00:10 +0000\r\n\r\n")),
        60000);
    assert_int_equal(mailfile_received_ms(STR("Date: Thu, 1 Jan 1970 00:00:10 +0000\r\n\r\n")), 10000);
    assert_int_equal(mailfile_received_ms(STR("Subject: none\r\n\r\n")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mbox, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_no_mbox, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_mbox_round_trip, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_maildir_folders, open_dir, close_dir),
        cmocka_unit_test_setup_teardown(test_maildir_round_trip, open_dir, close_dir),
        cmocka_unit_test(test_received),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
