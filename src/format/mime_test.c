/* MIME trees: where parts begin and end, limits, part numbers, decoded text. */
#include "format/mime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"

/* The tree as text: type/subtype[body]{children}, lines behind a '#'. */
static void tree_text(struct str message, const struct mime_part *part, struct buf *out)
{
    buf_add(out, part->type);
    buf_add_c(out, '/');
    buf_add(out, part->subtype);
    if (!part->first_child) {
        buf_add_c(out, '[');
        buf_add(out, str_sub(message, part->body_offset, part->body_length));
        buf_add_c(out, ']');
    }
    buf_add_c(out, '#');
    buf_add_u64(out, part->lines);
    if (part->first_child)
        buf_add_c(out, '{');
    for (const struct mime_part *child = part->first_child; child; child = child->next) {
        tree_text(message, child, out);
        buf_add_c(out, child->next ? ' ' : '}');
    }
}

#define MULTI(b) "Content-Type: multipart/mixed; boundary=" b "\r\n\r\n"

static const struct {
    const char *message, *want;
} trees[] = {
    {"", "text/plain[]#0"},
    {"x", "text/plain[]#0"},
    {"\r\nx", "text/plain[x]#0"},
    {"A: b\r\n\r\nx\r\ny\r\n", "text/plain[x\r\ny\r\n]#2"},
    {"Content-Type: image/png\n\nx", "image/png[x]#0"},
    {"Content-Type: text\n\nx", "text/plain[x]#0"},
    {MULTI("b") "pre\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n\r\n--b--\r\npost\r\n",
     "multipart/mixed#10{text/plain[one]#0 text/plain[two\r\n]#1}"},
    {MULTI("b") "--b\n\none\n--b--\n", "multipart/mixed#4{text/plain[one]#0}"},
    {MULTI("b") "--b\r\n\r\n--b\r\n\r\n\r\n--b--", "multipart/mixed#5{text/plain[]#0 text/plain[]#0}"},
    {MULTI("b") "--b\r\nA: b\r\n--b--\r\n", "multipart/mixed#3{text/plain[]#0}"},
    {MULTI("b") "--b\r\n--b\r\n\r\nx\r\n--b--\r\n", "multipart/mixed#5{text/plain[]#0 text/plain[x]#0}"},
    {MULTI("b") "--b\r\n\r\ncut off", "multipart/mixed#2{text/plain[cut off]#0}"},
    {MULTI("b") "nothing", "multipart/mixed[nothing]#0"},
    {"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "multipart/mixed[--b\r\n\r\nx\r\n--b--\r\n]#4"},
    /* the longer boundary is not taken for the shorter */
    {MULTI("b") "--b\r\n" MULTI("bb") "--bb\r\n\r\n1\r\n--bb--\r\n--b\r\n\r\n2\r\n--b--\r\n",
     "multipart/mixed#11{multipart/mixed#3{text/plain[1]#0} text/plain[2]#0}"},
    {MULTI("bb") "--bb\r\n" MULTI("b") "--b\r\n\r\n1\r\n--b--\r\n--bb\r\n\r\n2\r\n--bb--\r\n",
     "multipart/mixed#11{multipart/mixed#3{text/plain[1]#0} text/plain[2]#0}"},
    /* an outer boundary ends what is inside */
    {MULTI("o") "--o\r\n" MULTI("i") "--i\r\n\r\n1\r\n--o\r\n\r\n2\r\n--o--\r\n",
     "multipart/mixed#10{multipart/mixed#2{text/plain[1]#0} text/plain[2]#0}"},
    {MULTI("b") "--b \t\r\n\r\nx\r\n--b-- \r\n", "multipart/mixed#4{text/plain[x]#0}"},
    {MULTI("b") "--b junk\r\n\r\nx\r\n--b--junk\r\n", "multipart/mixed#4{text/plain[x]#0}"},
    {MULTI("\"a b \"") "--a b\r\n\r\nx\r\n--a b--\r\n", "multipart/mixed#4{text/plain[x]#0}"},
    {MULTI("b") " --b\r\n--c\r\n-b\r\n--", "multipart/mixed[ --b\r\n--c\r\n-b\r\n--]#3"},
    {"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: s\r\n\r\nx\r\n--b--\r\n",
     "multipart/digest#6{message/rfc822#2{text/plain[x]#0}}"},
    {"Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\nx\r\n", "message/rfc822#3{text/html[x\r\n]#1}"},
    {"Content-Type: message/rfc822", "message/rfc822#0{text/plain[]#0}"},
};

static void test_trees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        struct arena arena = ARENA_INIT(1 << 20);
        struct mime_tree tree;
        DEFER(buf_release) struct buf got = BUF_INIT(4096);
        struct str message = str_of(trees[i].message);
        assert_true(mime_parse(&arena, message, &MIME_LIMITS_DEFAULT, &tree));
        tree_text(message, tree.root, &got);
        if (!str_eq(buf_str(&got), str_of(trees[i].want)))
            fail_msg("case %zu:\n got %s\nwant %s", i, buf_z(&got), trees[i].want);
        assert_false(tree.limited);
        arena_release(&arena);
    }
}

static void test_fields(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(1 << 20);
    struct mime_tree tree;
    struct str m = STR(
        "From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-ID: <i@d>\r\n"
        "Content-Description: a\r\n b\r\nContent-Transfer-Encoding: Base64\r\nContent-Disposition: attachment; filename=\"f\"\r\n"
        "Content-MD5: m==\r\nContent-Language: en, de\r\nContent-Location: http://x/\r\nSubject: one\r\nSubject: two\r\n\r\n"
        "R3LDvMOfZQ==\r\n");
    assert_true(mime_parse(&arena, m, &MIME_LIMITS_DEFAULT, &tree));
    const struct mime_part *p = tree.root;
    assert_true(str_eq(p->id, STR("<i@d>")));
    assert_true(str_eq(p->description, STR("a b")));
    assert_int_equal(p->encoding, TRANSFER_BASE64);
    assert_true(str_eq(p->disposition, STR("attachment")));
    assert_true(str_eq(p->md5, STR("m==")));
    assert_true(str_eq(p->languages, STR("en, de")));
    assert_true(str_eq(p->location, STR("http://x/")));
    assert_true(str_eq(p->envelope->subject, STR(" one")));
    assert_true(p->has_mime_version && p->has_content_type);
    assert_null(p->envelope->to.p);
    assert_true(str_eq(mime_filename(&arena, p), STR("f")));
    DEFER(buf_release) struct buf text = BUF_INIT(100);
    mime_text(m, p, &text);
    assert_string_equal(buf_z(&text), "Gr\xc3\xbc\xc3\x9f"
                                      "e");
    assert_true(mime_is(p, STR("TEXT"), STR("")));
    assert_false(mime_is(p, STR("text"), STR("html")));
    arena_release(&arena);
}

static void test_find(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(1 << 20);
    struct mime_tree tree;
    struct str m = STR(MULTI("o") "--o\r\nContent-Type: text/a\r\n\r\n1\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n" MULTI(
        "i") "--i\r\nContent-Type: text/b\r\n\r\n2.1\r\n--i\r\nContent-Type: text/c\r\n\r\n2.2\r\n--i--\r\n--o\r\nContent-Type: "
             "message/"
             "rfc822\r\n\r\nContent-Type: text/d\r\n\r\n3.1\r\n--o--\r\n");
    assert_true(mime_parse(&arena, m, &MIME_LIMITS_DEFAULT, &tree));
    static const struct {
        uint32_t path[4];
        size_t n;
        const char *subtype; /* NULL: not there */
    } cases[] = {
        {{0}, 0, "mixed"},  {{1}, 1, "a"},     {{2}, 1, "rfc822"},   {{2, 1}, 2, "b"},     {{2, 2}, 2, "c"},
        {{3}, 1, "rfc822"}, {{3, 1}, 2, "d"},  {{4}, 1, NULL},       {{0}, 1, NULL},       {{1, 1}, 2, NULL},
        {{2, 3}, 2, NULL},  {{3, 2}, 2, NULL}, {{3, 1, 1}, 3, NULL}, {{2, 1, 1}, 3, NULL}, {{UINT32_MAX}, 1, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mime_part *p = mime_part_find(&tree, cases[i].path, cases[i].n);
        if ((p != NULL) != (cases[i].subtype != NULL) || (p && !str_eq(p->subtype, str_of(cases[i].subtype))))
            fail_msg("case %zu: %.*s", i, STR_FMT(p ? p->subtype : STR("none")));
    }
    assert_true(
        mime_parse(&arena, STR("\r\nx"), &MIME_LIMITS_DEFAULT, &tree)); /* part 1 of a message without multipart is its body */
    assert_true(mime_part_find(&tree, (const uint32_t[]){1}, 1) == tree.root);
    assert_null(mime_part_find(&tree, (const uint32_t[]){1, 1}, 2));
    arena_release(&arena);
}

static size_t depth_of(const struct mime_part *part)
{
    size_t depth = 0;
    for (; part->first_child; part = part->first_child)
        depth++;
    return depth;
}

static void test_limits(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT(8 << 20);
    struct mime_tree tree;
    DEFER(buf_release) struct buf m = BUF_INIT(1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_printf(&m, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
    assert_true(mime_parse(&arena, buf_str(&m), &MIME_LIMITS_DEFAULT, &tree));
    assert_true(tree.limited);
    assert_int_equal(depth_of(tree.root), MIME_LIMITS_DEFAULT.depth);
    buf_clear(&m);
    for (int i = 0; i < 10000; i++)
        buf_add_z(&m, "Content-Type: message/rfc822\r\n\r\n");
    struct mime_limits deep = MIME_LIMITS_DEFAULT;
    deep.depth = 100000;
    assert_true(mime_parse(&arena, buf_str(&m), &deep, &tree));
    assert_true(tree.limited && depth_of(tree.root) <= 64);
    buf_clear(&m);
    buf_add_z(&m, MULTI("b"));
    for (int i = 0; i < 5000; i++)
        buf_add_z(&m, "--b\r\n\r\nx\r\n");
    buf_add_z(&m, "--b--\r\n");
    assert_true(mime_parse(&arena, buf_str(&m), &MIME_LIMITS_DEFAULT, &tree));
    assert_true(tree.limited);
    assert_int_equal(tree.parts, MIME_LIMITS_DEFAULT.parts);
    const struct mime_part *last = tree.root->first_child;
    while (last->next)
        last = last->next;
    assert_true(str_eq(last->subtype, STR("octet-stream")));
    assert_int_equal(last->body_offset + last->body_length, m.n); /* takes in all that follows */
    struct arena tiny = ARENA_INIT(600);
    assert_false(mime_parse(&tiny, buf_str(&m), &MIME_LIMITS_DEFAULT, &tree));
    arena_release(&tiny);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trees), cmocka_unit_test(test_fields), cmocka_unit_test(test_find),
                                       cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
