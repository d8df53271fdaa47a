/* RCPT (RFC 5321 4.1.1.3; NOTIFY and ORCPT of RFC 3461). */
#include "serve/smtp/policy.h"
#include "serve/smtp/table.h"
#include "serve/smtp/transaction.h"

static enum smtp_say say_of_fault(enum smtp_fault fault)
{
    switch (fault) {
    case SMTP_FAULT_NONE:
    case SMTP_FAULT_SYNTAX:
        return SMTP_SAY_SYNTAX;
    case SMTP_FAULT_ADDRESS:
        return SMTP_SAY_BAD_RECIPIENT_SYNTAX;
    case SMTP_FAULT_PARAMETER:
        return SMTP_SAY_BAD_PARAMETER;
    case SMTP_FAULT_UNKNOWN:
        return SMTP_SAY_UNKNOWN_PARAMETER;
    case SMTP_FAULT_NOT_ASCII:
        return SMTP_SAY_RECIPIENT_NOT_ASCII;
    }
    return SMTP_SAY_SYNTAX;
}

static enum smtp_say parse(struct smtp_transaction *t, struct str arg, struct smtp_rcpt *out, struct err *e)
{
    struct str kept = arena_str(&t->arena, arg);
    if (!kept.p)
        return SMTP_SAY_TOO_MANY_RECIPIENTS;
    bool utf8 = (t->mail.given & SMTP_PARAM_SMTPUTF8) != 0;
    enum st st = smtp_rcpt_parse(&t->arena, kept, SMTP_PARAM_NOTIFY | SMTP_PARAM_ORCPT, utf8, out, e);
    if (st == ST_PERM)
        return say_of_fault(out->fault);
    return st == ST_OK ? SMTP_SAY_NONE : SMTP_SAY_TOO_MANY_RECIPIENTS;
}

/* enum smtp_notify and enum accept_notify count alike. */
_Static_assert((int)SMTP_NOTIFY_NEVER == (int)ACCEPT_NOTIFY_NEVER && (int)SMTP_NOTIFY_SUCCESS == (int)ACCEPT_NOTIFY_SUCCESS &&
                   (int)SMTP_NOTIFY_FAILURE == (int)ACCEPT_NOTIFY_FAILURE && (int)SMTP_NOTIFY_DELAY == (int)ACCEPT_NOTIFY_DELAY,
               "passed on as they are");

static enum smtp_say recipient(struct smtp_session *s, struct str arg, struct err *e)
{
    struct smtp_transaction *t = s->transaction;
    struct smtp_rcpt rcpt = {0};
    struct accept_recipient r = {0};
    t->commands++;
    if ((int64_t)t->answer_count >= s->settings->smtp_recipients_max)
        return SMTP_SAY_TOO_MANY_RECIPIENTS; /* RFC 5321 4.5.3.1.10 */
    enum smtp_say refusal = parse(t, arg, &rcpt, e);
    if (refusal != SMTP_SAY_NONE)
        return refusal;
    refusal = smtp_policy_recipient(s, &rcpt.to, &r);
    if (refusal != SMTP_SAY_NONE)
        return refusal;
    r.notify = rcpt.notify;
    r.orcpt = rcpt.orcpt;
    return smtp_transaction_add(t, &r) ? SMTP_SAY_NONE : SMTP_SAY_TOO_MANY_RECIPIENTS;
}

enum smtp_next smtp_cmd_rcpt(struct smtp_session *s, struct str arg)
{
    struct err e = {0};
    enum smtp_say refusal = recipient(s, arg, &e);
    if (refusal == SMTP_SAY_NONE)
        smtp_say(s, SMTP_SAY_RECIPIENT_OK);
    else if (e.text[0])
        smtp_sayf(s, refusal, "%s", e.text);
    else
        smtp_say(s, refusal);
    return SMTP_NEXT_COMMAND;
}
