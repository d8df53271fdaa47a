#include "serve/smtp/report.h"

#include "rt/clock.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "serve/smtp/client.h"

/* A session that brought mail is told by its transactions; one that brought only mistakes should be told too. */
void smtp_report_end(const struct smtp_session *s)
{
    if (s->transactions == 0 && s->errors > 0)
        log_event(LOG_INFO, "smtp.session", LOG_UINT("session", s->base.id), LOG_Z("client", s->base.peer->address),
                  LOG_STR("client_name", smtp_client_name(s)), LOG_Z("service", s->base.class->name),
                  LOG_STR("helo", smtp_helo_name(s)), LOG_UINT("commands", s->commands), LOG_UINT("errors", s->errors),
                  LOG_UINT("auth_failures", s->auth_failures));
}

void smtp_report_command(const struct smtp_session *s)
{
    (void)s;
    metrics_one(METRIC_SMTP_COMMANDS);
}

static struct str first_recipient(const struct smtp_transaction *t) { return t->count ? t->recipients[0].address : STR_NONE; }

void smtp_report_transaction(const struct smtp_session *s, const struct smtp_transaction *t)
{
    const struct session_peer *peer = s->base.peer;
    bool taken = t->result == SMTP_SAY_ACCEPTED;
    metrics_add(METRIC_SMTP_REFUSED, (int64_t)(t->commands - t->answer_count) + (!taken && t->result != SMTP_SAY_NONE));
    metrics_add(METRIC_SMTP_MESSAGES, taken);
    log_event(LOG_INFO, "smtp.transaction", LOG_Z("id", t->id), LOG_UINT("session", s->base.id),
              LOG_Z("service", s->base.class->name), LOG_Z("client", peer->address), LOG_STR("client_name", smtp_client_name(s)),
              LOG_STR("helo", smtp_helo_name(s)), LOG_STR("from", t->reverse_path), LOG_STR("to", first_recipient(t)),
              LOG_UINT("recipients", t->answer_count), LOG_UINT("refused", t->commands - t->answer_count),
              LOG_UINT("size", t->size),
              LOG_Z("by", t->transfer == SMTP_TRANSFER_BDAT   ? "BDAT"
                          : t->transfer == SMTP_TRANSFER_DATA ? "DATA"
                                                              : ""),
              LOG_STR("tls", peer->tls.active ? peer->tls.version : STR_NONE), LOG_Z("login", s->who.address),
              LOG_UINT("code", smtp_say_code(t->result)), LOG_Z("status", smtp_say_enhanced(t->result)),
              LOG_Z("result", taken                        ? "taken"
                              : t->result == SMTP_SAY_NONE ? "dropped"
                                                           : "refused"),
              LOG_Z("error", taken || t->result_err.class == ST_OK ? "" : t->result_err.detail),
              LOG_MS("took", clock_mono_ms() - t->started_ms));
}
