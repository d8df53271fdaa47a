/* What the SMTP server tells the operator: one closing event for each transaction, counters. */
#ifndef SERVE_SMTP_REPORT_H
#define SERVE_SMTP_REPORT_H

#include "serve/smtp/transaction.h"

void smtp_report_end(const struct smtp_session *s);
void smtp_report_command(const struct smtp_session *s);
void smtp_report_transaction(const struct smtp_session *s, const struct smtp_transaction *t);

#endif
