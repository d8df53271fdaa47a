/* For tests of a disk that fails: included by one file of a test program, it puts itself before fdatasync(2), also where librocksdb
 * calls it. */
#ifndef KV_TESTING_DISK_H
#define KV_TESTING_DISK_H

#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"

static bool (*disk_sync_fails)(int fd); /* NULL: it works; asked by any thread */

/* Whether it is a file of the log of RocksDB. */
static inline bool disk_is_log(int fd)
{
    char link[40], path[200];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path);
    return n > 0 && str_ends(str_make(path, (size_t)n), STR(".log"));
}

int fdatasync(int fd)
{
    if (disk_sync_fails && disk_sync_fails(fd)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

#endif
