#include "rt/settings.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "rt/settings_internal.h"

enum { SETTINGS_ARENA_MAX = 16 << 20 };

struct snapshot {
    struct settings s; /* first: the public part */
    atomic_uint refs;
    struct arena arena;
};
static struct snapshot *snapshot_of(const struct settings *s) { return (struct snapshot *)(uintptr_t)s; }
struct arena *settings_arena(struct settings *s) { return &snapshot_of(s)->arena; }

static const struct settings_row rows[] = {
#define YES true
#define NO  false
#define INT(section, name, def, min, max, reload, prose)                                                                           \
    {#section, #name, NULL, NULL, prose, SETTINGS_INT, def, min, max, reload, offsetof(struct settings, section##_##name)},
#define SIZE(section, name, def, min, max, reload, prose)                                                                          \
    {#section, #name, NULL, NULL, prose, SETTINGS_SIZE, def, min, max, reload, offsetof(struct settings, section##_##name)},
#define TIME(section, name, def, min, max, reload, prose)                                                                          \
    {#section, #name, NULL, NULL, prose, SETTINGS_TIME, def, min, max, reload, offsetof(struct settings, section##_##name##_ms)},
#define BOOL(section, name, def, reload, prose)                                                                                    \
    {#section, #name, NULL, NULL, prose, SETTINGS_BOOL, def, 0, 1, reload, offsetof(struct settings, section##_##name)},
#define TEXT(section, name, def, reload, prose)                                                                                    \
    {#section, #name, def, NULL, prose, SETTINGS_TEXT, 0, 0, 0, reload, offsetof(struct settings, section##_##name)},
#define CHOICE(section, name, def, choices, reload, prose)                                                                         \
    {#section, #name, def, choices, prose, SETTINGS_TEXT, 0, 0, 0, reload, offsetof(struct settings, section##_##name)},
#include "rt/settings.def"
};
enum { ROWS = sizeof rows / sizeof rows[0] };

const struct settings_row *settings_rows(size_t *count)
{
    *count = ROWS;
    return rows;
}

/* ---- values ---- */

static void *field(const struct settings_row *row, struct settings *s) { return (char *)s + row->offset; }
static const void *field_of(const struct settings_row *row, const struct settings *s) { return (const char *)s + row->offset; }

void settings_set_number(const struct settings_row *row, struct settings *s, int64_t v)
{
    if (row->kind == SETTINGS_BOOL)
        *(bool *)field(row, s) = v != 0;
    else
        *(int64_t *)field(row, s) = v;
}

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit size_units[] = {{"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1LL << 40}};
static const struct unit time_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
static const struct unit plain_units[] = {{"", 1}};

static size_t units_of(enum settings_kind kind, const struct unit **units)
{
    *units = kind == SETTINGS_SIZE ? size_units : kind == SETTINGS_TIME ? time_units : plain_units;
    return kind == SETTINGS_SIZE ? 5 : kind == SETTINGS_TIME ? 6 : 1;
}

bool settings_read_number(enum settings_kind kind, struct str text, int64_t *out)
{
    size_t digits = 0;
    uint64_t n;
    while (digits < text.n && ascii_digit(text.p[digits]))
        digits++;
    if (!str_to_u64(str_upto(text, digits), &n) || n > INT64_MAX)
        return false;
    const struct unit *units;
    size_t count = units_of(kind, &units);
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(str_from(text, digits), str_of(units[i].name)))
            return !__builtin_mul_overflow((int64_t)n, units[i].factor, out);
    return n == 0 && digits == text.n && ((*out = 0), true);
}

void settings_print_number(const struct settings_row *row, int64_t v, struct buf *out)
{
    const struct unit *units;
    size_t i = units_of(row->kind, &units) - 1;
    while (i > 0 && (v == 0 || v % units[i].factor != 0))
        i--;
    buf_printf(out, "%lld%s", (long long)(v / units[i].factor), units[i].name);
}

void settings_print_value(const struct settings_row *row, const struct settings *s, struct buf *out)
{
    const void *p = field_of(row, s);
    switch (row->kind) {
    case SETTINGS_BOOL:
        buf_add_z(out, *(const bool *)p ? "true" : "false");
        return;
    case SETTINGS_TEXT:
        buf_printf(out, "\"%s\"", *(const char *const *)p);
        return;
    case SETTINGS_INT:
    case SETTINGS_SIZE:
    case SETTINGS_TIME:
        settings_print_number(row, *(const int64_t *)p, out);
        return;
    }
}

/* ---- snapshots ---- */

struct settings *settings_defaults(void)
{
    struct snapshot *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->refs = 1;
    arena_init(&n->arena, SETTINGS_ARENA_MAX);
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].kind == SETTINGS_TEXT)
            *(const char **)field(&rows[i], &n->s) = rows[i].text_default;
        else
            settings_set_number(&rows[i], &n->s, rows[i].number_default);
    }
    return &n->s;
}

const char *settings_text(struct settings *s, struct str text)
{
    const char *z = arena_z(&snapshot_of(s)->arena, text);
    return z ? z : "";
}

static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;
static struct settings *current;

const struct settings *settings_current(void)
{
    pthread_mutex_lock(&current_lock);
    if (!current)
        current = settings_defaults();
    check(current != NULL);
    snapshot_of(current)->refs++;
    const struct settings *s = current;
    pthread_mutex_unlock(&current_lock);
    return s;
}

void settings_unref(const struct settings *s)
{
    struct snapshot *n = s ? snapshot_of(s) : NULL;
    if (!n || atomic_fetch_sub(&n->refs, 1) != 1)
        return;
    arena_release(&n->arena);
    free(n);
}

void settings_use(struct settings **s)
{
    pthread_mutex_lock(&current_lock);
    struct settings *old = current;
    current = *s;
    *s = NULL;
    pthread_mutex_unlock(&current_lock);
    settings_unref(old);
}

void settings_set_text(const struct settings_row *row, struct settings *s, struct str text)
{
    *(const char **)field(row, s) = settings_text(s, text);
}
