/* The command line: a table of commands (command_table.c, the only place that knows that one exists), from which dispatch, help
 * and the manual's synopsis come. Each command is a function in a cmd_*.c file.
 *
 * Exit codes (also in doc/manual/postrider.md): enum command_exit. */
#ifndef APP_COMMAND_H
#define APP_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

enum command_exit {
    EXIT_DONE = 0,
    EXIT_REFUSED = 1,   /* cannot be done as asked */
    EXIT_USAGE = 2,     /* the command line is wrong */
    EXIT_NOT_FOUND = 3, /* the object does not exist */
    EXIT_CONFLICT = 4,  /* it exists already, or something else stands in the way */
    EXIT_TEMPORARY = 5, /* may work later */
    EXIT_NO_RIGHT = 6,  /* the caller may not */
    EXIT_DAMAGED = 7,   /* stored data are damaged, or fsck found something */
};
enum command_exit command_exit_of(enum st st);

struct command_option {
    const char *name;  /* without the dashes */
    const char *value; /* what stands for the value in the help; NULL: a flag */
    const char *help;
};

struct command;
enum { COMMAND_ARGS_MAX = 64, COMMAND_OPTIONS_MAX = 24 };

/* A parsed command line. All pointers are into argv. */
struct command_line {
    const struct command *command;
    const char *args[COMMAND_ARGS_MAX];
    size_t arg_count;
    struct {
        const char *name, *value; /* value "" for flags */
    } options[COMMAND_OPTIONS_MAX];
    size_t option_count;
};

struct command {
    const char *name; /* "account add" */
    const char *args; /* "ADDRESS [NAME]" */
    size_t args_min, args_max;
    const char *summary;                  /* one line */
    const struct command_option *options; /* ended by a row without a name; NULL: none of its own */
    enum command_exit (*run)(const struct command_line *line);
    const char *more; /* paragraphs of the help, or NULL */
};
int command_main(int argc, char **argv); /* the program, but for what main() sets up */

extern const struct command command_table[];         /* ended by a row without a name */
extern const struct command_option command_common[]; /* every command takes these */

bool command_flag(const struct command_line *line, const char *name);
const char *command_value(const struct command_line *line, const char *name); /* NULL: not given; the last one counts */
/* The values of an option that may be given several times. */
size_t command_values(const struct command_line *line, const char *name, const char **values, size_t max);
/* A number with k, M, G, T (powers of 1024) behind it. False: complaint printed. */
bool command_bytes(const struct command_line *line, const char *name, uint64_t fallback, uint64_t *out);
bool command_number(const struct command_line *line, const char *name, uint64_t fallback, uint64_t *out);

/* Prints "postrider: text" and gives the exit code. */
enum command_exit command_fail(enum st st, const struct err *e);
enum command_exit command_complain(enum command_exit code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void command_print_json(const json_t *value);

/* A password from --password-stdin (one line), or asked twice on the terminal. False: complaint printed. Wipe it. */
enum { COMMAND_PASSWORD_MAX = 1024 };
bool command_password(const struct command_line *line, char password[COMMAND_PASSWORD_MAX]);

void command_help(const struct command *command, bool to_error); /* NULL: of all */
bool command_help_family(const char *word);                      /* of "account": what may follow. False: nothing */

/* ---- the commands ---- */
#define COMMAND(name) enum command_exit name(const struct command_line *line)
COMMAND(cmd_help);
COMMAND(cmd_help_settings);
COMMAND(cmd_demo);
COMMAND(cmd_setup);
COMMAND(cmd_serve);
COMMAND(cmd_check);
COMMAND(cmd_status);
COMMAND(cmd_reload);
COMMAND(cmd_stop);
COMMAND(cmd_imap);
COMMAND(cmd_fsck);
COMMAND(cmd_backup);
COMMAND(cmd_restore);
COMMAND(cmd_account_add);
COMMAND(cmd_account_list);
COMMAND(cmd_account_show);
COMMAND(cmd_account_password);
COMMAND(cmd_account_suspend);
COMMAND(cmd_account_resume);
COMMAND(cmd_account_close);
COMMAND(cmd_account_remove);
COMMAND(cmd_account_quota);
COMMAND(cmd_account_identity);
COMMAND(cmd_alias_add);
COMMAND(cmd_alias_list);
COMMAND(cmd_alias_remove);
COMMAND(cmd_domain_add);
COMMAND(cmd_domain_list);
COMMAND(cmd_domain_remove);
COMMAND(cmd_queue_list);
COMMAND(cmd_queue_show);
COMMAND(cmd_queue_retry);
COMMAND(cmd_queue_hold);
COMMAND(cmd_queue_release);
COMMAND(cmd_queue_drop);
COMMAND(cmd_queue_bounce);
COMMAND(cmd_mailbox_list);
COMMAND(cmd_mailbox_status);
COMMAND(cmd_mailbox_import);
COMMAND(cmd_mailbox_export);

#endif
