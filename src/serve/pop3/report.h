/* What the POP3 server tells the operator: one closing event for each session, counters. Logins are told by auth/. */
#ifndef SERVE_POP3_REPORT_H
#define SERVE_POP3_REPORT_H

#include "serve/pop3/pop3.h"

void pop3_report_command(const struct pop3_session *s);
void pop3_report_open(const struct pop3_session *s, const struct err *e);   /* the maildrop could not be opened */
void pop3_report_update(const struct pop3_session *s, const struct err *e); /* the removal failed */
void pop3_report_end(const struct pop3_session *s);

#endif
