/* A small HTTP/1.1 server (RFC 9110, 9112) for what runs on the local port: GET and HEAD of /metrics (Prometheus text) and /health.
 * Anything else is answered 404, 405 or 400. Requests are framed by http-parser; bodies are refused. Keep-alive and pipelining
 * work. Limits: HTTP_HEAD_MAX bytes of a request, HTTP_TIMEOUT_MS from the answer before it to its end, HTTP_REQUESTS_MAX
 * requests of a connection. The factory is in serve/services.h.
 */
#ifndef SERVE_HTTP_HTTP_H
#define SERVE_HTTP_HTTP_H

#include "serve/services.h"

enum { HTTP_HEAD_MAX = 16 << 10, HTTP_REQUESTS_MAX = 1000, HTTP_TIMEOUT_MS = 30000, HTTP_BODY_MAX = 128 << 10 };

/* One resource: appends the body; false: 503. */
typedef bool http_resource(const struct serve_context *context, struct buf *body);
struct http_row {
    const char *path;
    const char *type; /* Content-Type */
    http_resource *make;
};
extern const struct http_row http_rows[]; /* ended by a row without a path */

#endif
