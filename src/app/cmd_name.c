/* domain and alias commands. */
#include "app/command.h"
#include "app/link.h"
#include "app/table.h"

static const struct table_column domain_columns[] = {
    {"DOMAIN", "name", TABLE_TEXT},
    {"DEFAULT", "default", TABLE_TEXT},
    {"CATCH-ALL", "catch_all", TABLE_TEXT},
    {"ALIAS OF", "alias_of", TABLE_TEXT},
    {0},
};
static const struct table_column alias_columns[] = {
    {"ALIAS", "address", TABLE_TEXT},
    {"TARGETS", "targets", TABLE_LIST},
    {0},
};

static void add_row(void *context, json_t *row) { table_add(context, row); }

/* Sends the request (taken), prints a table if there are columns. */
static enum command_exit ask(const struct command_line *line, json_t *request, const struct table_column *columns, const char *key)
{
    struct err e = {0};
    struct link *l = NULL;
    struct table t;
    enum st st = link_open(line, &l, &e);
    table_init(&t, columns, command_flag(line, "json"));
    if (st == ST_OK)
        st = link_ask(l, request, add_row, &t, NULL, &e);
    else
        json_decref(request);
    link_close(l);
    if (st == ST_OK && columns) {
        table_sort(&t, key);
        table_print(&t);
    }
    table_release(&t);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}

static void set_optional(json_t *request, const char *key, const char *value)
{
    if (value)
        json_object_set_new(request, key, json_string(value));
}

enum command_exit cmd_domain_add(const struct command_line *line)
{
    json_t *request =
        json_pack("{s:s, s:s, s:b}", "do", "domain.put", "name", line->args[0], "default", command_flag(line, "default"));
    set_optional(request, "catch_all", command_value(line, "catch-all"));
    set_optional(request, "alias_of", command_value(line, "alias-of"));
    return ask(line, request, NULL, NULL);
}

enum command_exit cmd_domain_list(const struct command_line *line)
{
    return ask(line, json_pack("{s:s}", "do", "domain.list"), domain_columns, "name");
}

enum command_exit cmd_domain_remove(const struct command_line *line)
{
    return ask(line, json_pack("{s:s, s:s}", "do", "domain.remove", "name", line->args[0]), NULL, NULL);
}

enum command_exit cmd_alias_add(const struct command_line *line)
{
    json_t *targets = json_array();
    for (size_t i = 1; i < line->arg_count; i++)
        json_array_append_new(targets, json_string(line->args[i]));
    return ask(line, json_pack("{s:s, s:s, s:o}", "do", "alias.put", "address", line->args[0], "targets", targets), NULL, NULL);
}

enum command_exit cmd_alias_list(const struct command_line *line)
{
    json_t *request = json_pack("{s:s}", "do", "alias.list");
    set_optional(request, "domain", line->arg_count ? line->args[0] : NULL);
    return ask(line, request, alias_columns, "address");
}

enum command_exit cmd_alias_remove(const struct command_line *line)
{
    return ask(line, json_pack("{s:s, s:s}", "do", "alias.remove", "address", line->args[0]), NULL, NULL);
}
