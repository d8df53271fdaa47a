/* The log: events with fields, not sentences. One event is one line and one write(2). Threads: any.
 *
 *   log_event(LOG_INFO, "smtp.transaction", LOG_STR("from", from), LOG_UINT("size", n), LOG_MS("took", ms));
 *
 * Event names are "area.what". As text:  2026-11-23T05:35:34.123Z info smtp.transaction from=a@b size=812 took_ms=3
 * As JSON (log_json): one object a line. Values are escaped, so nothing remote can forge a line. A flood of the same warning
 * or error is cut to LOG_BURST a second and counted; of the rest, which is a record of the work done, to LOG_BURST_INFO. Nothing
 * secret is ever a field. */
#ifndef RT_LOG_H
#define RT_LOG_H

#include "base/err.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_kind { LOG_KIND_STR, LOG_KIND_UINT, LOG_KIND_INT, LOG_KIND_BOOL };
struct log_field {
    const char *name;
    enum log_kind kind;
    struct str s;
    uint64_t u;
    int64_t i;
};

#define LOG_STR(name, value)  ((struct log_field){(name), LOG_KIND_STR, (value), 0, 0})
#define LOG_Z(name, value)    ((struct log_field){(name), LOG_KIND_STR, str_of(value), 0, 0})
#define LOG_UINT(name, value) ((struct log_field){(name), LOG_KIND_UINT, STR_NONE, (uint64_t)(value), 0})
#define LOG_INT(name, value)  ((struct log_field){(name), LOG_KIND_INT, STR_NONE, 0, (int64_t)(value)})
#define LOG_BOOL(name, value) ((struct log_field){(name), LOG_KIND_BOOL, STR_NONE, (value) ? 1 : 0, 0})
#define LOG_MS(name, value)   LOG_INT(name "_ms", value)
/* What a struct err says, for the operator. */
#define LOG_ERR(e)                                                                                                                 \
    LOG_Z("error", (e)->detail[0] ? (e)->detail : (e)->text), LOG_Z("class", st_name((e)->class)), LOG_Z("at", (e)->where)

#define log_event(level, event, ...)                                                                                               \
    log_fields((level), (event), (const struct log_field[]){__VA_ARGS__},                                                          \
               sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
void log_fields(enum log_level level, const char *event, const struct log_field *fields, size_t count);

enum { LOG_LINE_MAX = 4096, LOG_VALUE_MAX = 512, LOG_BURST = 200, LOG_BURST_INFO = 20000 };

void log_level_set(enum log_level least);
bool log_level_parse(struct str name, enum log_level *out);
void log_json(bool on);
void log_to(int fd); /* default: standard error */

/* Tests: sees every event that passes the level; returns true to keep it from being written. NULL ends it. */
typedef bool log_hook(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count);
void log_capture(log_hook *hook, void *context);

#endif
