/* The rest of the system, opened and wired: engine, store, directory, login, resolver, queue. Used by the server and by commands
 * that work without one. */
#ifndef APP_CORE_H
#define APP_CORE_H

#include "app/config.h"
#include "serve/services.h"

struct core;

enum core_mode {
    CORE_SERVE,   /* deliveries run */
    CORE_OFFLINE, /* nothing leaves; opening fails with ST_TEMP while a server has the store */
};
struct core_options {
    enum core_mode mode;
    bool demo;         /* services.demo, and no DNS */
    const char *relay; /* HOST:PORT for all mail to other domains, or NULL; lives as long as the core */
};
/* The config is borrowed; the settings in force count. */
enum st core_open(const struct config *config, const struct core_options *options, struct core **out, struct err *e) MUST_USE;
void core_close(struct core *c); /* NULL is fine */
/* Starts deliveries; stops them and waits. */
enum st core_start(struct core *c, struct err *e) MUST_USE;
void core_stop(struct core *c, unsigned wait_ms);

const struct services *core_services(const struct core *c);
/* One slice of background work; called by a timer. */
void core_care(struct core *c);

#endif
