#include "serve/smtp/client.h"

#include <stdlib.h>

#include "dns/client_name.h"

static void wake(void *context) { session_wake(context); }

/* Mail servers are asked for their name, and clients whose address the Received field will tell. */
static bool wanted(const struct smtp_session *s)
{
    const struct session_peer *peer = s->base.peer;
    if (!s->services->resolver || !s->settings->smtp_client_names || peer->loopback || !peer->address[0])
        return false;
    return s->profile == SERVE_SMTP || (s->profile == SERVE_SUBMISSION && !s->settings->submission_hide_client);
}

bool smtp_client_begin(struct smtp_session *s)
{
    if (!wanted(s))
        return false;
    s->naming = client_name_begin(s->services->resolver, s->base.peer->address, wake, s);
    if (s->naming && client_name_ready(s->naming))
        smtp_client_end(s);
    return s->naming != NULL;
}

bool smtp_client_ready(const struct smtp_session *s) { return !s->naming || client_name_ready(s->naming); }

void smtp_client_end(struct smtp_session *s)
{
    if (!s->naming)
        return;
    struct str name = client_name_text(s->naming);
    s->client_name = name.n ? malloc(name.n + 1) : NULL;
    if (s->client_name)
        memcpy(s->client_name, name.p, name.n + 1); /* with its NUL */
    client_name_free(s->naming);
    s->naming = NULL;
}

struct str smtp_client_name(const struct smtp_session *s) { return str_of(s->client_name); }
