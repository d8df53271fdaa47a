/* DATA: pieces equal the whole, the end is where CRLF.CRLF is and nowhere else, and the encoder's output decodes to the input. */
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "format/dot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decoding(struct str s)
{
    DEFER(buf_release) struct buf whole = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf pieces = BUF_INIT(1 << 20);
    struct dot_decoder a, b;
    dot_decoder_init(&a, 20);
    dot_decoder_init(&b, 20);
    size_t used = dot_decode(&a, s, &whole), at = 0;
    while (at < s.n && !b.done)
        at += dot_decode(&b, str_sub(s, at, 1 + at % 3), &pieces);
    check(a.done == b.done && used == at && a.faults == b.faults && a.size == b.size && a.lines == b.lines);
    check(str_eq(buf_str(&whole), buf_str(&pieces)));
    for (int i = 0; i < DOT_FAULTS; i++)
        check(a.fault_at[i] == b.fault_at[i] && a.fault_at[i] <= a.size);
    size_t end = str_starts(s, STR(".\r\n"))                 ? 3
                 : str_find(s, STR("\r\n.\r\n")) == STR_NPOS ? STR_NPOS
                                                             : str_find(s, STR("\r\n.\r\n")) + 5;
    check(a.done == (end != STR_NPOS) && (!a.done || used == end));
}

static void encoding(struct str s, bool normalise)
{
    DEFER(buf_release) struct buf wire = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf pieces = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf back = BUF_INIT(1 << 20);
    struct dot_encoder e;
    struct dot_decoder d;
    dot_encoder_init(&e, normalise);
    dot_encode(&e, s, &wire);
    dot_encode_end(&e, &wire);
    dot_encoder_init(&e, normalise);
    for (size_t at = 0; at < s.n; at += 1 + at % 3)
        dot_encode(&e, str_sub(s, at, 1 + at % 3), &pieces);
    dot_encode_end(&e, &pieces);
    check(str_eq(buf_str(&wire), buf_str(&pieces)));
    dot_decoder_init(&d, 1000);
    check(dot_decode(&d, buf_str(&wire), &back) == wire.n && d.done);
    check(normalise ? !(d.faults & (DOT_BARE_CR | DOT_BARE_LF)) : str_starts(buf_str(&back), s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size);
    decoding(s);
    encoding(s, true);
    encoding(s, false);
    return 0;
}
