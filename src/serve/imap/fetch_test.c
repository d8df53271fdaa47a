/* FETCH of every message of the corpus and of some that are large: whatever section is asked for, the answer is byte for byte what
 * the MIME tree says, with a large output buffer and with the smallest one. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "format/imap_render.h"
#include "format/mime.h"
#include "rt/log.h"
#include "rt/settings.h"
#include "serve/testing/imap_client.h"

enum { FILES_MAX = 200, PARTS_MAX = 40, PATH_MAX_PARTS = 40, MESSAGE_MAX = 4 << 20, ARENA_MAX = 256 << 20 };

struct subject {
    char name[400];
    struct buf bytes;
    struct arena arena;
    struct mime_tree tree;
};

struct test {
    struct world world;
    struct buf credential;
    struct subject subjects[FILES_MAX];
    size_t count;
    struct imap_client client;
    const struct subject *now;
    unsigned number; /* of the message */
    struct buf want, command;
    size_t asked;
};

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

/* ---- asking ---- */

/* `value` behind "ITEM " is what must come. */
static void expect(struct test *t, const char *item, const char *answered, struct str value)
{
    buf_clear(&t->command);
    buf_printf(&t->command, "x FETCH %u %s", t->number, item);
    buf_clear(&t->want);
    buf_printf(&t->want, "* %u FETCH (%s ", t->number, answered);
    buf_add(&t->want, value);
    buf_add_z(&t->want, ")\r\nx OK FETCH completed\r\n");
    struct str got = imap_client_ask(&t->client, buf_str(&t->command));
    t->asked++;
    if (t->client.pump.breach)
        fail_msg("%s: %s: %s", t->now->name, item, t->client.pump.breach);
    if (str_eq(got, buf_str(&t->want)))
        return;
    size_t at = 0;
    while (at < got.n && at < t->want.n && got.p[at] == t->want.p[at])
        at++;
    size_t from = at > 60 ? at - 60 : 0;
    fail_msg("%s: %s: %zu bytes instead of %zu, differs at %zu\n got: %.*s\nwant: %.*s", t->now->name, item, got.n, t->want.n, at,
             STR_FMT(str_sub(got, from, 200)), STR_FMT(str_sub(buf_str(&t->want), from, 200)));
}

static void literal(struct str bytes, bool literal8, struct buf *out)
{
    buf_clear(out);
    buf_printf(out, "%s{%zu}\r\n", literal8 ? "~" : "", bytes.n);
    buf_add(out, bytes);
}

static void expect_bytes(struct test *t, const char *section, struct str bytes)
{
    char item[700], answered[700];
    struct buf value = BUF_INIT(MESSAGE_MAX + 100);
    snprintf(item, sizeof item, "BODY.PEEK[%s]", section);
    snprintf(answered, sizeof answered, "BODY[%s]", section);
    literal(bytes, false, &value);
    expect(t, item, answered, buf_str(&value));
    buf_release(&value);
}

static void expect_partial(struct test *t, const char *section, struct str bytes)
{
    const size_t offsets[] = {0, 1, bytes.n / 2, bytes.n ? bytes.n - 1 : 0, bytes.n, bytes.n + 1, 100000000},
                 lengths[] = {1, 7, 20000, bytes.n ? bytes.n : 1, 100000000};
    struct buf value = BUF_INIT(MESSAGE_MAX + 100);
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            char item[700], answered[700];
            snprintf(item, sizeof item, "BODY.PEEK[%s]<%zu.%zu>", section, offsets[i], lengths[k]);
            snprintf(answered, sizeof answered, "BODY[%s]<%zu>", section, offsets[i]);
            literal(str_sub(bytes, offsets[i], lengths[k]), false, &value);
            expect(t, item, answered, buf_str(&value));
        }
    buf_release(&value);
}

static void expect_nil(struct test *t, const char *section)
{
    char item[700], answered[700];
    snprintf(item, sizeof item, "BODY.PEEK[%s]", section);
    snprintf(answered, sizeof answered, "BODY[%s]", section);
    expect(t, item, answered, STR("NIL"));
}

/* ---- what must come ---- */

static struct str header_of(const struct subject *s, const struct mime_part *p)
{
    return str_sub(buf_str(&s->bytes), p->header_offset, p->header_length);
}
static struct str body_of(const struct subject *s, const struct mime_part *p)
{
    return str_sub(buf_str(&s->bytes), p->body_offset, p->body_length);
}

static bool is_blank(struct str header)
{
    struct header_iter it;
    struct header_field field;
    size_t fields = 0;
    header_first(&it, header);
    while (header_next(&it, &field))
        fields = field.offset + field.raw.n;
    return header.n > fields; /* something stands behind the last field: the empty line */
}

/* The fields whose names are (not) in the list, and the empty line. */
static void expect_fields(struct test *t, const char *path, struct str header)
{
    static const char *const lists[] = {"SUBJECT", "from TO Cc dAtE", "Received X-Nothing", "Content-Type"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (int not = 0; not < 2; not ++) {
            char section[600];
            struct buf want = BUF_INIT(MESSAGE_MAX);
            struct header_iter it;
            struct header_field field;
            header_first(&it, header);
            while (header_next(&it, &field)) {
                struct str rest = str_of(lists[i]), name;
                bool listed = false;
                while (str_split(&rest, ' ', &name))
                    listed = listed || str_eq_nocase(name, field.name);
                if (field.name.n && listed == !not )
                    buf_add(&want, field.raw);
            }
            if (is_blank(header))
                buf_add_z(&want, "\r\n");
            snprintf(section, sizeof section, "%s%sHEADER.FIELDS%s (%s)", path, *path ? "." : "", not ? ".NOT" : "", lists[i]);
            expect_bytes(t, section, want.n ? buf_str(&want) : STR(""));
            if (i == 1)
                expect_partial(t, section, want.n ? buf_str(&want) : STR(""));
            buf_release(&want);
        }
}

/* Decoded, and in text every line end is CRLF: byte by byte, so that nothing of the code under test is used but the decoder. */
static void decoded(const struct subject *s, const struct mime_part *p, struct buf *out)
{
    struct buf raw = BUF_INIT(MESSAGE_MAX);
    bool text = str_eq_nocase(p->type, STR("text"));
    (void)transfer_decode_all(p->encoding, body_of(s, p), &raw);
    for (size_t i = 0; i < raw.n; i++) {
        if (text && raw.p[i] == '\n' && (i == 0 || raw.p[i - 1] != '\r'))
            buf_add_c(out, '\r');
        buf_add_c(out, raw.p[i]);
    }
    buf_release(&raw);
}

static void expect_binary(struct test *t, const char *path, const struct mime_part *p)
{
    static const size_t offsets[] = {3, 1000, 100000, 200000};
    char item[700], answered[700];
    struct buf want = BUF_INIT(MESSAGE_MAX), value = BUF_INIT(MESSAGE_MAX);
    if (p->encoding == TRANSFER_UNKNOWN)
        return;
    decoded(t->now, p, &want);
    bool nul = want.n && memchr(want.p, '\0', want.n);
    snprintf(item, sizeof item, "BINARY.PEEK[%s]", path);
    snprintf(answered, sizeof answered, "BINARY[%s]", path);
    literal(want.n ? buf_str(&want) : STR(""), nul, &value);
    expect(t, item, answered, buf_str(&value));
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        snprintf(item, sizeof item, "BINARY.PEEK[%s]<%zu.5000>", path, offsets[i]);
        snprintf(answered, sizeof answered, "BINARY[%s]<%zu>", path, offsets[i]);
        literal(str_sub(buf_str(&want), offsets[i], 5000), nul, &value);
        expect(t, item, answered, buf_str(&value));
    }
    snprintf(item, sizeof item, "BINARY.SIZE[%s]", path);
    buf_clear(&value);
    buf_add_u64(&value, want.n);
    expect(t, item, item, buf_str(&value));
    buf_release(&want);
    buf_release(&value);
}

/* ---- walking through the parts ---- */

struct place {
    uint32_t path[PATH_MAX_PARTS];
    size_t n;
};

static void path_text(const struct place *at, char *to, size_t room)
{
    size_t n = 0;
    to[0] = '\0';
    for (size_t i = 0; i < at->n; i++)
        n += (size_t)snprintf(to + n, room - n, "%s%u", i ? "." : "", at->path[i]);
}

static void walk(struct test *t, const struct mime_part *p, struct place *at, size_t *parts);

/* The parts of a message, or of a multipart, below the numbers in `at`. */
static void walk_below(struct test *t, const struct mime_part *p, struct place *at, size_t *parts)
{
    char path[500], missing[520];
    uint32_t number = 0;
    if (at->n + 1 >= PATH_MAX_PARTS)
        return;
    at->n++;
    if (p->kind != MIME_MULTIPART) {
        at->path[at->n - 1] = number = 1;
        walk(t, p, at, parts);
    }
    for (const struct mime_part *c = p->first_child; p->kind == MIME_MULTIPART && c; c = c->next) {
        at->path[at->n - 1] = ++number;
        walk(t, c, at, parts);
    }
    at->n--;
    path_text(at, path, sizeof path);
    snprintf(missing, sizeof missing, "%s%s%u", path, *path ? "." : "", number + 1);
    if (*parts < PARTS_MAX)
        expect_nil(t, missing);
}

static void walk_message(struct test *t, const struct mime_part *m, const struct place *at)
{
    char path[500], section[600];
    path_text(at, path, sizeof path);
    const char *dot = *path ? "." : "";
    snprintf(section, sizeof section, "%s%sHEADER", path, dot);
    expect_bytes(t, section, header_of(t->now, m));
    expect_partial(t, section, header_of(t->now, m));
    snprintf(section, sizeof section, "%s%sTEXT", path, dot);
    expect_bytes(t, section, body_of(t->now, m));
    expect_fields(t, path, header_of(t->now, m));
}

static void walk(struct test *t, const struct mime_part *p, struct place *at, size_t *parts)
{
    char path[500], section[600];
    if (++*parts > PARTS_MAX)
        return;
    path_text(at, path, sizeof path);
    expect_bytes(t, path, body_of(t->now, p));
    snprintf(section, sizeof section, "%s.MIME", path);
    expect_bytes(t, section, header_of(t->now, p));
    if (p->kind == MIME_LEAF)
        expect_binary(t, path, p);
    if (p->kind == MIME_MESSAGE) {
        walk_message(t, p->first_child, at);
        walk_below(t, p->first_child, at, parts);
    } else if (p->kind == MIME_MULTIPART) {
        walk_below(t, p, at, parts);
    } else {
        snprintf(section, sizeof section, "%s.HEADER", path);
        expect_nil(t, section);
    }
}

/* ---- a message ---- */

static void expect_rendered(struct test *t)
{
    const struct subject *s = t->now;
    struct arena scratch = ARENA_INIT(ARENA_MAX);
    struct buf text = BUF_INIT(MESSAGE_MAX);
    imap_render_envelope(&scratch, s->tree.root->envelope, &text);
    expect(t, "ENVELOPE", "ENVELOPE", buf_str(&text));
    buf_clear(&text);
    imap_render_body(&scratch, s->tree.root, false, &text);
    expect(t, "BODY", "BODY", buf_str(&text));
    buf_clear(&text);
    imap_render_body(&scratch, s->tree.root, true, &text);
    expect(t, "BODYSTRUCTURE", "BODYSTRUCTURE", buf_str(&text));
    buf_release(&text);
    arena_release(&scratch);
}

static void expect_rev1(struct test *t)
{
    struct buf value = BUF_INIT(MESSAGE_MAX + 100);
    const struct subject *s = t->now;
    buf_add_u64(&value, s->bytes.n);
    expect(t, "RFC822.SIZE", "RFC822.SIZE", buf_str(&value));
    literal(s->bytes.n ? buf_str(&s->bytes) : STR(""), false, &value);
    expect(t, "RFC822", "RFC822", buf_str(&value));
    literal(header_of(s, s->tree.root), false, &value);
    expect(t, "RFC822.HEADER", "RFC822.HEADER", buf_str(&value));
    literal(body_of(s, s->tree.root), false, &value);
    expect(t, "RFC822.TEXT", "RFC822.TEXT", buf_str(&value));
    buf_release(&value);
}

static void check_message(struct test *t, size_t i)
{
    struct place at = {.n = 0};
    size_t parts = 0;
    t->now = &t->subjects[i];
    t->number = (unsigned)i + 1;
    expect_bytes(t, "", t->now->bytes.n ? buf_str(&t->now->bytes) : STR(""));
    expect_partial(t, "", t->now->bytes.n ? buf_str(&t->now->bytes) : STR(""));
    expect_rev1(t);
    expect_rendered(t);
    walk_message(t, t->now->tree.root, &at);
    walk_below(t, t->now->tree.root, &at, &parts);
}

/* ---- the subjects ---- */

static void deliver(struct test *t)
{
    struct err e = {0};
    struct subject *s = &t->subjects[t->count++];
    struct str bytes = s->bytes.n ? buf_str(&s->bytes) : STR("");
    arena_init(&s->arena, ARENA_MAX);
    assert_true(mime_parse(&s->arena, bytes, &MIME_LIMITS_DEFAULT, &s->tree));
    must(world_deliver(&t->world, STR("carolyn@xyz.com"), bytes, &e), &e);
}

static struct buf *subject_new(struct test *t, const char *name)
{
    struct subject *s = &t->subjects[t->count];
    snprintf(s->name, sizeof s->name, "%s", name);
    buf_init(&s->bytes, MESSAGE_MAX);
    return &s->bytes;
}

static int is_eml(const struct dirent *d) { return str_ends(str_of(d->d_name), STR(".eml")); }

static void deliver_corpus(struct test *t)
{
    struct dirent **names;
    int n = scandir("test/corpus", &names, is_eml, alphasort);
    assert_true(n > 0 && n < FILES_MAX - 10);
    for (int i = 0; i < n; i++) {
        char path[400];
        snprintf(path, sizeof path, "test/corpus/%s", names[i]->d_name);
        struct buf *b = subject_new(t, path);
        FILE *f = fopen(path, "re");
        char *to = buf_reserve(b, 1 << 20);
        assert_non_null(f);
        assert_non_null(to);
        buf_grew(b, fread(to, 1, 1 << 20, f));
        fclose(f);
        deliver(t);
        free(names[i]);
    }
    free(names);
}

/* Larger than any buffer: text with line ends of both kinds, base64 that is decoded in pieces, with NULs and without. */
static void deliver_large(struct test *t)
{
    struct buf *b = subject_new(t, "large text");
    buf_add_z(b, "Subject: large\r\n\r\n");
    for (int i = 0; i < 30000; i++)
        buf_printf(b, "line %d%s", i, i % 3 ? "\r\n" : "\n");
    deliver(t);
    b = subject_new(t, "a CR at the end of each piece");
    buf_add_z(b, "Subject: x\r\n\r\n.");
    for (int i = 0; i < 5000; i++)
        buf_add_z(b, "62 bytes and the line end so that pieces end between CR and LF\r\n");
    deliver(t);
    b = subject_new(t, "no empty line in an attached message");
    buf_add_z(b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
                 "Subject: inner\r\nTo: a@b.example\r\n--b--\r\n");
    deliver(t);
    b = subject_new(t, "large parts");
    buf_add_z(b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/x\r\nContent-Transfer-Encoding: "
                 "base64\r\n\r\n");
    for (int i = 0; i < 8000; i++)
        buf_add_z(b, i % 2 ? "b25lCnR3bwp0aHJlZQ0KZm91cgpmaXZlCnNpeAo\r\n" : "bGluZQpsaW5lDQpsaW5lCg==\r\n");
    buf_add_z(b, "--b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    for (int i = 0; i < 9000; i++)
        buf_add_z(b, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v\r\n");
    buf_add_z(b, "--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n");
    for (int i = 0; i < 9000; i++)
        buf_add_z(b, i % 2 ? "caf=C3=A9 and a soft end=\r\n" : "trailing  \r\nbare\n=3D=\n");
    buf_add_z(b, "--b--\r\n");
    deliver(t);
    b = subject_new(t, "large header");
    for (int i = 0; i < 4000; i++)
        buf_printf(b, "X-Field-%d: some value that makes it long %d\r\n%s", i, i, i % 100 ? "" : "Subject: again\r\n");
    buf_add_z(b, "\r\nbody\r\n");
    deliver(t);
}

/* ---- tests ---- */

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof *t);
    struct err e = {0};
    struct settings *settings = settings_defaults();
    settings_use(&settings);
    log_capture(log_quiet, NULL);
    buf_init(&t->credential, 4096);
    buf_init(&t->want, 2 * MESSAGE_MAX);
    buf_init(&t->command, 4096);
    must(world_credential(&t->credential, &e), &e);
    must(world_open(&t->world, buf_str(&t->credential), &e), &e);
    deliver_corpus(t);
    deliver_large(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    world_close(&t->world);
    for (size_t i = 0; i < t->count; i++) {
        buf_release(&t->subjects[i].bytes);
        arena_release(&t->subjects[i].arena);
    }
    buf_release(&t->credential);
    buf_release(&t->want);
    buf_release(&t->command);
    free(t);
    log_capture(NULL, NULL);
    return 0;
}

static void run_with_room(struct test *t, size_t room)
{
    imap_client_open(&t->client, &t->world, room);
    imap_client_ask(&t->client, STR("x EXAMINE INBOX"));
    t->asked = 0;
    for (size_t i = 0; i < t->count; i++)
        check_message(t, i);
    assert_true(t->asked > 10000);
    imap_client_close(&t->client);
}

static void test_large_output(void **state) { run_with_room(*state, SESSION_OUTPUT_MAX); }
static void test_small_output(void **state) { run_with_room(*state, SESSION_OUTPUT_LOW + 1); }

/* All messages in one command say what each one alone says. */
static void test_all_at_once(void **state)
{
    struct test *t = *state;
    static const char items[] = "(UID RFC822.SIZE BODY.PEEK[]<0.50> BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODYSTRUCTURE)";
    struct buf each = BUF_INIT(64 << 20);
    char line[300];
    imap_client_open(&t->client, &t->world, SESSION_OUTPUT_LOW + 1);
    imap_client_ask(&t->client, STR("x EXAMINE INBOX"));
    for (size_t i = 1; i <= t->count; i++) {
        snprintf(line, sizeof line, "x FETCH %zu %s", i, items);
        struct str said = imap_client_ask(&t->client, str_of(line));
        assert_true(str_ends(said, STR("x OK FETCH completed\r\n")));
        buf_add(&each, str_upto(said, said.n - strlen("x OK FETCH completed\r\n")));
    }
    buf_add_z(&each, "x OK FETCH completed\r\n");
    snprintf(line, sizeof line, "x FETCH 1:* %s", items);
    assert_true(str_eq(imap_client_ask(&t->client, str_of(line)), buf_str(&each)));
    buf_release(&each);
    imap_client_close(&t->client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_output),
        cmocka_unit_test(test_small_output),
        cmocka_unit_test(test_all_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
