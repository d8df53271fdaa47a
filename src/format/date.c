#include "format/date.h"

#include "base/rd.h"

enum { DAY_S = 86400, PARSE_MAX = 1024 };

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char weekdays[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

/* ---- calendar ---- */

static bool is_leap(int year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

static int month_days(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap day is the last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t in_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 + in_year - 719468;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

struct date_civil date_civil(const struct date *d)
{
    int64_t local = d->epoch_s + (int64_t)d->zone_min * 60;
    int64_t days = floor_div(local, DAY_S), second = local - days * DAY_S;
    int64_t shifted = days + 719468, era = floor_div(shifted, 146097), in_era = shifted - era * 146097;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * year + year / 4 - year / 100), month = (5 * in_year + 2) / 153;
    struct date_civil c = {
        .day = (int)(in_year - (153 * month + 2) / 5 + 1),
        .month = (int)(month < 10 ? month + 3 : month - 9),
        .hour = (int)(second / 3600),
        .minute = (int)(second / 60 % 60),
        .second = (int)(second % 60),
        .weekday = (int)((days % 7 + 11) % 7), /* day 0 was a Thursday */
    };
    c.year = (int)(year + era * 400 + (c.month <= 2));
    return c;
}

bool date_from_civil(const struct date_civil *c, int zone_min, struct date *out)
{
    if (c->year < 1 || c->year > 9999 || c->month < 1 || c->month > 12 || c->day < 1 || c->day > month_days(c->year, c->month))
        return false;
    if (c->hour < 0 || c->hour > 23 || c->minute < 0 || c->minute > 59 || c->second < 0 || c->second > 60)
        return false;
    if (zone_min < -1439 || zone_min > 1439)
        return false;
    int64_t local = days_of(c->year, c->month, c->day) * DAY_S + c->hour * 3600 + c->minute * 60 + c->second;
    *out = (struct date){.epoch_s = local - (int64_t)zone_min * 60, .zone_min = (int16_t)zone_min};
    return true;
}

int32_t date_local_day(const struct date *d) { return (int32_t)floor_div(d->epoch_s + (int64_t)d->zone_min * 60, DAY_S); }

/* ---- names ---- */

/* 1..12 by the first three letters, 0 if none. */
static int month_find(struct str word)
{
    for (int i = 0; word.n >= 3 && i < 12; i++)
        if (str_eq_nocase(str_upto(word, 3), str_make(months[i], 3)))
            return i + 1;
    return 0;
}

static bool is_weekday(struct str word)
{
    for (int i = 0; word.n >= 3 && i < 7; i++)
        if (str_eq_nocase(str_upto(word, 3), str_make(weekdays[i], 3)))
            return true;
    return false;
}

/* RFC 5322 4.3; unknown names, the military letters included, are -0000. */
static int zone_find(struct str name, bool *unknown)
{
    static const struct {
        char name[4];
        int hours;
    } zones[] = {{"EDT", -4}, {"EST", -5}, {"CDT", -5}, {"CST", -6}, {"MDT", -6}, {"MST", -7}, {"PDT", -7}, {"PST", -8}};
    *unknown = false;
    if (str_eq_nocase(name, STR("GMT")) || str_eq_nocase(name, STR("UT")) || str_eq_nocase(name, STR("UTC")) ||
        str_eq_nocase(name, STR("Z")))
        return 0;
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++)
        if (str_eq_nocase(name, str_of(zones[i].name)))
            return zones[i].hours * 60;
    *unknown = true;
    return 0;
}

/* "+hhmm", "+hh:mm", "+hh", "+hmm". The sign is at the cursor. */
static bool take_zone_digits(struct rd *r, int *zone_min, bool *unknown)
{
    bool west = rd_take(r) == '-';
    struct str digits = rd_while(r, ascii_digit);
    uint32_t v, minutes = 0;
    if (digits.n == 0 || digits.n > 4 || !str_to_u32(digits, &v))
        return false;
    if (digits.n <= 2) {
        if (rd_peek(r) == ':' && ascii_digit((char)rd_peek_at(r, 1))) {
            rd_take(r);
            if (!str_to_u32(rd_while(r, ascii_digit), &minutes))
                return false;
        }
        v = v * 100;
    }
    minutes += v / 100 * 60 + v % 100;
    if (minutes > 1439 || v % 100 > 59)
        return false;
    *zone_min = west ? -(int)minutes : (int)minutes;
    *unknown = west && minutes == 0;
    return true;
}

/* ---- RFC 5322, lenient: a walk over words and numbers ---- */

struct guess {
    struct date_civil c;
    int zone_min;
    bool has_day, has_month, has_year, has_time, has_zone, unknown;
};

/* RFC 5322 4.3: two digits 00..49 are 20xx, two or three digits else 19xx. */
static int year_of(uint32_t v, size_t digits)
{
    if (digits >= 4)
        return (int)v;
    return (int)(digits == 2 && v < 50 ? v + 2000 : v + 1900);
}

static void skip_cfws(struct rd *r)
{
    size_t depth = 0;
    for (; r->p < r->end; r->p++) {
        char c = *r->p;
        if (c == '(')
            depth++;
        else if (c == ')' && depth)
            depth--;
        else if (c == '\\' && depth && r->p + 1 < r->end)
            r->p++;
        else if (!depth && c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != ',')
            return;
    }
}

/* hour ":" minute [":" second]: the hour is read already, the cursor at ':'. Obsolete syntax has spaces and comments between. */
static bool take_time(struct rd *r, uint32_t hour, struct guess *g)
{
    uint32_t v[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        struct rd mark = *r;
        skip_cfws(r);
        if (!rd_accept(r, ':') && !(i == 1 && rd_accept(r, '.'))) {
            *r = mark;
            if (i == 0)
                return false;
            break;
        }
        skip_cfws(r);
        struct str digits = rd_while(r, ascii_digit);
        if (digits.n > 2 || !str_to_u32(digits, &v[i]))
            return false;
    }
    if (rd_accept(r, '.')) /* fraction */
        rd_while(r, ascii_digit);
    g->c.hour = (int)(hour > 99 ? 99 : hour);
    g->c.minute = (int)v[0];
    g->c.second = (int)v[1];
    g->has_time = true;
    return true;
}

static bool is_time_next(struct rd r)
{
    skip_cfws(&r);
    if (!rd_accept(&r, ':'))
        return false;
    skip_cfws(&r);
    return ascii_digit((char)rd_peek(&r));
}

/* yyyy-mm-dd, the year read already. */
static bool take_iso_rest(struct rd *r, struct guess *g)
{
    uint32_t month, day;
    char separator = (char)rd_take(r);
    if (!str_to_u32(rd_while(r, ascii_digit), &month) || !rd_accept(r, separator) || !str_to_u32(rd_while(r, ascii_digit), &day) ||
        month > 12 || day > 31)
        return false;
    g->c.month = (int)month;
    g->c.day = (int)day;
    g->has_month = g->has_day = true;
    if (ascii_upper((char)rd_peek(r)) == 'T' && ascii_digit((char)rd_peek_at(r, 1)))
        rd_take(r);
    return true;
}

static bool take_number(struct rd *r, struct guess *g)
{
    struct str digits = rd_while(r, ascii_digit);
    uint32_t v;
    if (digits.n > 4 || !str_to_u32(digits, &v))
        return false;
    if (!g->has_time && digits.n <= 2 && is_time_next(*r))
        return take_time(r, v, g);
    if (digits.n == 4 && !g->has_year && !g->has_month && (rd_peek(r) == '-' || rd_peek(r) == '/')) {
        g->c.year = (int)v;
        g->has_year = true;
        return take_iso_rest(r, g);
    }
    if (!g->has_day && digits.n <= 2) {
        g->c.day = (int)v;
        g->has_day = true;
    } else if (!g->has_year && digits.n >= 2) {
        g->c.year = year_of(v, digits.n);
        g->has_year = true;
    } else {
        return false;
    }
    if (rd_peek(r) == '-' && !g->has_year) /* 17-Jul-1996 */
        rd_take(r);
    return true;
}

static bool take_word(struct rd *r, struct guess *g)
{
    struct str word = rd_while(r, ascii_alpha);
    int month = g->has_month ? 0 : month_find(word);
    if (month) {
        g->c.month = month;
        g->has_month = true;
        if (rd_peek(r) == '-' || rd_peek(r) == '.')
            rd_take(r);
    } else if (g->has_time && (str_eq_nocase(word, STR("AM")) || str_eq_nocase(word, STR("PM"))) && g->c.hour <= 12) {
        g->c.hour = g->c.hour % 12 + (ascii_upper(word.p[0]) == 'P' ? 12 : 0);
    } else if (g->has_time && !g->has_zone && !is_weekday(word)) {
        g->zone_min = zone_find(word, &g->unknown);
        g->has_zone = true;
    }
    return true;
}

static bool take_any(struct rd *r, struct guess *g)
{
    int c = rd_peek(r);
    if (ascii_digit((char)c))
        return take_number(r, g);
    if (ascii_alpha((char)c))
        return take_word(r, g);
    if ((c == '+' || c == '-') && g->has_time && (!g->has_zone || g->zone_min == 0) && ascii_digit((char)rd_peek_at(r, 1))) {
        g->has_zone = take_zone_digits(r, &g->zone_min, &g->unknown); /* also behind a name: "GMT+0200" */
        return g->has_zone;
    }
    rd_take(r);
    return true;
}

bool date_parse(struct str s, struct date *out)
{
    struct rd r = rd_of(str_upto(s, PARSE_MAX));
    struct guess g = {0};
    for (skip_cfws(&r); !rd_end(&r); skip_cfws(&r)) {
        if (!take_any(&r, &g)) /* junk behind a whole date does not matter */
            break;
        if (g.has_day && g.has_month && g.has_year && g.has_time && g.has_zone && rd_peek(&r) != '+' && rd_peek(&r) != '-')
            break;
    }
    if (!g.has_day || !g.has_month || !g.has_year || !date_from_civil(&g.c, g.zone_min, out))
        return false;
    out->zone_unknown = !g.has_zone || g.unknown;
    return true;
}

/* ---- printing ---- */

static void add_2(struct buf *out, int v)
{
    char t[2] = {(char)('0' + v / 10), (char)('0' + v % 10)};
    buf_add(out, (struct str){t, 2});
}

static void add_4(struct buf *out, int v)
{
    add_2(out, v / 100 % 100);
    add_2(out, v % 100);
}

static void add_time(struct buf *out, const struct date_civil *c)
{
    add_2(out, c->hour);
    buf_add_c(out, ':');
    add_2(out, c->minute);
    buf_add_c(out, ':');
    add_2(out, c->second);
}

static void add_zone(struct buf *out, const struct date *d, bool colon)
{
    int minutes = d->zone_min < 0 ? -d->zone_min : d->zone_min;
    buf_add_c(out, d->zone_min < 0 || d->zone_unknown ? '-' : '+');
    add_2(out, minutes / 60);
    if (colon)
        buf_add_c(out, ':');
    add_2(out, minutes % 60);
}

/* Years that print in four digits; anything else (a damaged record) prints as the nearest. */
static struct date_civil printable(const struct date *d)
{
    struct date clipped = *d;
    const int64_t low = -62135596800 + DAY_S, high = 253402300799 - DAY_S;
    clipped.epoch_s = d->epoch_s < low ? low : d->epoch_s > high ? high : d->epoch_s;
    return date_civil(&clipped);
}

void date_print(const struct date *d, struct buf *out)
{
    struct date_civil c = printable(d);
    buf_add_z(out, weekdays[c.weekday]);
    buf_add_z(out, ", ");
    buf_add_u64(out, (uint64_t)c.day);
    buf_add_c(out, ' ');
    buf_add_z(out, months[c.month - 1]);
    buf_add_c(out, ' ');
    add_4(out, c.year);
    buf_add_c(out, ' ');
    add_time(out, &c);
    buf_add_c(out, ' ');
    add_zone(out, d, false);
}

void date_print_imap(const struct date *d, struct buf *out)
{
    struct date_civil c = printable(d);
    if (c.day < 10) {
        buf_add_c(out, ' ');
        buf_add_u64(out, (uint64_t)c.day);
    } else {
        add_2(out, c.day);
    }
    buf_add_c(out, '-');
    buf_add_z(out, months[c.month - 1]);
    buf_add_c(out, '-');
    add_4(out, c.year);
    buf_add_c(out, ' ');
    add_time(out, &c);
    buf_add_c(out, ' ');
    add_zone(out, d, false);
}

void date_print_rfc3339(const struct date *d, struct buf *out)
{
    struct date_civil c = printable(d);
    add_4(out, c.year);
    buf_add_c(out, '-');
    add_2(out, c.month);
    buf_add_c(out, '-');
    add_2(out, c.day);
    buf_add_c(out, 'T');
    add_time(out, &c);
    if (d->zone_min == 0)
        buf_add_c(out, 'Z');
    else
        add_zone(out, d, true);
}

/* ---- strict forms ---- */

static int take_digits(struct rd *r, size_t min, size_t max)
{
    struct str digits = rd_while(r, ascii_digit);
    uint32_t v = 0;
    if (digits.n < min || digits.n > max || !str_to_u32(digits, &v))
        rd_fail(r);
    return (int)v;
}

static struct rd without_quotes(struct str s)
{
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        s = str_sub(s, 1, s.n - 2);
    return rd_of(s);
}

/* date-text of RFC 9051: day "-" month "-" year */
static void take_imap_date(struct rd *r, struct date_civil *c)
{
    c->day = take_digits(r, 1, 2);
    rd_expect(r, '-');
    struct str name = rd_while(r, ascii_alpha);
    c->month = name.n == 3 ? month_find(name) : 0;
    rd_expect(r, '-');
    c->year = take_digits(r, 4, 4);
}

static void take_clock(struct rd *r, struct date_civil *c)
{
    c->hour = take_digits(r, 2, 2);
    rd_expect(r, ':');
    c->minute = take_digits(r, 2, 2);
    rd_expect(r, ':');
    c->second = take_digits(r, 2, 2);
}

bool date_parse_imap(struct str s, struct date *out)
{
    struct rd r = without_quotes(s);
    struct date_civil c = {0};
    int zone = 0;
    bool unknown = false;
    rd_accept(&r, ' ');
    take_imap_date(&r, &c);
    rd_expect(&r, ' ');
    take_clock(&r, &c);
    rd_expect(&r, ' ');
    if (rd_left(&r) != 5 || (rd_peek(&r) != '+' && rd_peek(&r) != '-') || !take_zone_digits(&r, &zone, &unknown) || !rd_end(&r) ||
        !rd_ok(&r) || !date_from_civil(&c, zone, out))
        return false;
    out->zone_unknown = unknown;
    return true;
}

bool date_parse_imap_day(struct str s, int32_t *day)
{
    struct rd r = without_quotes(s);
    struct date_civil c = {0};
    struct date d;
    take_imap_date(&r, &c);
    if (!rd_ok(&r) || !rd_end(&r) || !date_from_civil(&c, 0, &d))
        return false;
    *day = date_local_day(&d);
    return true;
}

bool date_parse_rfc3339(struct str s, struct date *out)
{
    struct rd r = rd_of(s);
    struct date_civil c = {0};
    int zone = 0;
    bool unknown = false;
    c.year = take_digits(&r, 4, 4);
    rd_expect(&r, '-');
    c.month = take_digits(&r, 2, 2);
    rd_expect(&r, '-');
    c.day = take_digits(&r, 2, 2);
    if (!rd_accept(&r, 'T') && !rd_accept(&r, 't') && !rd_accept(&r, ' '))
        return false;
    take_clock(&r, &c);
    if (rd_accept(&r, '.'))
        take_digits(&r, 1, 9);
    if (!rd_accept(&r, 'Z') && !rd_accept(&r, 'z')) {
        if (rd_left(&r) != 6 || (rd_peek(&r) != '+' && rd_peek(&r) != '-') || rd_peek_at(&r, 3) != ':' ||
            !take_zone_digits(&r, &zone, &unknown))
            return false;
    }
    if (!rd_ok(&r) || !rd_end(&r) || !date_from_civil(&c, zone, out))
        return false;
    out->zone_unknown = unknown;
    return true;
}
