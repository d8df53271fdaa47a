#include "rt/settings.h"

#include <confuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/check.h"

/* Follows the text as a word of the top level: libConfuse takes a section that is never closed for a whole one. */
#define END_WORD "end-of-configuration"

enum { SETTINGS_ARENA_MAX = 16 << 20, FILE_MAX = 4 << 20 };

struct snapshot {
    struct settings s; /* first: the public part */
    atomic_uint refs;
    struct arena arena;
};

static const struct settings_row rows[] = {
#define YES true
#define NO  false
#define INT(section, name, def, min, max, reload, prose)                                                                           \
    {#section, #name, NULL, prose, SETTINGS_INT, def, min, max, reload, offsetof(struct settings, section##_##name)},
#define SIZE(section, name, def, min, max, reload, prose)                                                                          \
    {#section, #name, NULL, prose, SETTINGS_SIZE, def, min, max, reload, offsetof(struct settings, section##_##name)},
#define TIME(section, name, def, min, max, reload, prose)                                                                          \
    {#section, #name, NULL, prose, SETTINGS_TIME, def, min, max, reload, offsetof(struct settings, section##_##name##_ms)},
#define BOOL(section, name, def, reload, prose)                                                                                    \
    {#section, #name, NULL, prose, SETTINGS_BOOL, def, 0, 1, reload, offsetof(struct settings, section##_##name)},
#define TEXT(section, name, def, reload, prose)                                                                                    \
    {#section, #name, def, prose, SETTINGS_TEXT, 0, 0, 0, reload, offsetof(struct settings, section##_##name)},
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

static void set_number(const struct settings_row *row, struct settings *s, int64_t v)
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

static void print_number(const struct settings_row *row, int64_t v, struct buf *out)
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
        print_number(row, *(const int64_t *)p, out);
        return;
    }
}

/* ---- snapshots ---- */

static struct snapshot *snapshot_of(const struct settings *s) { return (struct snapshot *)(uintptr_t)s; }

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
            set_number(&rows[i], &n->s, rows[i].number_default);
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

/* ---- the file ---- */

/* What the parser says about the text, kept for the caller: libConfuse reports through a callback. */
struct complaint {
    const char *name; /* of the file */
    char text[192];
};
static _Thread_local struct complaint *complaint;

/* Whether the first argument of a message is END_WORD. */
static bool at_end_word(va_list ap)
{
    va_list again;
    va_copy(again, ap);
    const char *word = va_arg(again, const char *);
    va_end(again);
    return word && strcmp(word, END_WORD) == 0;
}

static void complain(cfg_t *cfg, const char *format, va_list ap)
{
    if (!complaint || complaint->text[0])
        return;
    int n = snprintf(complaint->text, sizeof complaint->text, "%s:%d: ", complaint->name, cfg ? cfg->line : 0);
    if (strstr(format, "no such option") && cfg && cfg_name(cfg) && strcmp(cfg_name(cfg), "root") != 0 && at_end_word(ap)) {
        snprintf(complaint->text, sizeof complaint->text, "%s: expected '}' before the end, to close %s", complaint->name,
                 cfg_name(cfg));
        return;
    }
    if (n > 0 && (size_t)n < sizeof complaint->text) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        vsnprintf(complaint->text + n, sizeof complaint->text - (size_t)n, format, ap);
#pragma GCC diagnostic pop
    }
}

static enum st complain_at(cfg_t *section, struct err *e, const char *what, const char *expected)
{
    return ERR_PUBLIC(e, ST_PERM, "%s:%d: %s: expected %s", complaint->name, section->line, what, expected);
}

static enum st read_row(const struct settings_row *row, cfg_t *section, struct settings *s, struct err *e)
{
    if (cfg_size(section, row->name) == 0)
        return ST_OK;
    const char *text = cfg_getstr(section, row->name);
    if (row->kind == SETTINGS_TEXT) {
        *(const char **)field(row, s) = settings_text(s, str_of(text));
        return ST_OK;
    }
    char what[96], expected[128];
    snprintf(what, sizeof what, "%s { %s = %.40s }", row->section, row->name, text);
    if (row->kind == SETTINGS_BOOL) {
        bool yes = strcmp(text, "true") == 0 || strcmp(text, "yes") == 0,
             no = strcmp(text, "false") == 0 || strcmp(text, "no") == 0;
        if (!yes && !no)
            return complain_at(section, e, what, "true or false");
        set_number(row, s, yes);
        return ST_OK;
    }
    int64_t v;
    struct buf min = BUF_INIT(40), max = BUF_INIT(40);
    print_number(row, row->min, &min);
    print_number(row, row->max, &max);
    snprintf(expected, sizeof expected, "%s between %s and %s",
             row->kind == SETTINGS_TIME   ? "a time such as 30s, 5m, 4h,"
             : row->kind == SETTINGS_SIZE ? "a size such as 128K, 50M,"
                                          : "a number",
             buf_z(&min), buf_z(&max));
    buf_release(&min);
    buf_release(&max);
    if (!settings_read_number(row->kind, str_of(text), &v) || v < row->min || v > row->max)
        return complain_at(section, e, what, expected);
    set_number(row, s, v);
    return ST_OK;
}

static const char *const protocols[] = {"smtp", "submission", "lmtp", "pop3", "imap", "http", "managesieve"};

static const char *keep(struct settings *s, cfg_t *section, const char *name)
{
    const char *text = cfg_getstr(section, name);
    return settings_text(s, str_of(text ? text : ""));
}

static enum st read_listen(cfg_t *section, struct settings *s, struct err *e)
{
    struct settings_listen *l = &s->listen[s->listen_count];
    *l = (struct settings_listen){settings_text(s, str_of(cfg_title(section))), keep(s, section, "protocol"),
                                  keep(s, section, "address"), 0, cfg_getbool(section, "tls")};
    bool known = false;
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
        known |= strcmp(protocols[i], l->protocol) == 0;
    if (!known)
        return complain_at(section, e, "listen { protocol }", "smtp, submission, lmtp, pop3, imap, http or managesieve");
    long port = cfg_getint(section, "port");
    if (port < 0 || port > 65535 || (port == 0) != (l->address[0] == '/'))
        return complain_at(section, e, "listen", "an address with a port (1 to 65535), or the path of a unix socket without one");
    l->port = (uint16_t)port;
    s->listen_count++;
    return ST_OK;
}

static enum st read_certificate(cfg_t *section, struct settings *s, struct err *e)
{
    struct settings_certificate *c = &s->certificate[s->certificate_count];
    *c = (struct settings_certificate){settings_text(s, str_of(cfg_title(section))), keep(s, section, "chain"),
                                       keep(s, section, "key")};
    if (!c->chain[0] || !c->key[0])
        return complain_at(section, e, "certificate", "chain = \"/path/fullchain.pem\" and key = \"/path/privkey.pem\"");
    s->certificate_count++;
    return ST_OK;
}

static enum st read_route(cfg_t *section, struct settings *s, struct err *e)
{
    struct settings_route *r = &s->route[s->route_count];
    long port = cfg_getint(section, "port");
    if (port < 1 || port > 65535)
        return complain_at(section, e, "route { port }", "a number between 1 and 65535");
    *r = (struct settings_route){settings_text(s, str_of(cfg_title(section))), keep(s, section, "host"), (uint16_t)port,
                                 cfg_getbool(section, "lmtp")};
    if (!r->host[0])
        return complain_at(section, e, "route", "host = \"name or address\"");
    s->route_count++;
    return ST_OK;
}

typedef enum st section_reader(cfg_t *section, struct settings *s, struct err *e);
static enum st read_titled(cfg_t *cfg, const char *name, size_t max, section_reader *reader, struct settings *s, struct err *e)
{
    size_t n = cfg_size(cfg, name);
    ENSURE(n <= max, e, ST_PERM, "at most %zu sections of %s are possible", max, name);
    for (unsigned i = 0; i < n; i++)
        TRY(reader(cfg_getnsec(cfg, name, i), s, e));
    return ST_OK;
}

static enum st read_all(cfg_t *cfg, struct settings *s, struct err *e)
{
    struct arena *a = &snapshot_of(s)->arena;
    for (size_t i = 0; i < ROWS; i++)
        TRY(read_row(&rows[i], cfg_getsec(cfg, rows[i].section), s, e));
    s->listen = ARENA_ARRAY(a, cfg_size(cfg, "listen") + 1, struct settings_listen);
    s->certificate = ARENA_ARRAY(a, cfg_size(cfg, "certificate") + 1, struct settings_certificate);
    s->route = ARENA_ARRAY(a, cfg_size(cfg, "route") + 1, struct settings_route);
    ENSURE(s->listen && s->certificate && s->route, e, ST_LIMIT, "the configuration is too large");
    TRY(read_titled(cfg, "listen", SETTINGS_LISTEN_MAX, read_listen, s, e));
    TRY(read_titled(cfg, "certificate", SETTINGS_CERTIFICATE_MAX, read_certificate, s, e));
    return read_titled(cfg, "route", SETTINGS_ROUTE_MAX, read_route, s, e);
}

/* The option tables of libConfuse, one for each section, made from the rows. */
struct grammar {
    cfg_opt_t section[ROWS + 8][ROWS + 1];
    cfg_opt_t top[ROWS + 8];
    cfg_opt_t end[1];
};

static void grammar_fill(struct grammar *g, cfg_opt_t *listen, cfg_opt_t *certificate, cfg_opt_t *route)
{
    size_t sections = 0;
    g->end[0] = (cfg_opt_t)CFG_END();
    for (size_t i = 0; i < ROWS;) {
        const char *name = rows[i].section;
        size_t n = 0;
        for (; i < ROWS && strcmp(rows[i].section, name) == 0; i++)
            g->section[sections][n++] = (cfg_opt_t)CFG_STR(rows[i].name, NULL, CFGF_NODEFAULT);
        g->section[sections][n] = (cfg_opt_t)CFG_END();
        g->top[sections] = (cfg_opt_t)CFG_SEC(name, g->section[sections], CFGF_NONE);
        sections++;
    }
    g->top[sections++] = (cfg_opt_t)CFG_SEC("listen", listen, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    g->top[sections++] = (cfg_opt_t)CFG_SEC("certificate", certificate, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    g->top[sections++] = (cfg_opt_t)CFG_SEC("route", route, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    g->top[sections++] = (cfg_opt_t)CFG_SEC(END_WORD, g->end, CFGF_NONE);
    g->top[sections++] = (cfg_opt_t)CFG_FUNC("include", &cfg_include);
    g->top[sections] = (cfg_opt_t)CFG_END();
}

static enum st read_snapshot(cfg_t *cfg, struct settings **out, struct err *e)
{
    struct settings *s = settings_defaults();
    ENSURE(s, e, ST_TEMP, "out of memory");
    enum st result = read_all(cfg, s, e);
    if (result == ST_OK)
        *out = s;
    else
        settings_unref(s);
    return result;
}

static enum st parse_with(cfg_t *cfg, const char *name, const char *text, struct settings **out, struct err *e)
{
    struct complaint said = {name, {0}};
    complaint = &said;
    cfg_set_error_function(cfg, complain);
    int code = cfg_parse_buf(cfg, text);
    enum st result = code == CFG_SUCCESS
                         ? read_snapshot(cfg, out, e)
                         : ERR_PUBLIC(e, ST_PERM, "%s", said.text[0] ? said.text : "the configuration cannot be read");
    complaint = NULL;
    return result;
}

enum st settings_parse(const char *name, struct str text, struct settings **out, struct err *e)
{
    ENSURE(text.n <= FILE_MAX, e, ST_LIMIT, "%s is too large to be a configuration", name);
    ENSURE(!text.n || !memchr(text.p, '\0', text.n), e, ST_PERM, "%s: expected text, found a NUL byte", name);
    cfg_opt_t listen[] = {CFG_STR("protocol", "", CFGF_NONE), CFG_STR("address", "127.0.0.1", CFGF_NONE),
                          CFG_INT("port", 0, CFGF_NONE), CFG_BOOL("tls", cfg_false, CFGF_NONE), CFG_END()};
    cfg_opt_t certificate[] = {CFG_STR("chain", "", CFGF_NONE), CFG_STR("key", "", CFGF_NONE), CFG_END()};
    cfg_opt_t route[] = {CFG_STR("host", "", CFGF_NONE), CFG_INT("port", 25, CFGF_NONE), CFG_BOOL("lmtp", cfg_false, CFGF_NONE),
                         CFG_END()};
    struct grammar *g = calloc(1, sizeof *g);
    struct buf z = BUF_INIT(FILE_MAX);
    z.max += 64;
    buf_add(&z, text);
    buf_add_z(&z, "\n" END_WORD " {}\n");
    if (!g || !buf_z(&z)) {
        free(g);
        buf_release(&z);
        return ERR_PUBLIC(e, ST_TEMP, "out of memory");
    }
    grammar_fill(g, listen, certificate, route);
    cfg_t *cfg = cfg_init(g->top, CFGF_NONE);
    enum st s = cfg ? parse_with(cfg, name, buf_z(&z), out, e) : ERR_PUBLIC(e, ST_TEMP, "out of memory");
    if (cfg)
        cfg_free(cfg);
    free(g);
    buf_release(&z);
    return s;
}

enum st settings_load(const char *path, struct settings **out, struct err *e)
{
    FILE *f = fopen(path, "rb");
    ENSURE(f, e, ST_NOTFOUND, "%s cannot be read", path);
    struct buf text = BUF_INIT(FILE_MAX + 1);
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0 && buf_ok(&text);)
        buf_add(&text, str_make(block, n));
    fclose(f);
    enum st s = settings_parse(path, buf_str(&text), out, e);
    buf_release(&text);
    return s;
}
