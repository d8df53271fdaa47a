/* Any bytes as the arguments of every command. The first byte chooses the grammar. */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "format/imap_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void strings(struct imap_args *a)
{
    struct str s;
    struct imap_flags flags;
    struct date date;
    uint64_t n;
    while (imap_args_ok(a) && !imap_at_end(a)) {
        struct imap_args probe = *a;
        if (imap_parse_mailbox(&probe, &s))
            check(str_is_utf8(s));
        probe = *a;
        imap_parse_flag_list(&probe, &flags);
        probe = *a;
        imap_parse_date_time(&probe, &date);
        probe = *a;
        imap_parse_number64(&probe, &n);
        probe = *a;
        imap_parse_nstring(&probe, &s);
        probe = *a;
        imap_parse_skip(&probe);
        if (imap_parse_astring(a, &s))
            imap_accept(a, ' ');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct arena arena = ARENA_INIT(4 << 20);
    struct str text = str_make(data + 1, size - 1);
    struct imap_args a = imap_args_of(text, &arena, data[0] & 8);
    struct imap_select select;
    struct imap_list list;
    struct imap_fetch fetch;
    struct imap_store store;
    struct imap_search search;
    switch (data[0] & 7) {
    case 0:
        imap_parse_select(&a, &select);
        break;
    case 1:
        if (imap_parse_list(&a, &list))
            for (size_t i = 0; i < list.pattern_count; i++)
                check(!imap_pattern_match(list.patterns[i], list.reference, '/') || list.patterns[i].n > 0 ||
                      list.reference.n == 0);
        break;
    case 2:
        if (imap_parse_fetch(&a, &fetch))
            check(fetch.count > 0);
        break;
    case 3:
        imap_parse_store(&a, &store);
        break;
    case 4:
    case 5:
        if (imap_parse_search(&a, &search))
            check(search.program && search.program->child);
        break;
    default:
        strings(&a);
    }
    check(imap_args_ok(&a) || a.wrong);
    arena_release(&arena);
    return 0;
}
