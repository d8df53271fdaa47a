/* Any bytes as record data of each type, as a name, and as the text of a zone. */
#include "base/check.h"
#include "dns/rdata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT(1 << 20);
    struct resolver_record record;
    struct resolver *zone;
    struct str bytes = str_make(data, size);
    for (int type = RESOLVER_A; type <= RESOLVER_PTR; type++)
        if (rdata_decode((enum resolver_type)type, bytes, &arena, &record)) {
            check(record.name.n <= RESOLVER_NAME_MAX);
            check(record.data.n <= size);
            for (size_t i = 0; i < record.name.n; i++)
                check((unsigned char)record.name.p[i] > ' ' && (unsigned char)record.name.p[i] < 127);
        }
    if (size < 4096 && resolver_static(bytes, &zone, NULL) == ST_OK) {
        struct resolver_answer answer;
        for (int type = RESOLVER_A; type <= RESOLVER_PTR; type++)
            if (resolver_lookup(zone, (enum resolver_type)type, STR("a.test"), &arena, &answer, NULL) == ST_OK)
                check(answer.outcome != RESOLVER_FOUND || answer.count > 0);
        resolver_close(zone);
    }
    arena_release(&arena);
    return 0;
}
