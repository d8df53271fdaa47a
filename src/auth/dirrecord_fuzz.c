/* Stored directory records: what decodes encodes to what decodes to the same. */
#include "auth/dirrecord.h"
#include "base/check.h"

static void account(struct str in)
{
    struct dirrecord_account one, two;
    struct buf bytes = BUF_INIT(1 << 20);
    if (dirrecord_account_decode(in, &one, NULL) == ST_OK) {
        dirrecord_account_encode(&one, &bytes);
        check(buf_ok(&bytes) && dirrecord_account_decode(buf_str(&bytes), &two, NULL) == ST_OK);
        check(one.account.id == two.account.id && one.pending == two.pending &&
              str_eq(one.account.password, two.account.password) && str_eq(one.account.identities, two.account.identities) &&
              one.account.state == two.account.state);
    }
    buf_release(&bytes);
}

static void alias_and_domain(struct str in)
{
    struct directory_alias alias, alias2;
    struct directory_domain domain, domain2;
    struct buf bytes = BUF_INIT(1 << 20);
    if (dirrecord_alias_decode(in, &alias, NULL) == ST_OK) {
        dirrecord_alias_encode(alias.address, alias.targets, &bytes);
        check(dirrecord_alias_decode(buf_str(&bytes), &alias2, NULL) == ST_OK && str_eq(alias.targets, alias2.targets));
    }
    buf_clear(&bytes);
    if (dirrecord_domain_decode(in, &domain, NULL) == ST_OK) {
        dirrecord_domain_encode(&domain, &bytes);
        check(dirrecord_domain_decode(buf_str(&bytes), &domain2, NULL) == ST_OK && str_eq(domain.alias_of, domain2.alias_of));
    }
    buf_release(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    account(str_make(data, size));
    alias_and_domain(str_make(data, size));
    return 0;
}
