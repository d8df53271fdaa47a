/* Dates in any form: what is read prints, and reads as the same. */
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "format/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct date *d)
{
    struct date again;
    DEFER(buf_release) struct buf text = BUF_INIT(100);
    struct date_civil c = date_civil(d);
    if (c.year < 2 || c.year > 9998)
        return;
    date_print(d, &text);
    check(date_parse(buf_str(&text), &again) && again.epoch_s == d->epoch_s && again.zone_min == d->zone_min);
    buf_clear(&text);
    date_print_imap(d, &text);
    check(date_parse_imap(buf_str(&text), &again) && again.epoch_s == d->epoch_s);
    buf_clear(&text);
    date_print_rfc3339(d, &text);
    check(date_parse_rfc3339(buf_str(&text), &again) && again.epoch_s == d->epoch_s);
    check(date_local_day(d) > -800000 && date_local_day(d) < 3000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size);
    struct date d;
    int32_t day;
    if (date_parse(s, &d))
        round_trip(&d);
    if (date_parse_imap(s, &d))
        round_trip(&d);
    if (date_parse_rfc3339(s, &d))
        round_trip(&d);
    date_parse_imap_day(s, &day);
    return 0;
}
