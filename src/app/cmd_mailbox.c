#include "app/command.h"
#include "app/link.h"
#include "app/table.h"

#include <stdio.h>

static const struct table_column columns[] = {
    {"MAILBOX", "mailbox", TABLE_TEXT},
    {"ROLE", "role", TABLE_TEXT},
    {"MESSAGES", "messages", TABLE_NUMBER},
    {"UNSEEN", "unseen", TABLE_NUMBER},
    {"SIZE", "size", TABLE_BYTES},
    {"UIDNEXT", "uidnext", TABLE_NUMBER},
    {"SUBSCRIBED", "subscribed", TABLE_TEXT},
    {0},
};

static void add_row(void *context, json_t *row) { table_add(context, row); }

enum command_exit cmd_mailbox_list(const struct command_line *line)
{
    struct err e = {0};
    struct link *l = NULL;
    struct table t;
    json_t *request = json_pack("{s:s, s:s}", "do", "mailbox.list", "user", line->args[0]);
    enum st st = link_open(line, &l, &e);
    table_init(&t, columns, command_flag(line, "json"));
    if (st == ST_OK)
        st = link_ask(l, request, add_row, &t, NULL, &e);
    else
        json_decref(request);
    link_close(l);
    if (st == ST_OK)
        table_print(&t);
    table_release(&t);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}

static void print_fields(const json_t *m)
{
    static const char *const names[] = {"mailbox", "role",    "messages",    "unseen", "deleted",
                                        "size",    "uidnext", "uidvalidity", "modseq"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *v = json_object_get(m, names[i]);
        if (json_is_integer(v))
            printf("%-12s %lld\n", names[i], (long long)json_integer_value(v));
        else if (json_is_string(v) && json_string_length(v))
            printf("%-12s %s\n", names[i], json_string_value(v));
    }
    size_t i;
    const json_t *keyword;
    json_array_foreach(json_object_get(m, "keywords"), i, keyword) printf("%-12s %s\n", "keyword", json_string_value(keyword));
}

enum command_exit cmd_mailbox_status(const struct command_line *line)
{
    struct err e = {0};
    struct link *l = NULL;
    json_t *done = NULL;
    json_t *request = json_pack("{s:s, s:s, s:s}", "do", "mailbox.status", "user", line->args[0], "mailbox", line->args[1]);
    enum st st = link_open(line, &l, &e);
    if (st == ST_OK)
        st = link_ask(l, request, NULL, NULL, &done, &e);
    else
        json_decref(request);
    link_close(l);
    if (st != ST_OK)
        return command_fail(st, &e);
    if (command_flag(line, "json"))
        command_print_json(done);
    else
        print_fields(done);
    json_decref(done);
    return EXIT_DONE;
}
