/* Sets of UIDs against a naive array of bools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/uidset.h"

enum { SPAN = 200000 }; /* over four containers */

struct naive {
    bool has[SPAN];
};

static uint64_t state_;
static uint32_t any(uint32_t below)
{
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state_ >> 33) % below;
}

static void compare(const struct uidset *s, const struct naive *n)
{
    uint32_t count = 0, first, last, min = 0, max = 0;
    uint64_t at = 0;
    for (uint32_t v = 0; v < SPAN; v++) {
        count += n->has[v];
        if (n->has[v]) {
            min = count == 1 ? v : min;
            max = v;
        }
    }
    assert_int_equal(uidset_count(s), count);
    assert_int_equal(uidset_empty(s), count == 0);
    assert_int_equal(uidset_min(s), min);
    assert_int_equal(uidset_max(s), max);
    uint32_t v = 0, seen = 0;
    while (uidset_next_run(s, &at, &first, &last)) {
        for (; v < first; v++)
            assert_false(n->has[v]);
        for (; v <= last; v++)
            assert_true(n->has[v]);
        assert_true(last + 1 == SPAN || !n->has[last + 1]); /* maximal */
        if (seen == 0) {
            assert_int_equal(uidset_rank(s, first), 1);
            assert_int_equal(uidset_select(s, 1), first);
        }
        seen += last - first + 1;
        assert_int_equal(uidset_rank(s, last), seen);
        assert_int_equal(uidset_select(s, seen), last);
    }
    for (; v < SPAN; v++)
        assert_false(n->has[v]);
    assert_int_equal(uidset_select(s, count + 1), 0);
    assert_int_equal(uidset_select(s, 0), 0);
    /* from the middle */
    uint32_t middle = any(SPAN), want = middle;
    at = middle;
    while (want < SPAN && !n->has[want])
        want++;
    assert_int_equal(uidset_next_run(s, &at, &first, &last), want < SPAN);
    if (want < SPAN)
        assert_int_equal(first, want);
}

static void stored_form(const struct uidset *s)
{
    struct buf out = BUF_INIT(1 << 20);
    struct uidset back;
    uidset_encode(s, &out);
    assert_int_equal(uidset_decode(buf_str(&out), &back, NULL), ST_OK);
    assert_true(uidset_equal(s, &back));
    uidset_release(&back);
    for (size_t n = 0; n < out.n; n += 1 + n / 10) {
        assert_int_equal(uidset_decode(str_upto(buf_str(&out), n), &back, NULL), ST_CORRUPT);
        uidset_release(&back);
    }
    for (int i = 0; i < 50; i++) { /* damaged bytes give another set, or an error, never a crash */
        size_t at = any((uint32_t)out.n);
        char before = out.p[at];
        out.p[at] = (char)any(256);
        if (uidset_decode(buf_str(&out), &back, NULL) == ST_OK)
            (void)uidset_count(&back);
        uidset_release(&back);
        out.p[at] = before;
    }
    buf_release(&out);
}

static void change(struct uidset *s, struct naive *n)
{
    uint32_t first = any(SPAN), last = first + any(any(3) ? 50 : 60000);
    last = last < SPAN ? last : SPAN - 1;
    switch (any(6)) {
    case 0:
        assert_int_equal(uidset_add(s, first), ST_OK);
        n->has[first] = true;
        break;
    case 1:
        uidset_remove(s, first);
        n->has[first] = false;
        break;
    case 2:
    case 3:
        assert_int_equal(uidset_add_range(s, first, last), ST_OK);
        memset(n->has + first, true, last - first + 1);
        break;
    case 4:
        uidset_remove_range(s, first, last);
        memset(n->has + first, false, last - first + 1);
        break;
    default:
        uidset_optimize(s);
    }
}

static void agrees_with_the_naive_set(void **state)
{
    (void)state;
    struct naive *n = calloc(1, sizeof *n);
    struct uidset s = UIDSET_EMPTY;
    state_ = 3;
    for (int i = 0; i < 300; i++) {
        change(&s, n);
        if (i % 10 == 0)
            compare(&s, n);
        if (i % 30 == 0)
            stored_form(&s);
    }
    uidset_release(&s);
    free(n);
}

static void combines(void **state)
{
    (void)state;
    struct naive *n = calloc(3, sizeof *n);
    struct uidset a = UIDSET_EMPTY, b = UIDSET_EMPTY, c;
    state_ = 9;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 10; i++) {
            change(&a, &n[0]);
            change(&b, &n[1]);
        }
        for (int op = 0; op < 3; op++) {
            assert_int_equal(uidset_copy(&a, &c), ST_OK);
            if (op == 0)
                assert_int_equal(uidset_or(&c, &b), ST_OK);
            else if (op == 1)
                uidset_and(&c, &b);
            else
                uidset_minus(&c, &b);
            for (uint32_t v = 0; v < SPAN; v++) {
                bool x = n[0].has[v], y = n[1].has[v];
                n[2].has[v] = op == 0 ? x || y : op == 1 ? x && y : x && !y;
            }
            compare(&c, &n[2]);
            uidset_release(&c);
        }
    }
    uidset_release(&a);
    uidset_release(&b);
    free(n);
}

static void prints(void **state)
{
    (void)state;
    static const struct {
        uint32_t runs[6];
        size_t count;
        const char *want;
    } table[] = {
        {{0}, 0, ""},
        {{7, 7}, 1, "7"},
        {{1, 3, 7, 7, 9, 12}, 3, "1:3,7,9:12"},
        {{65530, 65540, UINT32_MAX, UINT32_MAX}, 2, "65530:65540,4294967295"},
        {{1, UINT32_MAX}, 1, "1:4294967295"},
        {{5, 4}, 1, ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct uidset s = UIDSET_EMPTY;
        struct buf out = BUF_INIT(1000);
        for (size_t r = 0; r < table[i].count; r++)
            assert_int_equal(uidset_add_range(&s, table[i].runs[2 * r], table[i].runs[2 * r + 1]), ST_OK);
        uidset_print(&s, &out);
        assert_true(str_eq(buf_str(&out), str_of(table[i].want)));
        uidset_release(&s);
        buf_release(&out);
    }
}

static void is_small(void **state)
{
    (void)state;
    struct uidset s = UIDSET_EMPTY;
    for (uint32_t v = 1; v <= 1000000; v++) /* as mail comes in */
        assert_int_equal(uidset_add_range(&s, v, v), ST_OK);
    uidset_optimize(&s);
    assert_true(uidset_memory(&s) < 1000);
    uidset_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_the_naive_set), cmocka_unit_test(combines),
                                       cmocka_unit_test(prints), cmocka_unit_test(is_small)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
