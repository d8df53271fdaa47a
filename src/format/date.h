/* Dates: RFC 5322 header dates, IMAP date and date-time, RFC 3339. Pure arithmetic on the proleptic Gregorian calendar, no libc
 * locale, no time zone data base. Any thread. Years 1 to 9999. */
#ifndef FORMAT_DATE_H
#define FORMAT_DATE_H

#include "base/buf.h"

struct date {
    int64_t epoch_s;   /* seconds since 1970-01-01T00:00:00Z; a leap second counts as the next second */
    int16_t zone_min;  /* minutes east of UTC, -1439 .. 1439 */
    bool zone_unknown; /* written as -0000 (RFC 5322 3.3) or with an unknown zone name */
};

struct date_civil { /* broken down, in the zone of the date */
    int year, month, day, hour, minute, second;
    int weekday; /* 0 = Sunday */
};

struct date_civil date_civil(const struct date *d);
/* The instant of a civil time (weekday ignored) in a zone. False if a field is out of range (31 April; second 60 is in range). */
bool date_from_civil(const struct date_civil *c, int zone_min, struct date *out);
/* Days since 1970-01-01 of the calendar day in the date's own zone (SEARCH SENTON disregards time and zone, RFC 9051 6.4.4). */
int32_t date_local_day(const struct date *d);

/* RFC 5322 3.3 and the obsolete forms of 4.3 (comments, two-digit years, zone names); lenient with what is seen in the wild:
 * missing or wrong day of the week, missing seconds or zone, one-digit hours, full month names, asctime() order, ISO dates, junk
 * behind. False: no date in it. */
bool date_parse(struct str s, struct date *out);
void date_print(const struct date *d, struct buf *out); /* "Mon, 17 Jul 1996 02:44:25 -0700" */

/* RFC 9051 date-time, with or without the quotes: "17-Jul-1996 02:44:25 -0700"; strict, but the day may have one digit. */
bool date_parse_imap(struct str s, struct date *out);
void date_print_imap(const struct date *d,
                     struct buf *out); /* "17-Jul-1996 02:44:25 -0700" without quotes; day padded by a space */
/* RFC 9051 date, with or without the quotes: 1-Feb-1994. Days since 1970-01-01. */
bool date_parse_imap_day(struct str s, int32_t *day);

/* RFC 3339 date-time; fractions are accepted and dropped. */
bool date_parse_rfc3339(struct str s, struct date *out);
void date_print_rfc3339(const struct date *d, struct buf *out); /* "1996-07-17T02:44:25-07:00", zone 0 as "Z" */
static inline void date_print_rfc3339_utc(int64_t epoch_s, struct buf *out)
{
    struct date d = {epoch_s, 0, false};
    date_print_rfc3339(&d, out);
}

#endif
