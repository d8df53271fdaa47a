/* Stored credentials and the hashes of other servers: whatever parses is verified against in memory-safe ways, and an imported line
 * parses. Passwords are not hashed here (that is slow on purpose): {PLAIN} is left out, and only cheap forms are verified. */
#include "auth/credential.h"
#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_make(data, size);
    struct credential c;
    struct buf line = BUF_INIT(CREDENTIAL_MAX), prepared = BUF_INIT(CREDENTIAL_PASSWORD_MAX * 4);
    if (credential_parse(in, &c, NULL) == ST_OK) {
        check(c.hash.n <= in.n);
        for (size_t d = 0; d < CREDENTIAL_DIGESTS; d++)
            check(!c.scram[d].present || (c.scram[d].salt_n >= 1 && c.scram[d].salt_n <= CREDENTIAL_SALT_MAX));
        if (str_starts(c.hash, STR("{S")))
            (void)credential_verify(&c, STR("pencil"));
        (void)credential_is_old(&c);
    }
    if (!str_starts_nocase(in, STR("{PLAIN}")) && credential_import(in, &line, NULL) == ST_OK)
        check(credential_parse(buf_str(&line), &c, NULL) == ST_OK);
    (void)!credential_prepare(in, &prepared, NULL);
    buf_release(&line);
    buf_release(&prepared);
    return 0;
}
