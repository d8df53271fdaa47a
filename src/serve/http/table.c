#include "serve/http/http.h"

#include "rt/metrics.h"
#include "store/store.h"

static bool make_metrics(const struct serve_context *context, struct buf *body)
{
    (void)context;
    metrics_print(body);
    return buf_ok(body);
}

/* Fit to be asked every second: that a thread answers at all is the news. */
static bool make_health(const struct serve_context *context, struct buf *body)
{
    buf_add_z(body, "ok\n");
    return context->services->store != NULL;
}

const struct http_row http_rows[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", make_metrics},
    {"/health", "text/plain; charset=utf-8", make_health},
    {0},
};
