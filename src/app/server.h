/* The running server: the core, the listeners of the settings in force, the administration socket, timers, and the signals:
 * SIGTERM and SIGINT stop it (sessions are told, deliveries end), SIGHUP reads configuration and certificates again. */
#ifndef APP_SERVER_H
#define APP_SERVER_H

#include "app/config.h"

struct server;
struct services;

struct server_options {
    const struct config *config;
    bool demo;
    const char *relay; /* as core_options */
    const int *fds;    /* listening sockets, one for each settings_listen, in its order; NULL: they are bound here */
    int admin_fd;      /* the administration socket; -1: bound here */
    /* Called once everything is open and before anything is served; may add accounts. */
    enum st (*prepare)(void *context, const struct services *services, struct err *e);
    void (*ready)(void *context); /* called when everything is served */
    void *context;
};
/* Blocks the signals, runs until it is told to stop, closes everything. */
enum st server_run(const struct server_options *options, struct err *e) MUST_USE;

/* A listening, non-blocking socket for a row of the settings. */
enum st server_bind(const struct settings_listen *listen, int *fd, struct err *e) MUST_USE;
enum st server_bind_unix(const char *path, unsigned mode, int *fd, struct err *e) MUST_USE;

#endif
