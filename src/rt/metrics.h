/* Counters, gauges and histograms, read as Prometheus text. Adding is one relaxed atomic operation. Threads: any.
 *
 * Each is one row of METRICS below: the enum, the exported name, the help text. */
#ifndef RT_METRICS_H
#define RT_METRICS_H

#include <stdint.h>

#include "base/buf.h"

#define METRICS(COUNTER, GAUGE)                                                                                                    \
    COUNTER(CONNECTIONS, "connections_total", "Connections accepted")                                                              \
    COUNTER(CONNECTIONS_REFUSED, "connections_refused_total", "Connections refused because of a limit")                            \
    GAUGE(CONNECTIONS_OPEN, "connections_open", "Connections open now")                                                            \
    COUNTER(TLS_HANDSHAKES, "tls_handshakes_total", "TLS handshakes completed")                                                    \
    COUNTER(TLS_FAILURES, "tls_failures_total", "TLS handshakes failed")                                                           \
    COUNTER(LOGINS, "logins_total", "Successful logins")                                                                           \
    COUNTER(LOGIN_FAILURES, "login_failures_total", "Failed logins")                                                               \
    COUNTER(SMTP_COMMANDS, "smtp_commands_total", "SMTP and LMTP commands")                                                        \
    COUNTER(SMTP_MESSAGES, "smtp_messages_total", "Messages taken by SMTP, submission and LMTP")                                   \
    COUNTER(SMTP_REFUSED, "smtp_refused_total", "Messages and recipients refused")                                                 \
    COUNTER(IMAP_COMMANDS, "imap_commands_total", "IMAP commands")                                                                 \
    COUNTER(POP3_COMMANDS, "pop3_commands_total", "POP3 commands")                                                                 \
    COUNTER(DELIVERED_LOCAL, "delivered_local_total", "Messages delivered into local mailboxes")                                   \
    COUNTER(DELIVERED_REMOTE, "delivered_remote_total", "Recipients delivered to other hosts")                                     \
    COUNTER(DELIVERY_DEFERRED, "delivery_deferred_total", "Tries of delivery put off")                                             \
    COUNTER(DELIVERY_FAILED, "delivery_failed_total", "Recipients given up")                                                       \
    GAUGE(QUEUE_MESSAGES, "queue_messages", "Messages in the queue")                                                               \
    COUNTER(STORE_COMMITS, "store_commits_total", "Commits of accounts")                                                           \
    COUNTER(STORE_CHANGES, "store_changes_total", "Changes carried by them")

/* How long things took. */
#define METRICS_HISTOGRAMS(HISTOGRAM)                                                                                              \
    HISTOGRAM(STEP, "session_step_seconds", "One step of a session: commands of one read, with what they wait for")                \
    HISTOGRAM(COMMIT, "store_commit_seconds", "One durable write of the storage engine")                                           \
    HISTOGRAM(PASSWORD, "password_seconds", "Verifying a password, waiting for a permit not counted")

enum metric {
#define METRICS_NAME(id, name, help) METRIC_##id,
    METRICS(METRICS_NAME, METRICS_NAME)
#undef METRICS_NAME
        METRIC_COUNT
};

void metrics_add(enum metric m, int64_t n);
static inline void metrics_one(enum metric m) { metrics_add(m, 1); }
int64_t metrics_get(enum metric m);
enum metric_histogram {
#define METRICS_NAME(id, name, help) METRIC_TIME_##id,
    METRICS_HISTOGRAMS(METRICS_NAME)
#undef METRICS_NAME
        METRIC_TIME_COUNT
};
void metrics_took(enum metric_histogram h, int64_t us);
/* How many of at most so long there were; the bounds are 16 us and each power of four from there to 17 s. */
uint64_t metrics_took_within(enum metric_histogram h, int64_t us);

void metrics_print(struct buf *out); /* Prometheus text format 0.0.4 */

#endif
