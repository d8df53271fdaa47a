/* Envelope addresses: what is accepted prints and parses to the same. Header lists: any bytes. */
#include <stdint.h>

#include "base/check.h"
#include "format/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void envelope(struct arena *arena, struct str s, unsigned flags)
{
    struct address a, again;
    DEFER(buf_release) struct buf text = BUF_INIT(4 * ADDRESS_PATH_MAX);
    if (address_path_parse(arena, s, flags, &a, NULL) != ST_OK)
        return;
    check(a.local.n + a.domain.n + 3 <= ADDRESS_PATH_MAX && str_is_utf8(a.local) && str_is_ascii(a.domain));
    address_print_path(&a, &text);
    check(address_path_parse(arena, buf_str(&text), flags, &again, NULL) == ST_OK);
    check(str_eq(a.local, again.local) && str_eq(a.domain, again.domain) && a.literal == again.literal &&
          address_equal(&a, &again));
    buf_clear(&text);
    address_key(&a, &text);
    buf_clear(&text);
    address_domain_unicode(a.domain, &text);
}

static void list(struct arena *arena, struct str s)
{
    struct address_list l;
    size_t count = 0, depth = 0;
    address_list_parse(arena, s, 100, &l);
    for (const struct address_entry *a = l.first; a; a = a->next, count++) {
        DEFER(buf_release) struct buf text = BUF_INIT(1 << 16);
        depth += a->kind == ADDRESS_GROUP_BEGIN;
        check(a->kind != ADDRESS_GROUP_END || depth-- == 1);
        check(a->local_end <= s.n);
        address_entry_print(a, &text);
        check(a->broken || a->kind != ADDRESS_MAILBOX || (a->local.n && a->domain.n));
    }
    check(count == l.count && (depth == 0 || l.truncated));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT(1 << 22);
    struct str s = str_make(data, size);
    envelope(&arena, s, ADDRESS_NULL | ADDRESS_BARE);
    envelope(&arena, s, ADDRESS_UTF8);
    list(&arena, s);
    arena_release(&arena);
    return 0;
}
