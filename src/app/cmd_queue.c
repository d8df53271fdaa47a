#include "app/command.h"
#include "app/link.h"
#include "app/table.h"

#include <stdio.h>
#include <string.h>

static const struct table_column columns[] = {
    {"ID", "id", TABLE_TEXT},
    {"SIZE", "size", TABLE_BYTES},
    {"ARRIVED", "arrived", TABLE_TEXT},
    {"TRIES", "attempts", TABLE_NUMBER},
    {"NEXT", "next", TABLE_TEXT},
    {"HELD", "held", TABLE_TEXT},
    {"SENDER", "sender", TABLE_TEXT},
    {"RECIPIENTS", "pending", TABLE_LIST},
    {"LAST ANSWER", "status", TABLE_TEXT},
    {0},
};

static void set_filter(const struct command_line *line, json_t *request)
{
    static const char *const names[] = {"sender", "recipient", "domain"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (command_value(line, names[i]))
            json_object_set_new(request, names[i], json_string(command_value(line, names[i])));
    if (command_flag(line, "held"))
        json_object_set_new(request, "held", json_true());
}

static void add_row(void *context, json_t *row) { table_add(context, row); }

enum command_exit cmd_queue_list(const struct command_line *line)
{
    struct err e = {0};
    struct link *l = NULL;
    struct table t;
    uint64_t limit = 0;
    if (!command_number(line, "limit", 0, &limit))
        return EXIT_USAGE;
    json_t *request = json_pack("{s:s}", "do", "queue.list");
    set_filter(line, request);
    if (limit)
        json_object_set_new(request, "limit", json_integer((json_int_t)limit));
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

static void print_entry(const json_t *q)
{
    static const char *const fields[] = {"id", "sender", "destination", "arrived", "next", "expires"};
    size_t i;
    json_t *r;
    for (i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *text = json_string_value(json_object_get(q, fields[i]));
        if (text && *text)
            printf("%-12s %s\n", fields[i], text);
    }
    printf("%-12s %lld\n%-12s %lld%s\n", "size", (long long)json_integer_value(json_object_get(q, "size")), "attempts",
           (long long)json_integer_value(json_object_get(q, "attempts")),
           json_is_true(json_object_get(q, "held")) ? " (held)" : "");
    json_array_foreach(json_object_get(q, "recipients"), i, r)
    {
        printf("  %s  %s  %s\n", json_string_value(json_object_get(r, "address")), json_string_value(json_object_get(r, "state")),
               json_string_value(json_object_get(r, "status")));
    }
}

enum command_exit cmd_queue_show(const struct command_line *line)
{
    struct err e = {0};
    struct link *l = NULL;
    struct link_reply reply = {0};
    bool json = command_flag(line, "json");
    json_t *request =
        json_pack("{s:s, s:s, s:b}", "do", "queue.show", "id", line->args[0], "message", command_flag(line, "message") && !json);
    enum st st = link_open(line, &l, &e);
    if (st == ST_OK)
        st = link_request(l, request, &e);
    else
        json_decref(request);
    while (st == ST_OK && reply.kind != LINK_DONE) {
        st = link_next(l, &reply, &e);
        if (st == ST_OK && reply.kind == LINK_ROW && json)
            command_print_json(reply.value);
        else if (st == ST_OK && reply.kind == LINK_ROW)
            print_entry(reply.value);
        else if (st == ST_OK && reply.kind == LINK_MESSAGE)
            printf("\n%.*s", (int)reply.bytes.n, reply.bytes.p);
    }
    link_close(l);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}

static enum command_exit act(const struct command_line *line, const char *action)
{
    struct err e = {0};
    struct link *l = NULL;
    json_t *done = NULL;
    bool all = command_flag(line, "all");
    bool filtered = command_value(line, "sender") || command_value(line, "recipient") || command_value(line, "domain");
    if ((line->arg_count > 0) == (all || filtered))
        return command_complain(EXIT_USAGE, "name one entry, or say --all, --sender, --recipient or --domain");
    json_t *request = json_pack("{s:s, s:s}", "do", "queue.act", "action", action);
    set_filter(line, request);
    if (line->arg_count)
        json_object_set_new(request, "id", json_string(line->args[0]));
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
        printf("%lld\n", (long long)json_integer_value(json_object_get(done, "count")));
    json_decref(done);
    return EXIT_DONE;
}

enum command_exit cmd_queue_retry(const struct command_line *line) { return act(line, "retry"); }
enum command_exit cmd_queue_hold(const struct command_line *line) { return act(line, "hold"); }
enum command_exit cmd_queue_release(const struct command_line *line) { return act(line, "release"); }
enum command_exit cmd_queue_drop(const struct command_line *line) { return act(line, "drop"); }
enum command_exit cmd_queue_bounce(const struct command_line *line) { return act(line, "bounce"); }
