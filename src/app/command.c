#include "app/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum command_exit command_exit_of(enum st st)
{
    switch (st) {
    case ST_OK:
        return EXIT_DONE;
    case ST_TEMP:
    case ST_BUG:
        return EXIT_TEMPORARY;
    case ST_NOTFOUND:
        return EXIT_NOT_FOUND;
    case ST_EXISTS:
    case ST_CONFLICT:
        return EXIT_CONFLICT;
    case ST_DENIED:
        return EXIT_NO_RIGHT;
    case ST_CORRUPT:
        return EXIT_DAMAGED;
    case ST_PERM:
    case ST_LIMIT:
        return EXIT_REFUSED;
    }
    return EXIT_REFUSED;
}

bool command_flag(const struct command_line *line, const char *name) { return command_value(line, name) != NULL; }

const char *command_value(const struct command_line *line, const char *name)
{
    const char *found = NULL;
    for (size_t i = 0; i < line->option_count; i++)
        if (strcmp(line->options[i].name, name) == 0)
            found = line->options[i].value;
    return found;
}

size_t command_values(const struct command_line *line, const char *name, const char **values, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < line->option_count && n < max; i++)
        if (strcmp(line->options[i].name, name) == 0)
            values[n++] = line->options[i].value;
    return n;
}

bool command_bytes(const struct command_line *line, const char *name, uint64_t fallback, uint64_t *out)
{
    static const char units[] = "kMGT";
    const char *value = command_value(line, name);
    *out = fallback;
    if (!value)
        return true;
    struct str s = str_of(value);
    unsigned shift = 0;
    const char *unit = s.n ? strchr(units, s.p[s.n - 1]) : NULL;
    if (unit && *unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        s = str_upto(s, s.n - 1);
    }
    if (!str_to_u64(s, out) || *out > UINT64_MAX >> shift) {
        command_complain(EXIT_USAGE, "--%s: %s is not a size; write for example 500M or 2G", name, value);
        return false;
    }
    *out <<= shift;
    return true;
}

bool command_number(const struct command_line *line, const char *name, uint64_t fallback, uint64_t *out)
{
    const char *value = command_value(line, name);
    *out = fallback;
    if (!value || str_to_u64(str_of(value), out))
        return true;
    command_complain(EXIT_USAGE, "--%s: %s is not a number", name, value);
    return false;
}

enum command_exit command_complain(enum command_exit code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("postrider: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return code;
}

enum command_exit command_fail(enum st st, const struct err *e)
{
    const char *text = e->text[0] ? e->text : st_name(st);
    if (e->detail[0] && strcmp(e->detail, text) != 0)
        return command_complain(command_exit_of(st), "%s (%s)", text, e->detail);
    return command_complain(command_exit_of(st), "%s", text);
}

void command_print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    putchar('\n');
    fflush(stdout);
}

/* ---- passwords ---- */

static bool read_line(FILE *from, char password[COMMAND_PASSWORD_MAX])
{
    if (!fgets(password, COMMAND_PASSWORD_MAX, from))
        return false;
    size_t n = strcspn(password, "\r\n");
    bool whole = password[n] != '\0' || feof(from);
    password[n] = '\0';
    return whole && n > 0;
}

static bool ask(FILE *tty, const char *prompt, char password[COMMAND_PASSWORD_MAX])
{
    struct termios old, quiet;
    fputs(prompt, tty);
    fflush(tty);
    if (tcgetattr(fileno(tty), &old) != 0)
        return false;
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
    bool ok = read_line(tty, password);
    tcsetattr(fileno(tty), TCSAFLUSH, &old);
    fputc('\n', tty);
    return ok;
}

bool command_password(const struct command_line *line, char password[COMMAND_PASSWORD_MAX])
{
    char again[COMMAND_PASSWORD_MAX];
    if (command_flag(line, "password-stdin")) {
        if (read_line(stdin, password))
            return true;
        command_complain(EXIT_USAGE, "there is no password on standard input");
        return false;
    }
    FILE *tty = fopen("/dev/tty", "r+");
    if (!tty) {
        command_complain(EXIT_USAGE, "no terminal to ask for the password; give it with --password-stdin");
        return false;
    }
    bool ok = ask(tty, "Password: ", password) && ask(tty, "Again: ", again);
    bool same = ok && strcmp(password, again) == 0;
    fclose(tty);
    explicit_bzero(again, sizeof again);
    if (!same)
        command_complain(EXIT_USAGE, ok ? "the two passwords differ" : "no password");
    return same;
}

/* ---- help ---- */

static void print_options(FILE *to, const struct command_option *options)
{
    for (const struct command_option *o = options; o && o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        fprintf(to, "  %-26s %s\n", left, o->help);
    }
}

static void print_line(FILE *to, const struct command *c)
{
    char left[128];
    snprintf(left, sizeof left, "%s %s", c->name, c->args);
    fprintf(to, "  %-44s %s\n", left, c->summary);
}

bool command_help_family(const char *word)
{
    size_t n = strlen(word);
    bool found = false;
    for (const struct command *c = command_table; c->name; c++) {
        if (strncmp(c->name, word, n) != 0 || c->name[n] != ' ')
            continue;
        if (!found)
            fprintf(stderr, "usage: postrider %s ...\n\n", word);
        found = true;
        print_line(stderr, c);
    }
    return found;
}

static void help_of_all(FILE *to)
{
    fputs("usage: postrider COMMAND [ARGUMENT...] [--OPTION...]\n\n", to);
    for (const struct command *c = command_table; c->name; c++)
        print_line(to, c);
    fputs("\nOptions of all commands:\n", to);
    print_options(to, command_common);
    fputs("\nExit codes: 0 done, 1 refused, 2 usage, 3 not found, 4 exists or conflict, 5 temporary, 6 no right, 7 damaged.\n"
          "`postrider help COMMAND` tells more of one; `postrider help settings` lists the settings of the configuration.\n",
          to);
}

void command_help(const struct command *c, bool to_error)
{
    FILE *to = to_error ? stderr : stdout;
    if (!c) {
        help_of_all(to);
        return;
    }
    fprintf(to, "usage: postrider %s %s\n%s.\n", c->name, c->args, c->summary);
    if (c->options) {
        fputs("\nOptions:\n", to);
        print_options(to, c->options);
    }
    fputs("\nOptions of all commands:\n", to);
    print_options(to, command_common);
    if (c->more)
        fprintf(to, "\n%s\n", c->more);
}
