/* PROXY protocol headers and network lists, from any bytes. */
#include "base/check.h"
#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t used;
    struct proxy_source source;
    struct proxy_networks *networks;
    struct str in = str_make(data, size);
    enum proxy_result result = proxy_parse(in, &used, &source);
    check(result != PROXY_DONE || (used > 0 && used <= size));
    check(result != PROXY_MORE || size < PROXY_HEADER_MAX);
    if (result == PROXY_DONE && !source.local && proxy_networks_parse(str_of(source.address), &networks, NULL) == ST_OK) {
        check(proxy_networks_have(networks, source.address)); /* what it says is an address */
        proxy_networks_free(networks);
    }
    if (proxy_networks_parse(in, &networks, NULL) == ST_OK)
        proxy_networks_free(networks);
    return 0;
}
