#include "app/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum st path_join(char out[CONFIG_PATH_MAX], const char *dir, const char *name, struct err *e)
{
    int n = snprintf(out, CONFIG_PATH_MAX, "%s/%s", dir, name);
    ENSURE(n > 0 && n < CONFIG_PATH_MAX, e, ST_LIMIT, "the path %.60s... is too long", dir);
    return ST_OK;
}

enum st config_from_settings(const char *path, struct config *out, struct err *e)
{
    const struct settings *s = settings_current();
    *out = (struct config){.message_max_bytes = (uint64_t)s->message_size_max};
    snprintf(out->path, sizeof out->path, "%s", path ? path : "");
    int n = snprintf(out->data_dir, sizeof out->data_dir, "%s", s->global_directory);
    enum st st = n > 0 && n < CONFIG_PATH_MAX ? ST_OK : ERR_PUBLIC(e, ST_PERM, "global { directory } is empty or too long");
    if (st == ST_OK)
        st = path_join(out->store_dir, out->data_dir, "store", e);
    if (st == ST_OK)
        st = path_join(out->spool_dir, out->data_dir, "spool", e);
    if (st == ST_OK && s->global_admin_socket[0])
        snprintf(out->admin_socket, sizeof out->admin_socket, "%s", s->global_admin_socket);
    else if (st == ST_OK)
        st = path_join(out->admin_socket, out->data_dir, "admin.sock", e);
    settings_unref(s);
    return st;
}

enum st config_load(const char *path, struct config *out, struct err *e)
{
    struct settings *s = NULL;
    TRY(settings_load(path, &s, e));
    settings_use(&s);
    return config_from_settings(path, out, e);
}

static enum st load_dir(const char *dir, struct config *out, struct err *e)
{
    char path[CONFIG_PATH_MAX], full[CONFIG_PATH_MAX];
    struct stat st;
    ENSURE(stat(dir, &st) == 0 && S_ISDIR(st.st_mode), e, ST_NOTFOUND, "%s is not a directory", dir);
    TRY(path_join(path, dir, "postrider.conf", e));
    if (access(path, F_OK) == 0)
        return config_load(path, out, e);
    struct settings *s = settings_defaults();
    ENSURE(s, e, ST_TEMP, "out of memory");
    enum st st_real = config_real_path(dir, full, e);
    s->global_directory = settings_text(s, str_of(full));
    if (st_real != ST_OK) {
        settings_unref(s);
        return st_real;
    }
    settings_use(&s);
    return config_from_settings(NULL, out, e);
}

enum st config_load_for(const struct command_line *line, struct config *out, struct err *e)
{
    const char *path = command_value(line, "config"), *dir = command_value(line, "dir");
    ENSURE(!path || !dir, e, ST_PERM, "--config and --dir at once");
    if (dir)
        return load_dir(dir, out, e);
    return config_load(path ? path : CONFIG_DEFAULT_PATH, out, e);
}

/* ---- files ---- */

enum st config_real_path(const char *path, char out[CONFIG_PATH_MAX], struct err *e)
{
    char *full = realpath(path, NULL);
    out[0] = '\0';
    ENSURE(full, e, ST_NOTFOUND, "%s: %s", path, strerror(errno));
    int n = snprintf(out, CONFIG_PATH_MAX, "%s", full);
    free(full);
    ENSURE(n > 0 && n < CONFIG_PATH_MAX, e, ST_LIMIT, "the path %.60s... is too long", path);
    return ST_OK;
}

static bool write_all(int fd, struct str text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            return false;
        text = str_from(text, n > 0 ? (size_t)n : 0);
    }
    return true;
}

enum st config_write_file(const char *path, struct str text, unsigned mode, struct err *e)
{
    char temporary[CONFIG_PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.new", path);
    ENSURE(n > 0 && n < CONFIG_PATH_MAX, e, ST_LIMIT, "the path %.60s... is too long", path);
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
    ENSURE(fd >= 0, e, ST_TEMP, "%s cannot be written: %s", path, strerror(errno));
    bool ok = write_all(fd, text) && fchmod(fd, (mode_t)mode) == 0 && fsync(fd) == 0;
    int why = errno;
    close(fd);
    if (ok && rename(temporary, path) == 0)
        return ST_OK;
    why = ok ? errno : why;
    unlink(temporary);
    return ERR_PUBLIC(e, ST_TEMP, "%s cannot be written: %s", path, strerror(why));
}

enum st config_make_dir(const char *path, unsigned mode, struct err *e)
{
    char part[CONFIG_PATH_MAX];
    int n = snprintf(part, sizeof part, "%s", path);
    ENSURE(n > 0 && n < CONFIG_PATH_MAX, e, ST_LIMIT, "the path %.60s... is too long", path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return ERR_PUBLIC(e, ST_TEMP, "the directory %s cannot be made: %s", part, strerror(errno));
        *p = '/';
    }
    struct stat st;
    if (mkdir(path, (mode_t)mode) != 0 && !(errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return ERR_PUBLIC(e, ST_TEMP, "the directory %s cannot be made: %s", path, strerror(errno));
    return ST_OK;
}

enum st config_read_file(const char *path, struct buf *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ENSURE(fd >= 0 || errno != ENOENT, e, ST_NOTFOUND, "%s does not exist", path);
    ENSURE(fd >= 0, e, ST_TEMP, "%s cannot be read: %s", path, strerror(errno));
    ssize_t n = 1;
    while (n > 0 && buf_ok(out)) {
        char *room = buf_reserve(out, 64 << 10);
        n = room ? read(fd, room, 64 << 10) : -1;
        if (n > 0)
            buf_grew(out, (size_t)n);
    }
    close(fd);
    ENSURE(n == 0, e, ST_TEMP, "%s cannot be read", path);
    return ST_OK;
}
