/* Finds the command and its options, and runs it. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"

/* The command that the first words name; *words of them. */
static const struct command *find_command(int argc, char **argv, int *words)
{
    for (const struct command *c = command_table; c->name; c++) {
        struct str rest = str_of(c->name), word;
        int n = 0;
        bool same = true;
        while (same && str_split(&rest, ' ', &word)) {
            same = n < argc && str_eq(word, str_of(argv[n]));
            n++;
        }
        if (same) {
            *words = n;
            return c;
        }
    }
    return NULL;
}

static const struct command_option *find_option(const struct command *c, struct str name)
{
    const struct command_option *const tables[] = {c->options, command_common};
    for (size_t i = 0; i < 2; i++)
        for (const struct command_option *o = tables[i]; o && o->name; o++)
            if (str_eq(name, str_of(o->name)))
                return o;
    return NULL;
}

/* Takes the option at argv[at] and its value; returns how many words, 0: complaint printed. */
static int take_option(struct command_line *line, int argc, char **argv, int at)
{
    struct str word = str_from(str_of(argv[at]), 2);
    size_t equals = str_find_char(word, '=');
    const struct command_option *o = find_option(line->command, str_upto(word, equals));
    const char *value = equals == STR_NPOS ? NULL : word.p + equals + 1;
    int used = 1;
    if (!o) {
        command_complain(EXIT_USAGE, "%s has no option %s", line->command->name, argv[at]);
        return 0;
    }
    if (o->value && !value && at + 1 < argc) {
        value = argv[at + 1];
        used = 2;
    }
    if ((o->value == NULL) != (value == NULL) || line->option_count >= COMMAND_OPTIONS_MAX) {
        command_complain(EXIT_USAGE, o->value ? "--%s needs a value" : "--%s has no value", o->name);
        return 0;
    }
    line->options[line->option_count].name = o->name;
    line->options[line->option_count++].value = value ? value : "";
    return used;
}

static bool parse_line(struct command_line *line, int argc, char **argv)
{
    bool options = true;
    for (int i = 0; i < argc;) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
            i++;
        } else if (options && strncmp(argv[i], "--", 2) == 0) {
            int n = take_option(line, argc, argv, i);
            if (n == 0)
                return false;
            i += n;
        } else if (line->arg_count < COMMAND_ARGS_MAX) {
            line->args[line->arg_count++] = argv[i++];
        } else {
            command_complain(EXIT_USAGE, "too many arguments");
            return false;
        }
    }
    size_t n = line->arg_count;
    if (!command_flag(line, "help") && (n < line->command->args_min || n > line->command->args_max)) {
        command_help(line->command, true);
        return false;
    }
    return true;
}

enum command_exit cmd_help(const struct command_line *line)
{
    char *words[2] = {(char *)(uintptr_t)(line->arg_count > 0 ? line->args[0] : ""),
                      (char *)(uintptr_t)(line->arg_count > 1 ? line->args[1] : "")};
    int n = 0;
    if (line->arg_count == 0) {
        command_help(NULL, false);
        return EXIT_DONE;
    }
    const struct command *c = find_command((int)line->arg_count, words, &n);
    if (!c)
        return command_complain(EXIT_NOT_FOUND, "no command %s; `postrider help` lists them", line->args[0]);
    command_help(c, false);
    return EXIT_DONE;
}

int command_main(int argc, char **argv)
{
    struct command_line line = {0};
    int words = 0;
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        command_help(NULL, argc < 2);
        return argc < 2 ? EXIT_USAGE : EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("postrider %s\n", POSTRIDER_VERSION);
        return EXIT_DONE;
    }
    line.command = find_command(argc - 1, argv + 1, &words);
    if (!line.command && command_help_family(argv[1]))
        return EXIT_USAGE;
    if (!line.command)
        return (int)command_complain(EXIT_USAGE, "no command %s; `postrider help` lists them", argv[1]);
    if (!parse_line(&line, argc - 1 - words, argv + 1 + words))
        return EXIT_USAGE;
    if (command_flag(&line, "help")) {
        command_help(line.command, false);
        return EXIT_DONE;
    }
    return (int)line.command->run(&line);
}
