/* Which configuration a command works with, and the paths below its directory. Owns the settings snapshot's reference. */
#ifndef APP_CONFIG_H
#define APP_CONFIG_H

#include "app/command.h"
#include "rt/settings.h"

enum { CONFIG_PATH_MAX = 1024 };
#define CONFIG_DEFAULT_PATH "/etc/postrider/postrider.conf"

struct config {
    char path[CONFIG_PATH_MAX]; /* of the file; empty: there is none */
    char data_dir[CONFIG_PATH_MAX];
    char store_dir[CONFIG_PATH_MAX]; /* the engine's */
    char spool_dir[CONFIG_PATH_MAX];
    char admin_socket[CONFIG_PATH_MAX];
    uint64_t message_max_bytes;
};

/* --config FILE, or --dir DIR (its postrider.conf; without one the defaults with that directory), or the default file. Puts the
 * settings in force. */
enum st config_load_for(const struct command_line *line, struct config *out, struct err *e) MUST_USE;
enum st config_load(const char *path, struct config *out, struct err *e) MUST_USE;
/* From the settings in force. */
enum st config_from_settings(const char *path, struct config *out, struct err *e) MUST_USE;
/* Writes a file whole or not at all, with these rights. */
enum st config_write_file(const char *path, struct str text, unsigned mode, struct err *e) MUST_USE;
enum st config_make_dir(const char *path, unsigned mode, struct err *e) MUST_USE; /* also its parents; fine if it is there */
/* Absolute, without links. ST_NOTFOUND, ST_LIMIT. */
enum st config_real_path(const char *path, char out[CONFIG_PATH_MAX], struct err *e) MUST_USE;
/* The whole file; ST_NOTFOUND, ST_TEMP. */
enum st config_read_file(const char *path, struct buf *out, struct err *e) MUST_USE;

#endif
