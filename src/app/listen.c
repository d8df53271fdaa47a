/* Listening sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/server.h"

enum { BACKLOG = 4096 };

static enum st fail(int fd, const char *what, struct err *e)
{
    int why = errno;
    if (fd >= 0)
        close(fd);
    return ERR_PUBLIC(e, why == EACCES || why == EADDRNOTAVAIL ? ST_PERM : ST_TEMP, "cannot listen on %s: %s", what, strerror(why));
}

enum st server_bind_unix(const char *path, unsigned mode, int *fd, struct err *e)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    ENSURE(strlen(path) < sizeof sa.sun_path, e, ST_PERM, "%s is too long for a socket's path; set global { admin_socket }", path);
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return fail(s, path, e);
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path); /* of a server that died; the engine's lock keeps two of them apart */
    mode_t old = umask(0777 & ~(mode_t)mode);
    int rc = bind(s, (struct sockaddr *)&sa, sizeof sa);
    umask(old);
    if (rc != 0 || listen(s, BACKLOG) != 0)
        return fail(s, path, e);
    *fd = s;
    return ST_OK;
}

static bool address_of(const struct settings_listen *l, struct sockaddr_storage *sa, socklen_t *n)
{
    struct sockaddr_in *four = (struct sockaddr_in *)sa;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)sa;
    memset(sa, 0, sizeof *sa);
    if (inet_pton(AF_INET, l->address, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(l->port);
        *n = sizeof *four;
        return true;
    }
    if (inet_pton(AF_INET6, l->address, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(l->port);
        *n = sizeof *six;
        return true;
    }
    return false;
}

enum st server_bind(const struct settings_listen *l, int *fd, struct err *e)
{
    char what[160];
    struct sockaddr_storage sa;
    socklen_t n;
    int on = 1;
    if (l->port == 0)
        return server_bind_unix(l->address, 0666, fd, e);
    snprintf(what, sizeof what, "%s port %u (listen \"%s\")", l->address, l->port, l->name);
    ENSURE(address_of(l, &sa, &n), e, ST_PERM, "listen \"%s\": %s is not a numeric address", l->name, l->address);
    int s = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return fail(s, what, e);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (sa.ss_family == AF_INET6)
        setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(s, (struct sockaddr *)&sa, n) != 0 || listen(s, BACKLOG) != 0)
        return fail(s, what, e);
    *fd = s;
    return ST_OK;
}
