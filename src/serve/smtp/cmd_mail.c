/* MAIL (RFC 5321 4.1.1.2; SIZE 1870, BODY 6152 and 3030, SMTPUTF8 6531, DSN 3461, AUTH= 4954 5). */
#include "serve/smtp/policy.h"
#include "serve/smtp/table.h"
#include "serve/smtp/transaction.h"

unsigned smtp_cmd_mail_parameters(const struct smtp_session *s)
{
    unsigned offered = SMTP_PARAM_SIZE | SMTP_PARAM_BODY | SMTP_PARAM_SMTPUTF8 | SMTP_PARAM_RET | SMTP_PARAM_ENVID;
    if (s->authenticated || smtp_cmd_auth_offered(s))
        offered |= SMTP_PARAM_AUTH;
    return offered;
}

static int64_t limit(int64_t n) { return n < 999999 ? n : 999999; }

void smtp_cmd_mail_keywords(struct smtp_session *s)
{
    smtp_keyword(s, "PIPELINING");
    smtp_keyword(s, "SIZE %llu", (unsigned long long)smtp_size_max(s));
    smtp_keyword(s, "8BITMIME");
    smtp_keyword(s, "ENHANCEDSTATUSCODES");
    smtp_keyword(s, "SMTPUTF8");
    smtp_keyword(s, "DSN");
    smtp_keyword(s, "LIMITS RCPTMAX=%lld MAILMAX=%lld", (long long)limit(s->settings->smtp_recipients_max),
                 (long long)limit(s->settings->smtp_transactions_max)); /* RFC 9422 4: at most six digits */
}

static enum smtp_say say_of_fault(enum smtp_fault fault)
{
    switch (fault) {
    case SMTP_FAULT_NONE:
    case SMTP_FAULT_SYNTAX:
        return SMTP_SAY_SYNTAX;
    case SMTP_FAULT_ADDRESS:
        return SMTP_SAY_BAD_SENDER_SYNTAX;
    case SMTP_FAULT_PARAMETER:
        return SMTP_SAY_BAD_PARAMETER;
    case SMTP_FAULT_UNKNOWN:
        return SMTP_SAY_UNKNOWN_PARAMETER;
    case SMTP_FAULT_NOT_ASCII:
        return SMTP_SAY_SENDER_NOT_ASCII;
    }
    return SMTP_SAY_SYNTAX;
}

/* Reads the command into the transaction; what it returns other than SMTP_SAY_NONE is the refusal. */
static enum smtp_say parse(struct smtp_session *s, struct smtp_transaction *t, struct str arg, struct err *e)
{
    struct str kept = arena_str(&t->arena, arg);
    if (!kept.p)
        return SMTP_SAY_NO_STORAGE;
    enum st st = smtp_mail_parse(&t->arena, kept, smtp_cmd_mail_parameters(s), &t->mail, e);
    if (st == ST_PERM)
        return say_of_fault(t->mail.fault);
    if (st != ST_OK)
        return SMTP_SAY_NO_STORAGE;
    if (t->mail.body == SMTP_BODY_BINARYMIME && !smtp_cmd_bdat_binary_offered(s))
        return SMTP_SAY_UNKNOWN_PARAMETER;
    if ((t->mail.given & SMTP_PARAM_SIZE) && t->mail.size > smtp_size_max(s))
        return SMTP_SAY_TOO_BIG; /* RFC 1870 6.1 */
    t->reverse_path = address_text(&t->arena, &t->mail.from);
    return t->reverse_path.p ? SMTP_SAY_NONE : SMTP_SAY_NO_STORAGE;
}

enum smtp_next smtp_cmd_mail(struct smtp_session *s, struct str arg)
{
    if (smtp_policy_login_missing(s)) {
        smtp_say(s, SMTP_SAY_AUTH_REQUIRED);
        return SMTP_NEXT_COMMAND;
    }
    if (++s->transactions > s->settings->smtp_transactions_max) {
        smtp_say(s, SMTP_SAY_TOO_MANY_TRANSACTIONS);
        return SMTP_NEXT_CLOSE;
    }
    if (!smtp_transaction_begin(s)) {
        smtp_say(s, SMTP_SAY_NO_STORAGE);
        return SMTP_NEXT_COMMAND;
    }
    struct err e = {0};
    enum smtp_say refusal = parse(s, s->transaction, arg, &e);
    if (refusal == SMTP_SAY_NONE)
        refusal = smtp_policy_sender(s, s->transaction, &e);
    if (refusal == SMTP_SAY_NONE) {
        s->state = SMTP_MAIL;
        smtp_say(s, SMTP_SAY_SENDER_OK);
        return SMTP_NEXT_COMMAND;
    }
    s->transaction->result = refusal;
    if (e.text[0])
        smtp_sayf(s, refusal, "%s", e.text);
    else
        smtp_say(s, refusal);
    smtp_session_reset(s);
    return SMTP_NEXT_COMMAND;
}
