/* Digests: what was built is found again, of every message of the corpus; damage is noticed. */
#include "format/digest.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "format/charset.h"
#include "format/header.h"
#include "format/imap_render.h"

static const struct {
    const char *subject, *base;
    bool reply;
} subjects[] = {
    {"Hello", "Hello", false},
    {"Re: Hello", "Hello", true},
    {"RE : [list] Re[2]: Fwd: Hello (fwd) (FWD)", "Hello", true},
    {"[list] Hello", "Hello", false},
    {"[list] [x] Re: Hello", "Hello", true},
    {"[list]", "[list]", false},
    {"Re: [list]", "[list]", true},
    {"[fwd: Hello]", "Hello", true},
    {"[Fwd: [fwd: Re: Hello]]", "Hello", true},
    {"Fw: a   b\t c ", "a b c", true},
    {"Fwd[x]:y", "y", true},
    {"Regarding: this", "Regarding: this", false},
    {"=?utf-8?Q?Re:_Gr=C3=BC=C3=9Fe?=",
     "Gr\xc3\xbc\xc3\x9f"
     "e",
     true},
    {"", "", false},
    {"Re:", "", true},
    {"[[[[", "[[[[", false},
};

static void test_subjects(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        DEFER(buf_release) struct buf out = BUF_INIT(4096);
        bool reply = digest_base_subject(str_of(subjects[i].subject), &out);
        if (!str_eq(buf_str(&out), str_of(subjects[i].base)) || reply != subjects[i].reply)
            fail_msg("%s: got %s %d", subjects[i].subject, buf_z(&out), reply);
    }
}

static struct str load(const char *folder, const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *p = malloc(1 << 20);
    assert_non_null(p);
    struct str s = {p, fread(p, 1, 1 << 20, f)};
    fclose(f);
    return s;
}

static void free_str(struct str s)
{
    union {
        const char *p;
        void *v;
    } u = {.p = s.p};
    free(u.v);
}

static void build(struct str message, struct buf *record, struct digest *d)
{
    struct err e = {0};
    assert_int_equal(digest_build(message, record, &e), ST_OK);
    assert_int_equal(digest_open(buf_str(record), d, &e), ST_OK);
}

static void test_values(void **state)
{
    (void)state;
    struct str m = load("test/corpus", "reply-thread.eml"), id;
    DEFER(buf_release) struct buf record = BUF_INIT(DIGEST_SIZE_MAX);
    struct digest d;
    build(m, &record, &d);
    assert_int_equal(d.size, m.n);
    assert_int_equal(d.header_bytes, header_length(m));
    assert_true(d.flags & DIGEST_HAS_DATE && d.flags & DIGEST_REPLY && d.flags & DIGEST_HEADER_WHOLE);
    assert_false(d.flags & (DIGEST_ATTACHMENT | DIGEST_LIMITED | DIGEST_8BIT | DIGEST_FIELDS_CUT));
    assert_int_equal(d.sent_s, 1709713800);
    assert_int_equal(d.sent_zone_min, -480);
    assert_true(str_eq(d.subject_base, STR("LUNCH ON THURSDAY")));
    assert_true(str_eq(d.from_key, STR("CAROLYN")) && str_eq(d.from_display, STR("CAROLYN")));
    assert_true(str_eq(d.to_key, STR("ELINOR")) && str_eq(d.to_display, STR("ELINOR D.")));
    assert_true(str_eq(d.cc_key, STR("A")));
    assert_true(str_eq(d.message_id, STR("reply.1@xyz.com")));
    assert_true(str_eq(d.preview, STR("Yes, gladly.")));
    static const char *const ids[] = {"root@abcd.com", "mid1@abcd.com", "mid2@abcd.com", "corpus.1@abcd.com"};
    uint32_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_true(digest_reference_next(&d, &at, &id));
        assert_true(str_eq(id, str_of(ids[i])));
    }
    assert_false(digest_reference_next(&d, &at, &id)); /* In-Reply-To is among them */
    free_str(m);
}

static void test_previews(void **state)
{
    (void)state;
    static const struct {
        const char *file, *want;
        unsigned attachment;
    } cases[] = {
        {"alternative.eml",
         "Gr\xc3\xbc\xc3\x9f"
         "e aus K\xc3\xb6ln, this line is long and therefore it is broken softly.",
         0},
        {"mixed-attachment.eml", "The report is attached.", 1},
        {"related.eml", "See", 0},
        {"charset-koi8-r.eml",
         "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 \xd0\xb8\xd0\xb7 \xd0\x9c\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd1\x8b", 0},
        {"signed.eml", "Signed text.", 0},
        {"dsn.eml", "Your message could not be delivered.", 0},
        {"nested-rfc822.eml", "See below.", 1},
        {"calendar.eml", "You are invited.", 0},
        {"empty.eml", "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str m = load("test/corpus", cases[i].file);
        DEFER(buf_release) struct buf record = BUF_INIT(DIGEST_SIZE_MAX);
        struct digest d;
        build(m, &record, &d);
        if (!str_eq(d.preview, str_of(cases[i].want)) || (d.flags & DIGEST_ATTACHMENT) != cases[i].attachment)
            fail_msg("%s: \"%.*s\" flags %x", cases[i].file, STR_FMT(d.preview), d.flags);
        free_str(m);
    }
}

/* All that the record says must be what the message says. */
static void compare(const char *name, struct str m, const struct digest *d)
{
    struct arena arena = ARENA_INIT(8 << 20);
    struct mime_tree tree;
    struct digest_part part;
    assert_true(mime_parse(&arena, m, &MIME_LIMITS_DEFAULT, &tree));
    DEFER(buf_release) struct buf structure = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf envelope = BUF_INIT(1 << 20);
    imap_render_body(&arena, tree.root, true, &structure);
    imap_render_envelope(&arena, tree.root->envelope, &envelope);
    if (!str_eq(d->bodystructure, buf_str(&structure)) || !str_eq(d->envelope, buf_str(&envelope)))
        fail_msg("%s: structure or envelope", name);
    size_t parts = 0;
    for (uint32_t at = 0; digest_part_next(d, &at, &part); parts++) {
        struct digest_part again;
        bool numbered = !(part.message && part.kind == MIME_MULTIPART);
        const struct mime_part *want = mime_part_find(&tree, part.path, part.path_count);
        if (part.message && part.kind == MIME_MULTIPART && part.path_count)
            want = want ? want->first_child : NULL;
        if (!want || want->header_offset != part.header_offset || want->body_offset != part.body_offset ||
            want->body_length != part.body_bytes || want->lines != part.lines || want->encoding != part.encoding)
            fail_msg("%s: part %zu", name, parts);
        if (numbered)
            assert_true(digest_part_find(d, part.path, part.path_count, &again) && again.header_offset == part.header_offset);
    }
    assert_int_equal(parts, tree.parts);
    struct header_iter it;
    struct header_field field;
    struct digest_fields fields;
    struct digest_field got;
    header_first(&it, m);
    digest_fields_first(&fields);
    while (header_next(&it, &field)) {
        assert_true(digest_fields_next(d, &fields, &got));
        assert_true(got.offset == field.offset && got.bytes == field.raw.n && str_eq(got.name, str_upto(field.name, 255)));
    }
    assert_false(digest_fields_next(d, &fields, &got));
    arena_release(&arena);
}

static void test_corpus(void **state)
{
    (void)state;
    struct dirent **names;
    int n = scandir("test/corpus", &names, NULL, alphasort), messages = 0;
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        if (str_ends(str_of(names[i]->d_name), STR(".eml"))) {
            struct str m = load("test/corpus", names[i]->d_name);
            DEFER(buf_release) struct buf record = BUF_INIT(DIGEST_SIZE_MAX);
            struct digest d;
            build(m, &record, &d);
            compare(names[i]->d_name, m, &d);
            assert_true(str_is_utf8(d.preview) && str_is_utf8(d.subject_base) && str_is_utf8(d.from_display));
            free_str(m);
            messages++;
        }
        free(names[i]);
    }
    free(names);
    assert_true(messages >= 60);
}

static void test_find(void **state)
{
    (void)state;
    struct str m = load("test/corpus", "nested-rfc822.eml");
    DEFER(buf_release) struct buf record = BUF_INIT(DIGEST_SIZE_MAX);
    struct digest d;
    struct digest_part p;
    build(m, &record, &d);
    assert_true(digest_part_find(&d, NULL, 0, &p) && p.header_offset == 0 && p.header_bytes == d.header_bytes);
    assert_true(digest_part_find(&d, (const uint32_t[]){2, 2}, 2, &p));
    assert_true(str_eq(p.subtype, STR("html")));
    assert_true(str_eq(str_sub(m, p.body_offset, p.body_bytes), STR("<b>inner html</b>")));
    assert_true(digest_message_find(&d, (const uint32_t[]){2}, 1, &p));
    assert_true(str_starts(str_sub(m, p.header_offset, p.header_bytes), STR("From: \"Marianne, D.\"")));
    assert_false(digest_message_find(&d, (const uint32_t[]){1}, 1, &p));
    assert_false(digest_part_find(&d, (const uint32_t[]){3}, 1, &p));
    struct digest_fields it;
    struct digest_field f;
    digest_fields_first(&it);
    assert_true(digest_fields_find(&d, STR("sUBJECT"), &it, &f));
    assert_true(str_eq(str_sub(m, f.offset, f.bytes), STR("Subject: Fwd: nested\r\n")));
    assert_false(digest_fields_find(&d, STR("Subject"), &it, &f));
    free_str(m);
}

/* Hostile sizes end in a record within bounds that opens. */
static void test_large(void **state)
{
    (void)state;
    static const char *const shapes[][3] = {
        {"To: ", "\"a\" <aaaaaaaaaaaaaaaaaaaaaaa@example.com>,\r\n ", "x@y\r\n\r\nbody"},
        {"X: y\r\n", "X-Field-With-A-Long-Name-To-Fill-The-Table: 1\r\n", "\r\nbody"},
        {"References: ", "<1234567890123456789012345678901234567890@example.com>\r\n ", "\r\n\r\nbody"},
        {"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
         "--b\r\nContent-Type: x/y; a=1; b=2; c=3; d=4; e=5; name=\"a long name.txt\"\r\n\r\nx\r\n", "--b--"},
        {"Subject: ", "=?utf-8?Q?=C3=BC?= ", "\r\n\r\nbody"},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        DEFER(buf_release) struct buf m = BUF_INIT(8 << 20);
        DEFER(buf_release) struct buf record = BUF_INIT(DIGEST_SIZE_MAX);
        struct digest d;
        buf_add_z(&m, shapes[i][0]);
        for (int k = 0; k < 30000; k++)
            buf_add_z(&m, shapes[i][1]);
        buf_add_z(&m, shapes[i][2]);
        build(buf_str(&m), &record, &d);
        assert_int_equal(d.size, m.n);
        assert_true(d.id_count <= DIGEST_REFERENCES_MAX + 10);
        assert_true(i != 1 || d.flags & DIGEST_FIELDS_CUT);
        assert_true(i != 3 || d.flags & DIGEST_LIMITED);
    }
}

static void test_damage(void **state)
{
    (void)state;
    struct str m = load("test/corpus", "mixed-attachment.eml");
    DEFER(buf_release) struct buf record = BUF_INIT(DIGEST_SIZE_MAX);
    struct digest d;
    build(m, &record, &d);
    for (size_t n = 0; n < record.n; n++)
        assert_int_equal(digest_open(str_upto(buf_str(&record), n), &d, NULL), ST_CORRUPT);
    record.p[0] ^= 1;
    assert_int_equal(digest_open(buf_str(&record), &d, NULL), ST_CORRUPT);
    free_str(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subjects), cmocka_unit_test(test_values), cmocka_unit_test(test_previews),
        cmocka_unit_test(test_corpus),   cmocka_unit_test(test_find),   cmocka_unit_test(test_large),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
