/* help settings: the rows of rt/settings.def, as text or Markdown. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "rt/settings.h"

static const char *kind_name(enum settings_kind kind)
{
    switch (kind) {
    case SETTINGS_INT:
        return "number";
    case SETTINGS_SIZE:
        return "size";
    case SETTINGS_TIME:
        return "time";
    case SETTINGS_BOOL:
        return "true or false";
    case SETTINGS_TEXT:
        return "text";
    }
    return "";
}

static void print_text(const struct settings_row *r, const struct settings *s)
{
    DEFER(buf_release) struct buf value = BUF_INIT(1024);
    settings_print_value(r, s, &value);
    printf("%s { %s = %.*s }\n    %s%s\n", r->section, r->name, STR_FMT(buf_str(&value)), r->prose,
           r->reload ? "" : " Changed at the next start only.");
}

static void print_markdown(const struct settings_row *r, const struct settings *s)
{
    DEFER(buf_release) struct buf value = BUF_INIT(1024);
    settings_print_value(r, s, &value);
    printf("| `%s { %s }` | %s | `%.*s` | %s | %s |\n", r->section, r->name, kind_name(r->kind), STR_FMT(buf_str(&value)),
           r->reload ? "reload" : "start", r->prose);
}

enum command_exit cmd_help_settings(const struct command_line *line)
{
    size_t count = 0;
    const struct settings_row *rows = settings_rows(&count);
    struct settings *defaults = settings_defaults();
    bool markdown = command_flag(line, "markdown");
    if (!defaults)
        return command_complain(EXIT_TEMPORARY, "out of memory");
    if (markdown)
        puts("| setting | kind | default | takes effect at | meaning |\n|---|---|---|---|---|");
    for (size_t i = 0; i < count; i++) {
        if (markdown)
            print_markdown(&rows[i], defaults);
        else
            print_text(&rows[i], defaults);
    }
    settings_unref(defaults);
    return EXIT_DONE;
}
