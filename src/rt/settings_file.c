/* The configuration file: libConfuse reads it, the rows of settings.def say what may stand in it. Each value is checked when it is
 * read, so that a complaint names its very line. */
#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/check.h"
#include "rt/settings_internal.h"

/* Follows the text as a word of the top level: libConfuse takes a section that is never closed for a whole one. */
#define END_WORD "end-of-configuration"

enum { FILE_MAX = 4 << 20, PATH_BYTES = 4096 };

/* ---- complaints ---- */

/* What the parser says about the text, kept for the caller: libConfuse reports through a callback. */
struct complaint {
    const char *name; /* of the file */
    cfg_t *root;      /* while it is parsed: its filename is that of the file being read */
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

static const char *file_of(const cfg_t *cfg)
{
    return cfg && cfg->filename && strcmp(cfg->filename, "[buf]") != 0 ? cfg->filename : complaint->name;
}

static void complain(cfg_t *cfg, const char *format, va_list ap)
{
    if (!complaint || complaint->text[0])
        return; /* the first one counts */
    int n = snprintf(complaint->text, sizeof complaint->text, "%.100s:%d: ", file_of(complaint->root), cfg ? cfg->line : 0);
    if (strstr(format, "no such option") && cfg && cfg_name(cfg) && strcmp(cfg_name(cfg), "root") != 0 && at_end_word(ap)) {
        snprintf(complaint->text, sizeof complaint->text, "%.100s: expected '}' before the end, to close %s", complaint->name,
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
    return ERR_PUBLIC(e, ST_PERM, "%.100s:%d: %s: expected %s", file_of(section), section->line, what, expected);
}

/* ---- one value ---- */

static const struct settings_row *find_row(const char *section, const char *name)
{
    size_t count;
    const struct settings_row *rows = settings_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].section, section) == 0 && strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static bool read_bool(const char *text, int64_t *out)
{
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "yes") == 0, no = strcmp(text, "false") == 0 || strcmp(text, "no") == 0;
    *out = yes;
    return yes || no;
}

static bool is_choice(const char *choices, struct str text)
{
    struct str rest = str_of(choices), word;
    while (str_split(&rest, ' ', &word))
        if (str_eq(word, text))
            return true;
    return false;
}

/* A value for a row: false if it is not one. Texts without choices are always one. */
static bool read_value(const struct settings_row *row, const char *text, int64_t *number)
{
    switch (row->kind) {
    case SETTINGS_TEXT:
        return !row->choices || is_choice(row->choices, str_of(text));
    case SETTINGS_BOOL:
        return read_bool(text, number);
    case SETTINGS_INT:
    case SETTINGS_SIZE:
    case SETTINGS_TIME:
        return settings_read_number(row->kind, str_of(text), number) && *number >= row->min && *number <= row->max;
    }
    return false;
}

static void print_expected(const struct settings_row *row, struct buf *out)
{
    switch (row->kind) {
    case SETTINGS_TEXT: {
        struct str rest = str_of(row->choices ? row->choices : ""), word;
        while (str_split(&rest, ' ', &word))
            buf_printf(out, "%s%.*s", out->n == 0 ? "" : rest.n ? ", " : " or ", STR_FMT(word));
        return;
    }
    case SETTINGS_BOOL:
        buf_add_z(out, "true or false");
        return;
    case SETTINGS_INT:
    case SETTINGS_SIZE:
    case SETTINGS_TIME:
        buf_add_z(out, row->kind == SETTINGS_TIME   ? "a time such as 30s, 5m, 4h, between "
                       : row->kind == SETTINGS_SIZE ? "a size such as 128K, 50M, between "
                                                    : "a number between ");
        settings_print_number(row, row->min, out);
        buf_add_z(out, " and ");
        settings_print_number(row, row->max, out);
    }
}

/* libConfuse calls it for each value that it has read. */
static int check_row(cfg_t *section, cfg_opt_t *option)
{
    const struct settings_row *row = find_row(cfg_name(section), option->name);
    unsigned n = cfg_opt_size(option);
    const char *text = n ? cfg_opt_getnstr(option, n - 1) : NULL;
    int64_t ignored;
    if (!row || !text || read_value(row, text, &ignored))
        return 0;
    struct buf expected = BUF_INIT(256), example = BUF_INIT(64);
    print_expected(row, &expected);
    if (row->kind == SETTINGS_TEXT)
        buf_add_z(&example, row->text_default);
    else
        settings_print_number(row, row->number_default, &example);
    if (row->kind == SETTINGS_BOOL)
        cfg_error(section, "%s = %.40s: expected true or false", row->name, text);
    else
        cfg_error(section, "%s = %.40s: expected %.60s; for example %s = %.20s", row->name, text, buf_z(&expected), row->name,
                  buf_z(&example));
    buf_release(&expected);
    buf_release(&example);
    return -1;
}

static void read_row(const struct settings_row *row, cfg_t *section, struct settings *s)
{
    int64_t number = 0;
    if (cfg_size(section, row->name) == 0)
        return;
    const char *text = cfg_getstr(section, row->name);
    if (row->kind == SETTINGS_TEXT)
        settings_set_text(row, s, str_of(text));
    else if (always(read_value(row, text, &number))) /* check_row saw it */
        settings_set_number(row, s, number);
}

/* ---- sections with titles ---- */

static const char *keep(struct settings *s, cfg_t *section, const char *name)
{
    const char *text = cfg_getstr(section, name);
    return settings_text(s, str_of(text ? text : ""));
}

static enum st read_listen(cfg_t *section, struct settings *s, struct err *e)
{
    struct settings_listen *l = &s->listen[s->listen_count];
    *l = (struct settings_listen){.name = settings_text(s, str_of(cfg_title(section))),
                                  .protocol = keep(s, section, "protocol"),
                                  .address = keep(s, section, "address"),
                                  .tls = cfg_getbool(section, "tls")};
    if (!is_choice("smtp submission lmtp pop3 imap http managesieve", str_of(l->protocol)))
        return complain_at(section, e, "listen { protocol }", "smtp, submission, lmtp, pop3, imap, http or managesieve");
    long port = cfg_getint(section, "port"), connections = cfg_getint(section, "connections");
    if (port < 0 || port > 65535 || (port == 0) != (l->address[0] == '/'))
        return complain_at(section, e, "listen", "an address with a port (1 to 65535), or the path of a unix socket without one");
    if (connections < 1 || connections > 1000000)
        return complain_at(section, e, "listen { connections }", "a number between 1 and 1000000");
    l->port = (uint16_t)port;
    l->connections = (unsigned)connections;
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

static bool has_program(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->program_count; i++)
        if (strcmp(s->program[i].name, name) == 0)
            return true;
    return false;
}

static enum st read_route(cfg_t *section, struct settings *s, struct err *e)
{
    struct settings_route *r = &s->route[s->route_count];
    long port = cfg_getint(section, "port");
    if (port < 1 || port > 65535)
        return complain_at(section, e, "route { port }", "a number between 1 and 65535");
    *r = (struct settings_route){settings_text(s, str_of(cfg_title(section))), keep(s, section, "host"), (uint16_t)port,
                                 cfg_getbool(section, "lmtp"), keep(s, section, "program")};
    if (!r->host[0] == !r->program[0])
        return complain_at(section, e, "route", "either host = \"name or address\" or program = \"title of a program section\"");
    if (r->program[0] && !has_program(s, r->program))
        return complain_at(section, e, "route { program }", "the title of a program section of this configuration");
    s->route_count++;
    return ST_OK;
}

/* A number of a `program` section, of the kind that its unit tells. */
static enum st read_amount(cfg_t *section, const char *name, enum settings_kind kind, int64_t max, int64_t *out, struct err *e)
{
    if (settings_read_number(kind, str_of(cfg_getstr(section, name)), out) && *out >= 1 && *out <= max)
        return ST_OK;
    return complain_at(section, e, name,
                       kind == SETTINGS_TIME ? "a time such as 30s, at most 1h" : "a size such as 256M, at most 64G");
}

static enum st read_program(cfg_t *section, struct settings *s, struct err *e)
{
    struct settings_program *p = &s->program[s->program_count];
    unsigned n = cfg_size(section, "command");
    *p = (struct settings_program){.name = settings_text(s, str_of(cfg_title(section))), .user = keep(s, section, "user")};
    if (!p->name[0] || strlen(p->name) > SETTINGS_PROGRAM_NAME_MAX)
        return complain_at(section, e, "program", "a title of 1 to 100 bytes");
    if (n == 0 || n > SETTINGS_COMMAND_MAX || cfg_getnstr(section, "command", 0)[0] != '/')
        return complain_at(section, e, "program { command }", "{\"/path/of/program\", \"argument\", ...}, at most 16 words");
    for (unsigned i = 0; i < n; i++)
        p->command[i] = settings_text(s, str_of(cfg_getnstr(section, "command", i)));
    TRY(read_amount(section, "timeout", SETTINGS_TIME, 3600000, &p->timeout_ms, e));
    TRY(read_amount(section, "memory", SETTINGS_SIZE, 64LL << 30, &p->memory_bytes, e));
    s->program_count++;
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
    struct arena *a = settings_arena(s);
    size_t count;
    const struct settings_row *rows = settings_rows(&count);
    for (size_t i = 0; i < count; i++)
        read_row(&rows[i], cfg_getsec(cfg, rows[i].section), s);
    s->listen = ARENA_ARRAY(a, cfg_size(cfg, "listen") + 1, struct settings_listen);
    s->certificate = ARENA_ARRAY(a, cfg_size(cfg, "certificate") + 1, struct settings_certificate);
    s->route = ARENA_ARRAY(a, cfg_size(cfg, "route") + 1, struct settings_route);
    s->program = ARENA_ARRAY(a, cfg_size(cfg, "program") + 1, struct settings_program);
    ENSURE(s->listen && s->certificate && s->route && s->program, e, ST_LIMIT, "the configuration is too large");
    TRY(read_titled(cfg, "listen", SETTINGS_LISTEN_MAX, read_listen, s, e));
    TRY(read_titled(cfg, "certificate", SETTINGS_CERTIFICATE_MAX, read_certificate, s, e));
    TRY(read_titled(cfg, "program", SETTINGS_PROGRAM_MAX, read_program, s, e));
    return read_titled(cfg, "route", SETTINGS_ROUTE_MAX, read_route, s, e);
}

/* ---- the grammar ---- */

/* include("more.conf"): relative to the folder of the main file, and a regular file of a sane size. Only the main file includes:
 * there are no circles to be found. */
static int include(cfg_t *cfg, cfg_opt_t *option, int count, const char **words)
{
    char path[PATH_BYTES];
    struct stat st;
    if (count != 1) {
        cfg_error(cfg, "include: expected one file, for example include(\"certificates.conf\")");
        return -1;
    }
    if (cfg->filename && strcmp(cfg->filename, "[buf]") != 0) {
        cfg_error(cfg, "include(\"%.80s\"): only the main file can include others", words[0]);
        return -1;
    }
    const char *slash = strrchr(complaint->name, '/');
    int folder = words[0][0] != '/' && slash ? (int)(slash - complaint->name) + 1 : 0;
    int n = snprintf(path, sizeof path, "%.*s%s", folder, complaint->name, words[0]);
    if (n < 0 || (size_t)n >= sizeof path || stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        cfg_error(cfg, "include(\"%.80s\"): this file cannot be read", words[0]);
        return -1;
    }
    const char *whole = path;
    return cfg_include(cfg, option, 1, &whole);
}

/* The option tables of libConfuse, one for each section of settings.def. */
struct grammar {
    cfg_opt_t *options; /* all sections, one after the other, each ended by CFG_END */
    cfg_opt_t *top;
    cfg_opt_t end[1];
};

static bool is_new_section(const struct settings_row *rows, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(rows[k].section, rows[i].section) == 0)
            return false;
    return true;
}

static void add_titled(cfg_opt_t *top, size_t *n, const char *name, cfg_opt_t *options)
{
    top[(*n)++] = (cfg_opt_t)CFG_SEC(name, options, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
}

/* The sections of the rows; returns how many there are. */
static size_t grammar_fill(struct grammar *g)
{
    size_t count, sections = 0, n = 0;
    const struct settings_row *rows = settings_rows(&count);
    g->end[0] = (cfg_opt_t)CFG_END();
    for (size_t i = 0; i < count; i++) {
        if (!is_new_section(rows, i))
            continue;
        cfg_opt_t *first = &g->options[n];
        for (size_t k = i; k < count; k++)
            if (strcmp(rows[k].section, rows[i].section) == 0) {
                g->options[n] = (cfg_opt_t)CFG_STR(rows[k].name, NULL, CFGF_NODEFAULT);
                g->options[n++].validcb = check_row;
            }
        g->options[n++] = (cfg_opt_t)CFG_END();
        g->top[sections++] = (cfg_opt_t)CFG_SEC(rows[i].section, first, CFGF_NONE);
    }
    g->top[sections++] = (cfg_opt_t)CFG_SEC(END_WORD, g->end, CFGF_NONE);
    g->top[sections++] = (cfg_opt_t)CFG_FUNC("include", include);
    return sections;
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

static enum st parse_with(cfg_opt_t *top, const char *name, const char *text, struct settings **out, struct err *e)
{
    cfg_t *cfg = cfg_init(top, CFGF_NONE);
    struct complaint said = {name, cfg, {0}};
    ENSURE(cfg, e, ST_TEMP, "out of memory");
    complaint = &said;
    cfg_set_error_function(cfg, complain);
    int code = cfg_parse_buf(cfg, text);
    enum st result = code == CFG_SUCCESS
                         ? read_snapshot(cfg, out, e)
                         : ERR_PUBLIC(e, ST_PERM, "%s", said.text[0] ? said.text : "the configuration cannot be read");
    cfg_free(cfg);
    complaint = NULL;
    return result;
}

static enum st parse_z(const char *name, const char *text, struct settings **out, struct err *e)
{
    cfg_opt_t listen[] = {
        CFG_STR("protocol", "", CFGF_NONE),    CFG_STR("address", "127.0.0.1", CFGF_NONE), CFG_INT("port", 0, CFGF_NONE),
        CFG_BOOL("tls", cfg_false, CFGF_NONE), CFG_INT("connections", 1000000, CFGF_NONE), CFG_END()};
    cfg_opt_t certificate[] = {CFG_STR("chain", "", CFGF_NONE), CFG_STR("key", "", CFGF_NONE), CFG_END()};
    cfg_opt_t route[] = {CFG_STR("host", "", CFGF_NONE), CFG_INT("port", 25, CFGF_NONE), CFG_BOOL("lmtp", cfg_false, CFGF_NONE),
                         CFG_STR("program", "", CFGF_NONE), CFG_END()};
    char nothing[] = "{}";
    cfg_opt_t program[] = {CFG_STR_LIST("command", nothing, CFGF_NONE), CFG_STR("user", "", CFGF_NONE),
                           CFG_STR("timeout", "1m", CFGF_NONE), CFG_STR("memory", "512M", CFGF_NONE), CFG_END()};
    size_t count;
    settings_rows(&count);
    struct grammar g = {.options = calloc(count * 2 + 1, sizeof(cfg_opt_t)), .top = calloc(count + 8, sizeof(cfg_opt_t))};
    enum st s = ERR(e, ST_TEMP, "out of memory", "grammar of the configuration");
    if (g.options && g.top) {
        size_t n = grammar_fill(&g);
        add_titled(g.top, &n, "listen", listen);
        add_titled(g.top, &n, "certificate", certificate);
        add_titled(g.top, &n, "route", route);
        add_titled(g.top, &n, "program", program);
        g.top[n] = (cfg_opt_t)CFG_END();
        s = parse_with(g.top, name, text, out, e);
    }
    free(g.options);
    free(g.top);
    return s;
}

enum st settings_parse(const char *name, struct str text, struct settings **out, struct err *e)
{
    ENSURE(text.n <= FILE_MAX, e, ST_LIMIT, "%s is too large to be a configuration", name);
    ENSURE(!text.n || !memchr(text.p, '\0', text.n), e, ST_PERM, "%s: expected text, found a NUL byte", name);
    struct buf z = BUF_INIT(FILE_MAX + 64);
    buf_add(&z, text);
    buf_add_z(&z, "\n" END_WORD " {}\n");
    const char *whole = buf_z(&z);
    enum st s = whole ? parse_z(name, whole, out, e) : ERR(e, ST_TEMP, "out of memory", "text of the configuration");
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
    bool failed = ferror(f) != 0;
    fclose(f);
    enum st s = failed ? ERR_PUBLIC(e, ST_TEMP, "%s cannot be read", path) : settings_parse(path, buf_str(&text), out, e);
    buf_release(&text);
    return s;
}
