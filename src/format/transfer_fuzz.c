/* Transfer encodings: the first byte chooses; pieces equal the whole; decode(encode(x)) == x. */
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "format/base64.h"
#include "format/transfer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decoding(enum transfer_encoding encoding, struct str s)
{
    DEFER(buf_release) struct buf whole = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf pieces = BUF_INIT(1 << 20);
    struct transfer_decoder d;
    bool clean = transfer_decode_all(encoding, s, &whole);
    transfer_decoder_init(&d, encoding);
    for (size_t at = 0; at < s.n; at += 1 + at % 7)
        transfer_decode(&d, str_sub(s, at, 1 + at % 7), &pieces);
    transfer_decode_end(&d, &pieces);
    check(str_eq(buf_str(&whole), buf_str(&pieces)) && clean == (d.damage == 0));
}

static void encoding_of(enum transfer_encoding encoding, bool text, struct str s)
{
    DEFER(buf_release) struct buf coded = BUF_INIT(1 << 22);
    DEFER(buf_release) struct buf back = BUF_INIT(1 << 22);
    struct transfer_encoder t;
    transfer_encoder_init(&t, encoding, text);
    for (size_t at = 0; at < s.n; at += 1 + at % 7)
        transfer_encode(&t, str_sub(s, at, 1 + at % 7), &coded);
    transfer_encode_end(&t, &coded);
    check(transfer_decode_all(encoding, buf_str(&coded), &back));
    check(str_eq(buf_str(&back), s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str s = str_make(data + 1, size - 1);
    DEFER(buf_release) struct buf out = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf back = BUF_INIT(1 << 20);
    decoding(data[0] & 1 ? TRANSFER_QP : TRANSFER_BASE64, s);
    encoding_of(data[0] & 1 ? TRANSFER_QP : TRANSFER_BASE64, data[0] & 2, s);
    if (base64_decode(s, &out)) {
        base64_encode(buf_str(&out), &back);
        check(str_eq(buf_str(&back), s));
    }
    buf_clear(&out);
    base64url_decode(s, &out);
    return 0;
}
