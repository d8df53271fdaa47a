/* The message commands where a conversation script does not reach: texts that lie across the pieces in which they are looked
 * through, answers that are longer than the output buffer, a store that fails at every operation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "format/transfer.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "serve/testing/imap_client.h"

enum { MANY = 8000, TEXT_MAX = 8 << 20, PIECE = 32 << 10 /* as SEARCH_PIECE */, SMALL = SESSION_OUTPUT_LOW + 1 };

static struct buf credential = BUF_INIT(4096);

static bool log_quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

static void must(enum st st, const struct err *e)
{
    if (st != ST_OK)
        fail_msg("%s: %s", st_name(st), e->detail);
}

static void open_world(struct world *w)
{
    struct err e = {0};
    must(world_open(w, buf_str(&credential), &e), &e);
}

static void deliver(struct world *w, struct str bytes)
{
    struct err e = {0};
    must(world_deliver(w, STR("carolyn@xyz.com"), bytes, &e), &e);
}

static bool has(struct str s, const char *text) { return str_find(s, str_of(text)) != STR_NPOS; }

static struct str ask(struct imap_client *c, const char *command)
{
    char line[4096];
    snprintf(line, sizeof line, "x %s", command);
    struct str said = imap_client_ask(c, str_of(line));
    if (c->pump.breach)
        fail_msg("%s: %s", command, c->pump.breach);
    return said;
}

static void expect(struct imap_client *c, const char *command, const char *want)
{
    struct str got = ask(c, command);
    if (!str_eq(got, str_of(want)))
        fail_msg("%s:\n got: %.*s\nwant: %s", command, STR_FMT(got), want);
}

/* ---- texts across pieces ---- */

/* A text part whose decoded text has the needle at `at`; encoded as is, in base64 or quoted-printable. */
static void deliver_needle(struct world *w, enum transfer_encoding encoding, size_t at, const char *needle)
{
    static const char *const names[] = {[TRANSFER_8BIT] = "8bit", [TRANSFER_BASE64] = "base64", [TRANSFER_QP] = "quoted-printable"};
    struct buf text = BUF_INIT(TEXT_MAX), message = BUF_INIT(TEXT_MAX);
    struct transfer_encoder t;
    while (text.n < at)
        buf_add(&text, str_upto(STR("The quick brown fox jumps over the dog.\r\n"), at - text.n));
    buf_add_z(&text, needle);
    buf_add_z(&text, "\r\nand more\r\n");
    buf_printf(&message, "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n", names[encoding]);
    transfer_encoder_init(&t, encoding, true);
    transfer_encode(&t, buf_str(&text), &message);
    transfer_encode_end(&t, &message);
    deliver(w, buf_str(&message));
    buf_release(&text);
    buf_release(&message);
}

static void test_pieces(void **state)
{
    static const enum transfer_encoding encodings[] = {TRANSFER_8BIT, TRANSFER_BASE64, TRANSFER_QP};
    static const size_t edges[] = {PIECE, 3 * PIECE, 40 * PIECE}; /* the last is in a message that is not held as a whole */
    struct world w;
    struct imap_client c;
    unsigned n = 0;
    char want[200];
    (void)state;
    open_world(&w);
    for (size_t e = 0; e < sizeof edges / sizeof *edges; e++)
        for (size_t k = 0; k < sizeof encodings / sizeof *encodings; k++)
            for (size_t before = 0; before <= 9; before += 3, n++) /* decoded: 3/4 of a piece of base64 */
                deliver_needle(&w, encodings[k], (encodings[k] == TRANSFER_BASE64 ? edges[e] / 78 * 57 : edges[e]) - before,
                               "Ne\xc3\xa9"
                               "dle");
    imap_client_open(&c, &w, SMALL);
    ask(&c, "SELECT INBOX");
    snprintf(want, sizeof want, "* ESEARCH (TAG \"x\") COUNT %u\r\nx OK SEARCH completed\r\n", n);
    expect(&c,
           "SEARCH RETURN (COUNT) BODY {7+}\r\nNE\xc3\x89"
           "DLE",
           want);
    expect(&c,
           "SEARCH RETURN (COUNT) TEXT {9+}\r\nne\xc3\xa9"
           "dle\r\n",
           want);
    expect(&c,
           "SEARCH RETURN (COUNT) BODY {11+}\r\nne\xc3\xa9"
           "dle\r\nan",
           want);
    expect(&c, "SEARCH RETURN (COUNT) BODY needl", "* ESEARCH (TAG \"x\") COUNT 0\r\nx OK SEARCH completed\r\n");
    expect(&c,
           "SEARCH RETURN (COUNT) NOT BODY {7+}\r\nne\xc3\xa9"
           "dle",
           "* ESEARCH (TAG \"x\") COUNT 0\r\nx OK SEARCH completed\r\n");
    imap_client_close(&c);
    world_close(&w);
}

/* ---- long answers ---- */

/* Numbers that depend on the time: the UIDVALIDITY of COPYUID. */
static void mask(struct str said, struct buf *out)
{
    size_t at;
    while ((at = str_find(said, STR("COPYUID "))) != STR_NPOS) {
        buf_add(out, str_upto(said, at + 8));
        said = str_from(said, at + 8);
        while (said.n && ascii_digit(said.p[0]))
            said = str_from(said, 1);
    }
    buf_add(out, said);
}

static void converse(size_t room, struct buf *out)
{
    static const char *const commands[] = {
        "SELECT INBOX", "FETCH 1:* (UID FLAGS)", "FETCH 1:* (RFC822.SIZE ENVELOPE)", "UID FETCH 1:* (RFC822.SIZE BODY.PEEK[TEXT])",
        "STORE 1:* +FLAGS (\\Seen)", "SEARCH ALL", "SEARCH RETURN (ALL) SEEN", "UID SEARCH SUBJECT x",
        "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 100)", "STORE 1:* (UNCHANGEDSINCE 7500) +FLAGS.SILENT (\\Draft)",
        /* every second one goes: what is left has gaps */
        "EXPUNGE", "SEARCH ALL", "SEARCH RETURN (ALL COUNT) ALL", "UID SEARCH RETURN (ALL) ALL", "FETCH 1:* (UID FLAGS)",
        "UID STORE 1:* (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Draft)", "UID STORE 1:* +FLAGS.SILENT ($Work)", "COPY 1:* Archive",
        "ENABLE QRESYNC", "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)", "UID MOVE 1:* Archive", "SEARCH ALL"};
    struct buf line = BUF_INIT(TEXT_MAX);
    struct world w;
    struct imap_client c;
    open_world(&w);
    for (int i = 0; i < MANY; i++)
        deliver(&w, STR("Subject: x\r\n\r\ny\r\n"));
    imap_client_open(&c, &w, room);
    ask(&c, "SELECT INBOX");
    buf_add_z(&line, "x STORE 2");
    for (unsigned i = 4; i <= MANY; i += 2)
        buf_printf(&line, ",%u", i);
    buf_add_z(&line, " +FLAGS.SILENT (\\Deleted)");
    assert_true(has(imap_client_ask(&c, buf_str(&line)), "x OK"));
    buf_release(&line);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct str said = ask(&c, commands[i]);
        if (imap_client_judge(said, STR("x")) != IMAP_ANSWER_WHOLE || !has(said, "\r\nx OK "))
            if (!str_starts(said, STR("x OK ")))
                fail_msg("%s: %.*s", commands[i], STR_FMT(str_from(said, said.n > 200 ? said.n - 200 : 0)));
        if (i > 0)
            mask(said, out);
    }
    imap_client_close(&c);
    world_close(&w);
}

static void test_long_answers(void **state)
{
    struct buf large = BUF_INIT(64 << 20), small = BUF_INIT(64 << 20);
    (void)state;
    converse(SESSION_OUTPUT_MAX, &large);
    converse(SMALL, &small);
    assert_true(large.n > 1 << 20);
    size_t at = 0;
    while (at < large.n && at < small.n && large.p[at] == small.p[at])
        at++;
    if (at < large.n || at < small.n)
        fail_msg("the answers differ: %.*s\n instead of: %.*s", STR_FMT(str_sub(buf_str(&small), at > 100 ? at - 100 : 0, 300)),
                 STR_FMT(str_sub(buf_str(&large), at > 100 ? at - 100 : 0, 300)));
    assert_true(has(buf_str(&large), " 7998 7999 8000\r\n"));
    assert_true(has(buf_str(&large), ",7995,7997,7999\r\n"));
    assert_true(has(buf_str(&large), "[MODIFIED 1:8000]"));
    assert_true(has(buf_str(&large), "[MODIFIED 1,3,5"));
    assert_true(has(buf_str(&large), "* VANISHED (EARLIER) 2,4"));
    assert_true(has(buf_str(&large), "* VANISHED 1,3"));
    buf_release(&large);
    buf_release(&small);
}

/* ---- a store that fails ---- */

static void deliver_some(struct world *w)
{
    struct buf large = BUF_INIT(TEXT_MAX);
    deliver(w, STR("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
                   "Content-Transfer-Encoding: base64\r\n\r\nbmVlZGxl\r\n--b--\r\n"));
    buf_add_z(&large, "Subject: large\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    while (large.n < 400000)
        buf_add_z(&large, "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\r\n");
    deliver(w, buf_str(&large));
    deliver(w, STR("Subject: x\r\n\r\nneedle\r\n"));
    buf_release(&large);
}

struct faulty {
    struct world w;
    struct imap_client c;
    struct buf want; /* the answer when nothing fails */
    unsigned refused, closed;
};

static void reopen(struct faulty *f)
{
    imap_client_close(&f->c);
    imap_client_open(&f->c, &f->w, SMALL);
    assert_true(has(ask(&f->c, "SELECT INBOX (CONDSTORE)"), "x OK"));
}

/* Whatever fails: the client gets the answer, or a NO behind whole responses, or the connection ends. */
static void judge(struct faulty *f, const char *command, struct str said, bool same)
{
    enum imap_answer answer = imap_client_judge(said, STR("x"));
    bool closed = pump_closed(&f->c.pump);
    if (answer == IMAP_ANSWER_NONSENSE || (answer == IMAP_ANSWER_CUT && !closed))
        fail_msg("%s: the session goes on after %.*s", command, STR_FMT(str_from(said, said.n > 200 ? said.n - 200 : 0)));
    if (answer == IMAP_ANSWER_CUT && has(said, "* BYE"))
        fail_msg("%s: something follows half a literal", command);
    bool ok = has(said, "\r\nx OK ") || str_starts(said, STR("x OK "));
    if (same && ok && !str_eq(said, buf_str(&f->want)))
        fail_msg("%s: another answer than without the fault\n got: %.*s\nwant: %.*s", command, STR_FMT(said),
                 STR_FMT(buf_str(&f->want)));
    f->refused += !ok && !closed;
    f->closed += closed;
}

static void fail_each(struct faulty *f, const char *command, unsigned kinds, unsigned more, bool same)
{
    for (uint64_t n = 1; n < 10000; n++) {
        struct kv_fault_plan plan = {.kinds = kinds, .at = n, .more = more, .class = ST_TEMP};
        kv_fault_plan(f->w.kv, &plan);
        struct str said = ask(&f->c, command);
        bool fired = kv_fault_fired(f->w.kv);
        kv_fault_plan(f->w.kv, NULL);
        judge(f, command, said, same);
        if (pump_closed(&f->c.pump))
            reopen(f);
        assert_true(has(ask(&f->c, "NOOP"), "x OK"));
        if (!fired)
            return;
    }
    fail_msg("%s: no end of faults", command);
}

static void test_failing_reads(void **state)
{
    static const char *const commands[] = {"FETCH 1:* (BODY.PEEK[] ENVELOPE)",
                                           "FETCH 1:* (UID BODY.PEEK[2] BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
                                           "UID FETCH 1:* (BINARY.SIZE[1] BINARY.PEEK[1])",
                                           "FETCH 1:* (THREADID BODYSTRUCTURE PREVIEW)",
                                           "FETCH 1:* (FLAGS UID)",
                                           "SEARCH TEXT needle",
                                           "SEARCH NOT BODY needle",
                                           "SEARCH OR SUBJECT x NOT SUBJECT y",
                                           "SEARCH SINCE 1-Jan-2000 UNSEEN",
                                           "SEARCH RETURN (MIN) MODSEQ 1"};
    struct faulty f = {.want = BUF_INIT(TEXT_MAX)};
    (void)state;
    open_world(&f.w);
    deliver_some(&f.w);
    imap_client_open(&f.c, &f.w, SMALL);
    assert_true(has(ask(&f.c, "SELECT INBOX (CONDSTORE)"), "x OK"));
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        buf_clear(&f.want);
        buf_add(&f.want, ask(&f.c, commands[i]));
        assert_int_equal(imap_client_judge(buf_str(&f.want), STR("x")), IMAP_ANSWER_WHOLE);
        fail_each(&f, commands[i], KV_FAULT_READ, 0, true);
        fail_each(&f, commands[i], KV_FAULT_READ, 1000, true);
    }
    assert_true(f.refused > 20);
    assert_true(f.closed > 2); /* inside literals */
    imap_client_close(&f.c);
    buf_release(&f.want);
    world_close(&f.w);
}

/* What was refused did not happen; what was acknowledged did. */
static void test_failing_writes(void **state)
{
    struct faulty f = {.want = BUF_INIT(TEXT_MAX)};
    (void)state;
    open_world(&f.w);
    for (int i = 0; i < 5; i++)
        deliver_some(&f.w);
    imap_client_open(&f.c, &f.w, SMALL);
    assert_true(has(ask(&f.c, "SELECT INBOX"), "x OK"));
    fail_each(&f, "STORE 1:5 +FLAGS (\\Flagged)", KV_FAULT_ANY, 0, false);
    expect(&f.c, "SEARCH FLAGGED", "* SEARCH 1 2 3 4 5\r\nx OK SEARCH completed\r\n");
    fail_each(&f, "STORE 1:2 +FLAGS.SILENT ($Work \\Deleted)", KV_FAULT_ANY, 1000, false);
    expect(&f.c, "SEARCH KEYWORD $work DELETED", "* SEARCH 1 2\r\nx OK SEARCH completed\r\n");
    unsigned refused = f.refused;
    fail_each(&f, "COPY 3:4 Archive", KV_FAULT_COMMIT, 1000, false);
    assert_true(f.refused > refused);
    assert_true(has(ask(&f.c, "STATUS Archive (MESSAGES)"), "(MESSAGES 2)"));
    fail_each(&f, "UID MOVE 3:4 Trash", KV_FAULT_ANY, 0, false);
    assert_true(has(ask(&f.c, "STATUS Trash (MESSAGES)"), "(MESSAGES 2)"));
    assert_true(has(ask(&f.c, "STATUS INBOX (MESSAGES)"), "(MESSAGES 13)"));
    fail_each(&f, "EXPUNGE", KV_FAULT_ANY, 0, false);
    assert_true(has(ask(&f.c, "STATUS INBOX (MESSAGES)"), "(MESSAGES 11)"));
    expect(&f.c, "SEARCH RETURN (COUNT) ALL", "* ESEARCH (TAG \"x\") COUNT 11\r\nx OK SEARCH completed\r\n");
    fail_each(&f, "FETCH 1 BODY[TEXT]", KV_FAULT_COMMIT, 1000, false);
    assert_int_equal(f.closed, 0);
    imap_client_close(&f.c);
    buf_release(&f.want);
    world_close(&f.w);
}

static int setup(void **state)
{
    struct err e = {0};
    struct settings *settings = settings_defaults();
    (void)state;
    settings_use(&settings);
    log_capture(log_quiet, NULL);
    must(world_credential(&credential, &e), &e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_release(&credential);
    log_capture(NULL, NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_long_answers),
        cmocka_unit_test(test_failing_reads),
        cmocka_unit_test(test_failing_writes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
