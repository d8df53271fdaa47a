/* Any bytes as a stored record: decoded or refused; what decodes encodes to the same again. */
#include "base/check.h"
#include "queue/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT(RECORD_ARENA_MAX);
    struct record record, again;
    struct buf bytes = BUF_INIT(KV_VALUE_MAX), twice = BUF_INIT(KV_VALUE_MAX);
    if (record_decode(str_make(data, size), &arena, &record, NULL) == ST_OK) {
        record_encode(&record, &bytes);
        check(buf_ok(&bytes));
        check(record_decode(buf_str(&bytes), &arena, &again, NULL) == ST_OK);
        record_encode(&again, &twice);
        check(str_eq(buf_str(&bytes), buf_str(&twice)));
        check(record_pending(&record) == record_pending(&again) && record_pending(&record) <= record.count);
    }
    buf_release(&bytes);
    buf_release(&twice);
    arena_release(&arena);
    return 0;
}
