/* Rules of clients without a login. */
#include "serve/smtp/relay_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct relay_clients *r = NULL;
    if (relay_clients_parse(str_make(data, size), &r, NULL) != ST_OK)
        return 0;
    const struct relay_client *rule = relay_clients_find(r, "203.0.113.5", STR("printer@abcd.com"));
    if (rule && relay_client_allows(rule, STR("x@xyz.com")))
        (void)relay_client_take(rule, 1000);
    relay_clients_free(r);
    return 0;
}
