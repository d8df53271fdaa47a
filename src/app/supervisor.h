/* The supervisor: a small process that parses nothing from the network. It binds the sockets, reads the keys, starts the server
 * behind the sandbox (sandbox.h), and starts it again at once if it dies, with back-off; the sockets stay open meanwhile, so that
 * clients only wait.
 *
 *   SIGHUP          reads the certificates again and passes the signal on; the server reads the configuration again
 *   SIGTERM, SIGINT passes it on and waits for the server to end; one that does not is killed
 *
 * At the server's request it runs the programs of the configuration (helper.h).
 *
 * Certificates and keys reach the server as anonymous files (memfd), so that the keys can stay readable by root only; they are
 * refreshed when they change on the disk. systemd is told when the server is ready (sd_notify), and its sockets (LISTEN_FDS) are
 * taken where they match a listener. */
#ifndef APP_SUPERVISOR_H
#define APP_SUPERVISOR_H

#include "app/server.h"

/* Runs until it is told to stop. The callbacks of `options` run in the server process. The error is that of a server that could not
 * start. */
enum st supervisor_run(const struct server_options *options, struct err *e) MUST_USE;

#endif
