#include "app/command.h"
#include "app/link.h"
#include "app/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct table_column list_columns[] = {
    {"ADDRESS", "address", TABLE_TEXT},
    {"NAME", "name", TABLE_TEXT},
    {"STATE", "state", TABLE_TEXT},
    {"PASSWORD", "password", TABLE_TEXT},
    {"QUOTA", "quota_bytes", TABLE_BYTES},
    {"CREATED", "created", TABLE_TEXT},
    {0},
};

static void add_row(void *context, json_t *row) { table_add(context, row); }

enum command_exit cmd_account_list(const struct command_line *line)
{
    struct err e = {0};
    struct link *l = NULL;
    struct table t;
    json_t *request = json_pack("{s:s}", "do", "account.list");
    if (line->arg_count)
        json_object_set_new(request, "domain", json_string(line->args[0]));
    enum st st = link_open(line, &l, &e);
    table_init(&t, list_columns, command_flag(line, "json"));
    if (st == ST_OK)
        st = link_ask(l, request, add_row, &t, NULL, &e);
    else
        json_decref(request);
    link_close(l);
    if (st == ST_OK) {
        table_sort(&t, "address");
        table_print(&t);
    }
    table_release(&t);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}

static void print_field(const char *title, const json_t *value, bool bytes)
{
    char text[32];
    if (json_is_integer(value) && bytes) {
        table_bytes((uint64_t)json_integer_value(value), text);
        printf("%-16s %s\n", title, text);
    } else if (json_is_integer(value)) {
        printf("%-16s %lld\n", title, (long long)json_integer_value(value));
    } else if (json_is_boolean(value)) {
        printf("%-16s %s\n", title, json_is_true(value) ? "yes" : "no");
    } else if (json_is_string(value) && json_string_length(value)) {
        printf("%-16s %s\n", title, json_string_value(value));
    } else if (json_is_array(value)) {
        size_t i;
        json_t *one;
        json_array_foreach(value, i, one) printf("%-16s %s\n", title, json_string_value(one));
    }
}

static void print_account(const json_t *a)
{
    static const struct {
        const char *title, *key;
        bool bytes;
    } fields[] = {{"Address", "address", false},       {"Name", "name", false},
                  {"State", "state", false},           {"Account id", "id", false},
                  {"Created", "created", false},       {"Password set", "password", false},
                  {"Quota", "quota_bytes", true},      {"Quota messages", "quota_messages", false},
                  {"Used", "bytes_used", true},        {"Messages", "messages_used", false},
                  {"May send as", "identities", false}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        print_field(fields[i].title, json_object_get(a, fields[i].key), fields[i].bytes);
}

/* One request; `quiet`: prints nothing but with --json. Takes the request. */
static enum command_exit ask_about(const struct command_line *line, json_t *request, bool quiet)
{
    struct err e = {0};
    struct link *l = NULL;
    json_t *done = NULL;
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
    else if (!quiet)
        print_account(done);
    json_decref(done);
    return EXIT_DONE;
}

static json_t *about(const char *request, const struct command_line *line)
{
    return json_pack("{s:s, s:s}", "do", request, "address", line->args[0]);
}

static bool add_quota(const struct command_line *line, json_t *request)
{
    uint64_t bytes = 0, messages = 0;
    if (!command_bytes(line, "quota", UINT64_MAX, &bytes) || !command_number(line, "quota-messages", UINT64_MAX, &messages))
        return false;
    if (bytes != UINT64_MAX)
        json_object_set_new(request, "quota_bytes", json_integer((json_int_t)bytes));
    if (messages != UINT64_MAX)
        json_object_set_new(request, "quota_messages", json_integer((json_int_t)messages));
    return true;
}

/* The secret of the options or the terminal. */
static bool add_secret(const struct command_line *line, json_t *request)
{
    char password[COMMAND_PASSWORD_MAX];
    const char *hash = command_value(line, "hash");
    if (hash) {
        json_object_set_new(request, "hash", json_string(hash));
        return true;
    }
    if (!command_password(line, password))
        return false;
    json_t *text = json_string(password);
    explicit_bzero(password, sizeof password);
    if (!text)
        command_complain(EXIT_USAGE, "the password is not valid UTF-8");
    return text && json_object_set_new(request, "password", text) == 0;
}

enum command_exit cmd_account_add(const struct command_line *line)
{
    json_t *request = about("account.add", line);
    const char *name = command_value(line, "name");
    if (name)
        json_object_set_new(request, "name", json_string(name));
    bool ok = add_quota(line, request) && (command_flag(line, "no-password") || add_secret(line, request));
    if (!ok) {
        json_decref(request);
        return EXIT_USAGE;
    }
    return ask_about(line, request, true);
}

enum command_exit cmd_account_show(const struct command_line *line) { return ask_about(line, about("account.show", line), false); }

enum command_exit cmd_account_password(const struct command_line *line)
{
    json_t *request = about("account.password", line);
    if (!command_flag(line, "none") && !add_secret(line, request)) {
        json_decref(request);
        return EXIT_USAGE;
    }
    return ask_about(line, request, true);
}

static enum command_exit set_state(const struct command_line *line, const char *state)
{
    json_t *request = about("account.set", line);
    json_object_set_new(request, "state", json_string(state));
    return ask_about(line, request, true);
}

enum command_exit cmd_account_suspend(const struct command_line *line) { return set_state(line, "suspended"); }
enum command_exit cmd_account_resume(const struct command_line *line) { return set_state(line, "active"); }
enum command_exit cmd_account_close(const struct command_line *line) { return set_state(line, "closed"); }

enum command_exit cmd_account_identity(const struct command_line *line)
{
    json_t *request = about("account.set", line);
    char text[8192];
    size_t at = 0;
    for (size_t i = 1; i < line->arg_count; i++) {
        size_t n = strlen(line->args[i]);
        if (at + n + 2 > sizeof text) {
            json_decref(request);
            return command_complain(EXIT_USAGE, "too many addresses");
        }
        memcpy(text + at, line->args[i], n);
        at += n;
        text[at++] = '\n';
    }
    json_object_set_new(request, "identities", json_stringn(text, at ? at - 1 : 0));
    return ask_about(line, request, true);
}

enum command_exit cmd_account_quota(const struct command_line *line)
{
    json_t *request = about("account.quota", line);
    if (!add_quota(line, request)) {
        json_decref(request);
        return EXIT_USAGE;
    }
    return ask_about(line, request, true);
}

enum command_exit cmd_account_remove(const struct command_line *line)
{
    if (!command_flag(line, "yes"))
        return command_complain(EXIT_USAGE, "this deletes all mail of %s for good; say --yes", line->args[0]);
    return ask_about(line, about("account.remove", line), true);
}
