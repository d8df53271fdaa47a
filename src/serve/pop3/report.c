#include "serve/pop3/report.h"

#include "rt/log.h"
#include "rt/metrics.h"

void pop3_report_command(const struct pop3_session *s)
{
    (void)s;
    metrics_one(METRIC_POP3_COMMANDS);
}

void pop3_report_open(const struct pop3_session *s, const struct err *e)
{
    log_event(LOG_WARN, "pop3.open", LOG_UINT("session", s->base.id), LOG_Z("login", s->who.address), LOG_ERR(e));
}

void pop3_report_update(const struct pop3_session *s, const struct err *e)
{
    log_event(LOG_WARN, "pop3.update", LOG_UINT("session", s->base.id), LOG_Z("login", s->who.address), LOG_ERR(e));
}

void pop3_report_end(const struct pop3_session *s)
{
    const struct pop3_maildrop *m = s->drop;
    if (!m && !s->errors)
        return; /* somebody looked whether we are alive */
    log_event(LOG_INFO, "pop3.session", LOG_UINT("session", s->base.id), LOG_Z("client", s->base.peer->address),
              LOG_Z("login", s->who.address), LOG_UINT("messages", m ? m->count : 0), LOG_UINT("retrieved", s->retrieved),
              LOG_UINT("bytes", s->retrieved_bytes), LOG_UINT("marked", m ? m->deleted_count : 0), LOG_UINT("removed", s->removed),
              LOG_UINT("commands", s->commands), LOG_UINT("errors", s->errors));
}
