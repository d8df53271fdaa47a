/* Modified UTF-7, xtext and ORCPT: what is accepted encodes back to the same bytes. */
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "format/utf7.h"
#include "format/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size), type;
    DEFER(buf_release) struct buf a = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf b = BUF_INIT(1 << 20);
    if (utf7_decode(s, &a)) {
        check(str_is_utf8(buf_str(&a)) && utf7_encode(buf_str(&a), &b));
        check(str_eq(buf_str(&b), s));
    }
    buf_clear(&a);
    buf_clear(&b);
    if (utf7_encode(s, &a)) {
        check(str_is_ascii(buf_str(&a)) && utf7_decode(buf_str(&a), &b));
        check(str_eq(buf_str(&b), s));
    }
    buf_clear(&a);
    buf_clear(&b);
    xtext_encode(s, &a);
    check(xtext_decode(buf_str(&a), &b) && str_eq(buf_str(&b), s));
    buf_clear(&a);
    buf_clear(&b);
    check(!xtext_valid(s) || xtext_decode(s, &a));
    buf_clear(&a);
    if (xtext_orcpt_decode(s, &type, &a) && a.n) {
        xtext_orcpt_encode(buf_str(&a), &b);
        struct str coded = buf_str(&b);
        DEFER(buf_release) struct buf back = BUF_INIT(1 << 20);
        check(xtext_orcpt_decode(coded, &type, &back) && str_eq(buf_str(&back), buf_str(&a)));
    }
    return 0;
}
