/* serve, status, reload, stop, check, imap, fsck, backup, restore. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/command.h"
#include "app/config.h"
#include "app/link.h"
#include "app/server.h"
#include "app/supervisor.h"
#include "app/table.h"
#include "net/tls.h"
#include "rt/log.h"
#include "serve/smtp/relay_client.h"

/* Who has the key can read what passes, and be us. Not an error: it may be meant, and stopping the mail would not take the key
 * back. */
static void warn_of_exposed_keys(void)
{
    const struct settings *s = settings_current();
    for (size_t i = 0; i < s->certificate_count; i++)
        if (tls_key_exposed(s->certificate[i].key))
            log_event(LOG_WARN, "server.key_exposed", LOG_Z("file", s->certificate[i].key),
                      LOG_Z("hint", "other users can read or write it: chmod o-rw"));
    settings_unref(s);
}

enum command_exit cmd_serve(const struct command_line *line)
{
    struct err e = {0};
    struct config config;
    enum st st = config_load_for(line, &config, &e);
    struct server_options options = {.config = &config, .admin_fd = -1};
    if (st == ST_OK) /* the server sees copies, see supervisor.c */
        warn_of_exposed_keys();
    if (st == ST_OK)
        st = command_flag(line, "no-supervisor") ? server_run(&options, &e) : supervisor_run(&options, &e);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}

/* ---- check ---- */

static enum st check_certificates(const struct settings *s, struct err *e)
{
    struct tls_certificate *list = calloc(s->certificate_count + 1, sizeof *list);
    struct tls_server *tls = NULL;
    ENSURE(list, e, ST_TEMP, "out of memory");
    for (size_t i = 0; i < s->certificate_count; i++)
        list[i] = (struct tls_certificate){s->certificate[i].host, s->certificate[i].chain, s->certificate[i].key};
    enum st st = s->certificate_count ? tls_server_new(list, s->certificate_count, &tls, e) : ST_OK;
    tls_server_free(tls);
    free(list);
    return st;
}

static enum st check_listeners(const struct settings *s, struct err *e)
{
    ENSURE(s->listen_count, e, ST_PERM,
           "there is no listen section; add for example: listen \"smtp\" { protocol = \"smtp\" address = \"0.0.0.0\" port = 25 }");
    for (size_t i = 0; i < s->listen_count; i++) {
        const struct settings_listen *l = &s->listen[i];
        ENSURE(l->port != 25 || strcmp(l->protocol, "lmtp") != 0, e, ST_PERM,
               "listen \"%s\": LMTP must not be spoken on port 25 (RFC 2033 5); other servers would not be understood", l->name);
        ENSURE(!l->tls || s->certificate_count, e, ST_PERM, "listen \"%s\" has tls = true but there is no certificate section",
               l->name);
        for (size_t k = 0; k < i; k++)
            ENSURE(l->port == 0 || s->listen[k].port != l->port || strcmp(s->listen[k].address, l->address) != 0, e, ST_PERM,
                   "listen \"%s\" and \"%s\" have the same address and port", s->listen[k].name, l->name);
    }
    return ST_OK;
}

enum command_exit cmd_check(const struct command_line *line)
{
    struct err e = {0};
    struct config config;
    struct relay_clients *clients = NULL;
    enum st st = config_load_for(line, &config, &e);
    const struct settings *s = settings_current();
    if (st == ST_OK)
        st = check_listeners(s, &e);
    if (st == ST_OK)
        st = check_certificates(s, &e);
    if (st == ST_OK && s->submission_relay_clients[0])
        st = relay_clients_load(s->submission_relay_clients, &clients, &e);
    relay_clients_free(clients);
    for (size_t i = 0; i < s->certificate_count; i++)
        if (tls_key_exposed(s->certificate[i].key))
            command_complain(EXIT_DONE, "warning: other users can read or write the private key %s: chmod o-rw",
                             s->certificate[i].key);
    if (st == ST_OK && !command_flag(line, "json"))
        printf("%s is well: %zu listeners, %zu certificates, %zu routes\n",
               config.path[0] ? config.path : "the default configuration", s->listen_count, s->certificate_count, s->route_count);
    settings_unref(s);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}

/* ---- the running server ---- */

static enum st ask(const struct command_line *line, const char *what, json_t **done, struct err *e)
{
    struct link *l = NULL;
    TRY(link_open(line, &l, e));
    enum st st = link_ask(l, json_pack("{s:s}", "do", what), NULL, NULL, done, e);
    link_close(l);
    return st;
}

static const struct table_column listener_columns[] = {{"LISTENER", "name", TABLE_TEXT},   {"PROTOCOL", "protocol", TABLE_TEXT},
                                                       {"ADDRESS", "address", TABLE_TEXT}, {"PORT", "port", TABLE_NUMBER},
                                                       {"TLS", "tls", TABLE_TEXT},         {0}};

static void print_status(const json_t *s)
{
    static const char *const fields[] = {"version", "hostname", "directory", "pid", "connections", "accepted", "refused"};
    const json_t *queue = json_object_get(s, "queue");
    struct table t;
    size_t i;
    json_t *row;
    for (i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *v = json_object_get(s, fields[i]);
        if (json_is_string(v))
            printf("%-12s %s\n", fields[i], json_string_value(v));
        else if (json_is_integer(v) && json_integer_value(v))
            printf("%-12s %lld\n", fields[i], (long long)json_integer_value(v));
    }
    printf("%-12s %s\n", "state", json_is_true(json_object_get(s, "running")) ? "running" : "not running");
    if (queue)
        printf("%-12s %lld waiting, %lld delivered, %lld deferred, %lld failed\n", "queue",
               (long long)json_integer_value(json_object_get(queue, "entries")),
               (long long)json_integer_value(json_object_get(queue, "delivered")),
               (long long)json_integer_value(json_object_get(queue, "deferred")),
               (long long)json_integer_value(json_object_get(queue, "failed")));
    table_init(&t, listener_columns, false);
    json_array_foreach(json_object_get(s, "listeners"), i, row) table_add(&t, row);
    if (json_array_size(t.rows))
        putchar('\n');
    table_print(&t);
    table_release(&t);
}

enum command_exit cmd_status(const struct command_line *line)
{
    struct err e = {0};
    json_t *done = NULL;
    enum st st = ask(line, "server.status", &done, &e);
    if (st != ST_OK)
        return command_fail(st, &e);
    bool running = json_is_true(json_object_get(done, "running"));
    if (command_flag(line, "json"))
        command_print_json(done);
    else
        print_status(done);
    json_decref(done);
    return running ? EXIT_DONE : EXIT_NOT_FOUND;
}

enum command_exit cmd_reload(const struct command_line *line)
{
    struct err e = {0};
    enum st st = ask(line, "server.reload", NULL, &e);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}

enum command_exit cmd_stop(const struct command_line *line)
{
    struct err e = {0};
    enum st st = ask(line, "server.stop", NULL, &e);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}

enum command_exit cmd_imap(const struct command_line *line)
{
    struct err e = {0};
    struct link *l = NULL;
    const char *user = command_value(line, "user");
    if (!user)
        return command_complain(EXIT_USAGE, "--user ADDRESS is needed");
    enum st st = link_open(line, &l, &e);
    if (st == ST_OK)
        st = link_ask(l, json_pack("{s:s, s:s}", "do", "imap", "user", user), NULL, NULL, NULL, &e);
    if (st == ST_OK)
        st = link_relay(l, STDIN_FILENO, STDOUT_FILENO, &e);
    link_close(l);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}

/* ---- fsck ---- */

enum command_exit cmd_fsck(const struct command_line *line)
{
    struct err e = {0};
    struct link *l = NULL;
    json_t *done = NULL;
    json_t *request = json_pack("{s:s, s:b, s:b}", "do", "store.fsck", "repair", command_flag(line, "repair"), "blobs",
                                command_flag(line, "blobs"));
    enum st st = link_open(line, &l, &e);
    if (st == ST_OK)
        st = link_ask(l, request, NULL, NULL, &done, &e);
    else
        json_decref(request);
    link_close(l);
    if (st != ST_OK)
        return command_fail(st, &e);
    long long findings = (long long)json_integer_value(json_object_get(done, "findings"));
    long long repaired = (long long)json_integer_value(json_object_get(done, "repaired"));
    if (command_flag(line, "json"))
        command_print_json(done);
    else
        printf("%lld accounts, %lld mailboxes, %lld messages, %lld blobs: %lld findings, %lld repaired\n",
               (long long)json_integer_value(json_object_get(done, "accounts")),
               (long long)json_integer_value(json_object_get(done, "mailboxes")),
               (long long)json_integer_value(json_object_get(done, "messages")),
               (long long)json_integer_value(json_object_get(done, "blobs")), findings, repaired);
    json_decref(done);
    return findings > repaired ? EXIT_DAMAGED : EXIT_DONE;
}

/* ---- backup and restore ---- */

enum { TREE_DEPTH_MAX = 8 };

static enum st copy_file(const char *from, const char *to, struct err *e)
{
    char block[64 << 10];
    FILE *in = fopen(from, "rbe"), *out = in ? fopen(to, "wbxe") : NULL;
    bool ok = in && out;
    for (size_t n; ok && (n = fread(block, 1, sizeof block, in)) > 0;)
        ok = fwrite(block, 1, n, out) == n;
    ok = ok && !ferror(in) && fflush(out) == 0 && fsync(fileno(out)) == 0;
    int why = errno;
    if (in)
        fclose(in);
    if (out && fclose(out) != 0)
        ok = false;
    ENSURE(ok, e, ST_TEMP, "%s cannot be copied to %s: %s", from, to, strerror(why));
    return ST_OK;
}

/* Copies (move: and removes) a directory of files, as an engine's backup is. */
static enum st copy_tree(const char *from, const char *to, bool move, unsigned depth, struct err *e)
{
    ENSURE(depth < TREE_DEPTH_MAX, e, ST_PERM, "%s is nested too deep", from);
    ENSURE(mkdir(to, 0700) == 0, e, errno == EEXIST ? ST_EXISTS : ST_TEMP, "%s cannot be made: %s", to, strerror(errno));
    DIR *d = opendir(from);
    ENSURE(d, e, ST_NOTFOUND, "%s cannot be read: %s", from, strerror(errno));
    enum st st = ST_OK;
    for (struct dirent *entry; st == ST_OK && (entry = readdir(d));) {
        char a[CONFIG_PATH_MAX], b[CONFIG_PATH_MAX];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (snprintf(a, sizeof a, "%s/%s", from, entry->d_name) >= (int)sizeof a ||
            snprintf(b, sizeof b, "%s/%s", to, entry->d_name) >= (int)sizeof b || lstat(a, &info) != 0)
            st = ERR_PUBLIC(e, ST_TEMP, "%s cannot be copied", entry->d_name);
        else if (S_ISDIR(info.st_mode))
            st = copy_tree(a, b, move, depth + 1, e);
        else if (S_ISREG(info.st_mode))
            st = copy_file(a, b, e);
        if (st == ST_OK && move && S_ISREG(info.st_mode))
            unlink(a);
    }
    closedir(d);
    if (st == ST_OK && move)
        rmdir(from);
    return st;
}

static enum st backup(const struct command_line *line, json_t **done, struct err *e)
{
    struct link *l = NULL;
    struct stat st;
    char name[64];
    ENSURE(stat(line->args[0], &st) != 0, e, ST_EXISTS, "%s is there already", line->args[0]);
    snprintf(name, sizeof name, "backup-%lld-%d", (long long)time(NULL), (int)getpid());
    TRY(link_open(line, &l, e));
    enum st result = link_ask(l, json_pack("{s:s, s:s}", "do", "store.backup", "name", name), NULL, NULL, done, e);
    link_close(l);
    TRY(result);
    const char *path = json_string_value(json_object_get(*done, "path"));
    ENSURE(path, e, ST_BUG, "the server did not say where the backup is");
    if (rename(path, line->args[0]) == 0)
        return ST_OK;
    return copy_tree(path, line->args[0], true, 0, e); /* on another file system */
}

enum command_exit cmd_backup(const struct command_line *line)
{
    struct err e = {0};
    json_t *done = NULL;
    enum st st = backup(line, &done, &e);
    json_decref(done);
    if (st != ST_OK)
        return command_fail(st, &e);
    if (!command_flag(line, "json"))
        printf("backup in %s\n", line->args[0]);
    return EXIT_DONE;
}

static enum st restore(const struct command_line *line, struct err *e)
{
    struct config config;
    struct stat st;
    TRY(config_load_for(line, &config, e));
    ENSURE(stat(config.store_dir, &st) != 0, e, ST_EXISTS, "%s is there: move it away first (restoring never overwrites)",
           config.store_dir);
    TRY(config_make_dir(config.data_dir, 0700, e));
    TRY(copy_tree(line->args[0], config.store_dir, false, 0, e));
    /* the owner of the directory is who the server runs as */
    if (geteuid() == 0 && stat(config.data_dir, &st) == 0 && st.st_uid != 0)
        printf("now give %s to the server's user: chown -R %u:%u %s\n", config.store_dir, (unsigned)st.st_uid, (unsigned)st.st_gid,
               config.store_dir);
    return ST_OK;
}

enum command_exit cmd_restore(const struct command_line *line)
{
    struct err e = {0};
    enum st st = restore(line, &e);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}
