/* Settings: one immutable snapshot at a time, made from the rows of settings.def and a configuration file. Sessions take a
 * reference when they begin and work by it to their end, so a reload changes nothing under them. Threads: any.
 *
 * The file (libConfuse): a section for each section of settings.def, and sections with titles:
 *
 *   global { hostname = "mail.example.org" }
 *   listen "mx" { protocol = "smtp" address = "0.0.0.0" port = 25 }
 *   listen "submissions" { protocol = "submission" port = 465 tls = true }
 *   certificate "mail.example.org" { chain = "/etc/.../fullchain.pem" key = "/etc/.../privkey.pem" }
 *   route "example.net" { host = "10.1.1.1" port = 25 }
 *   route "fax.example.net" { program = "fax" }
 *   program "fax" { command = {"/usr/local/bin/mail2fax", "-v"} user = "fax" timeout = 1m memory = 256M }
 *   include("more.conf")
 *
 * Errors name the file, the line, what was expected, and an example. */
#ifndef RT_SETTINGS_H
#define RT_SETTINGS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    SETTINGS_LISTEN_MAX = 64,
    SETTINGS_CERTIFICATE_MAX = 1000,
    SETTINGS_ROUTE_MAX = 1000,
    SETTINGS_PROGRAM_MAX = 100,
    SETTINGS_COMMAND_MAX = 16,
    SETTINGS_PROGRAM_NAME_MAX = 100,
};

struct settings_listen {
    const char *name;
    const char *protocol; /* smtp, submission, lmtp, pop3, imap, http, managesieve */
    const char *address;  /* numeric address, or the path of a unix socket */
    uint16_t port;        /* 0: a unix socket */
    bool tls;             /* TLS from the first byte */
    unsigned connections; /* at the same time on this listener */
};
struct settings_certificate {
    const char *host; /* the title: for SNI; the first one is the default */
    const char *chain, *key;
};
struct settings_route {
    const char *domain; /* the title; "*" is every domain */
    const char *host;
    uint16_t port;
    bool lmtp;
    const char *program; /* instead of a host: the title of a program section; "" or NULL: none */
};
struct settings_program {                          /* that helpers may run (rt/helper.h) */
    const char *name;                              /* the title */
    const char *command[SETTINGS_COMMAND_MAX + 1]; /* absolute path and arguments; NULL ends it */
    const char *user;                              /* to run as when the supervisor is root; "": nobody */
    int64_t timeout_ms, memory_bytes;
};

struct settings {
#define INT(section, name, def, min, max, reload, prose)   int64_t section##_##name;
#define SIZE                                               INT
#define TIME(section, name, def, min, max, reload, prose)  int64_t section##_##name##_ms;
#define BOOL(section, name, def, reload, prose)            bool section##_##name;
#define TEXT(section, name, def, reload, prose)            const char *section##_##name;
#define CHOICE(section, name, def, choices, reload, prose) const char *section##_##name;
#include "rt/settings.def"
#undef INT
#undef SIZE
#undef TIME
#undef BOOL
#undef TEXT
#undef CHOICE
    struct settings_listen *listen;
    size_t listen_count;
    struct settings_certificate *certificate;
    size_t certificate_count;
    struct settings_route *route;
    size_t route_count;
    struct settings_program *program;
    size_t program_count;
};

/* The snapshot in force (the defaults before any load), with a reference that settings_unref gives back. Never NULL. */
const struct settings *settings_current(void);
void settings_unref(const struct settings *s);

/* Reads a file into a new snapshot with one reference. ST_PERM with "file:line: what was expected" in the public text. */
enum st settings_load(const char *path, struct settings **out, struct err *e) MUST_USE;
/* The same from memory (`name` for messages). */
enum st settings_parse(const char *name, struct str text, struct settings **out, struct err *e) MUST_USE;
/* A snapshot of the defaults, to be changed by the caller before it is put in force. Strings that are set must live for ever or
 * come from settings_text. NULL without memory. */
struct settings *settings_defaults(void);
const char *settings_text(struct settings *s, struct str text); /* a copy that lives as long as s */
/* Makes it the current one (takes the reference). */
void settings_use(struct settings **s);

/* One row, for the manual and for `postrider settings`. */
enum settings_kind { SETTINGS_INT, SETTINGS_SIZE, SETTINGS_TIME, SETTINGS_BOOL, SETTINGS_TEXT };
struct settings_row {
    const char *section, *name, *text_default;
    const char *choices; /* of a text: the words that are possible, with spaces between them; NULL: any text */
    const char *prose;
    enum settings_kind kind;
    int64_t number_default, min, max;
    bool reload;
    size_t offset; /* of the field in struct settings */
};
const struct settings_row *settings_rows(size_t *count);
void settings_print_value(const struct settings_row *row, const struct settings *s, struct buf *out);
/* "50M", "128K", "4h", "5d": false if it is not one. */
bool settings_read_number(enum settings_kind kind, struct str text, int64_t *out);

#endif
