#include "rt/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "rt/clock.h"

static _Atomic int least = LOG_INFO, to_fd = STDERR_FILENO;
static atomic_bool as_json;
static pthread_mutex_t hook_lock = PTHREAD_MUTEX_INITIALIZER;
static log_hook *hook;
static void *hook_context;
static atomic_bool hooked;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_level_set(enum log_level l) { least = (int)l; }
void log_json(bool on) { as_json = on; }
void log_to(int fd) { to_fd = fd; }

bool log_level_parse(struct str name, enum log_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++)
        if (str_eq_nocase(name, str_of(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    return false;
}

void log_capture(log_hook *h, void *context)
{
    pthread_mutex_lock(&hook_lock);
    hook = h;
    hook_context = context;
    hooked = h != NULL;
    pthread_mutex_unlock(&hook_lock);
}

static bool hook_takes(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    if (!hooked)
        return false;
    pthread_mutex_lock(&hook_lock);
    bool taken = hook && hook(hook_context, level, event, fields, count);
    pthread_mutex_unlock(&hook_lock);
    return taken;
}

/* ---- floods: a small table of counters by event, for this second ---- */

enum { FLOOD_SLOTS = 64 };
static struct {
    _Atomic int64_t second;
    atomic_uint count;
} floods[FLOOD_SLOTS];

/* How many of this event came this second; the caller writes up to so many of them. */
static unsigned flood_count(const char *event, int64_t now_ms)
{
    size_t slot = str_hash(str_of(event)) % FLOOD_SLOTS;
    int64_t second = now_ms / 1000;
    if (atomic_exchange(&floods[slot].second, second) != second)
        floods[slot].count = 0;
    return atomic_fetch_add(&floods[slot].count, 1) + 1;
}

/* ---- writing ---- */

static void add_time(struct buf *b, int64_t ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm utc;
    gmtime_r(&t, &utc);
    buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
               utc.tm_sec, (int)(ms % 1000));
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == '"' || s.p[i] == '=' || s.p[i] == '\\' || s.p[i] == 0x7f || (unsigned char)s.p[i] >= 0x80)
            return false;
    return s.n > 0;
}

/* JSON string rules, which serve the text form too. Bytes that are not UTF-8 become \ufffd. */
static void add_quoted(struct buf *b, struct str s)
{
    bool utf8 = str_is_utf8(s);
    buf_add_c(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            buf_add_c(b, '\\');
            buf_add_c(b, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(b, "\\u%04x", c);
        } else if (c >= 0x80 && !utf8) {
            buf_add_z(b, "\\ufffd");
        } else {
            buf_add_c(b, (char)c);
        }
    }
    buf_add_c(b, '"');
}

static void add_value(struct buf *b, const struct log_field *f, bool json)
{
    struct str s = str_upto(f->s, LOG_VALUE_MAX);
    switch (f->kind) {
    case LOG_KIND_STR:
        if (json || !is_plain(s))
            add_quoted(b, s);
        else
            buf_add(b, s);
        return;
    case LOG_KIND_UINT:
        buf_add_u64(b, f->u);
        return;
    case LOG_KIND_INT:
        buf_printf(b, "%lld", (long long)f->i);
        return;
    case LOG_KIND_BOOL:
        buf_add_z(b, f->u ? "true" : "false");
        return;
    }
}

static void add_line(struct buf *b, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    bool json = as_json;
    buf_add_z(b, json ? "{\"time\":\"" : "");
    add_time(b, clock_wall_ms());
    buf_printf(b, json ? "\",\"level\":\"%s\",\"event\":\"%s\"" : " %s %s", level_names[level], event);
    for (size_t i = 0; i < count; i++) {
        size_t mark = b->n;
        buf_printf(b, json ? ",\"%s\":" : " %s=", fields[i].name);
        add_value(b, &fields[i], json);
        if (!buf_ok(b)) { /* the line is full: whole fields only */
            b->failed = false;
            buf_cut(b, mark);
            break;
        }
    }
}

void log_fields(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    if ((int)level < least || hook_takes(level, event, fields, count))
        return;
    unsigned n = flood_count(event, clock_wall_ms());
    unsigned burst = level >= LOG_WARN ? LOG_BURST : LOG_BURST_INFO;
    if (n > burst && n % 1000 != 0)
        return;
    struct buf line = BUF_INIT(LOG_LINE_MAX);
    add_line(&line, level, event, fields, count);
    line.max += 64;
    if (n > burst)
        buf_printf(&line, as_json ? ",\"flood\":%u" : " flood=%u", n);
    buf_add_z(&line, as_json ? "}\n" : "\n");
    ssize_t written = write(to_fd, line.p, line.n); /* a log that cannot be written has nobody to tell */
    (void)written;
    buf_release(&line);
}
