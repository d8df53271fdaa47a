/* The walls around the server process: it gives up root, then exec, then all files but its own, then all system calls that it has
 * no use for.
 *
 * Landlock (file access) and seccomp (system calls) need no root and bind the process, all its threads and children for good. Where
 * the kernel lacks one of them a warning is logged and the rest holds. Call it while the process has one thread. */
#ifndef APP_SANDBOX_H
#define APP_SANDBOX_H

#include "base/err.h"

enum { SANDBOX_PATHS_MAX = 32 };

struct sandbox {
    const char *user;                           /* to become, if we are root; NULL or "": stay */
    const char *write_paths[SANDBOX_PATHS_MAX]; /* folders that may be read and written; NULL ends the list */
    const char *read_paths[SANDBOX_PATHS_MAX];  /* files and folders that may be read, besides the system's own */
};

/* Gives write_paths to the user before dropping root, so that a directory made by root can be used. ST_PERM: no such user, with
 * what to do. */
enum st sandbox_become_user(const struct sandbox *s, struct err *e) MUST_USE;
enum st sandbox_files(const struct sandbox *s, struct err *e) MUST_USE;
enum st sandbox_system_calls(struct err *e) MUST_USE;

#endif
