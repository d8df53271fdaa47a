/* Charsets: the first line names one, the rest is in it. Always UTF-8 out; pieces equal the whole. */
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "format/charset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_make(data, size), charset;
    if (!str_split(&rest, '\n', &charset))
        return 0;
    DEFER(buf_release) struct buf whole = BUF_INIT(1 << 18);
    DEFER(buf_release) struct buf pieces = BUF_INIT(1 << 18);
    DEFER(buf_release) struct buf small = BUF_INIT(10);
    DEFER(buf_release) struct buf folded = BUF_INIT(1 << 20);
    struct charset_decoder d;
    charset_to_utf8(charset, rest, &whole);
    check(str_is_utf8(buf_str(&whole)));
    charset_to_utf8(charset, rest, &small);
    check(str_is_utf8(buf_str(&small)) && str_starts(buf_str(&whole), buf_str(&small)));
    charset_decoder_open(&d, charset);
    for (size_t at = 0; at < rest.n; at += 1 + at % 5)
        charset_decode(&d, str_sub(rest, at, 1 + at % 5), &pieces);
    charset_decode_end(&d, &pieces);
    charset_decoder_close(&d);
    check(str_is_utf8(buf_str(&pieces)));
    charset_fold(rest, &folded);
    check(str_is_utf8(buf_str(&folded)));
    buf_clear(&folded);
    charset_clean(rest, &folded);
    check(str_is_utf8(buf_str(&folded)) && (!str_is_utf8(rest) || str_eq(rest, buf_str(&folded))));
    buf_clear(&folded);
    charset_lower(rest, &folded);
    return 0;
}
