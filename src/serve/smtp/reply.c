#include "serve/smtp/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "serve/smtp/transaction.h"

enum { TEXT_MAX = 480 }; /* of one reply line: 512 with code, enhanced code and CRLF */

struct reply {
    char code[4];
    char enhanced[8]; /* "" : none in this reply */
    const char *text;
};

/* RFC 5321 4.2.3, 3463, 4954 6, 3207 4, 5248 */
static const struct reply replies[SMTP_SAYS] = {
    [SMTP_SAY_NONE] = {"", "", ""},
    [SMTP_SAY_OK] = {"250", "2.0.0", "OK"},
    [SMTP_SAY_RESET] = {"250", "2.0.0", "Transaction dropped"},
    [SMTP_SAY_GREETING] = {"220", "", ""},
    [SMTP_SAY_BYE] = {"221", "2.0.0", "Bye"},
    [SMTP_SAY_HELLO] = {"250", "", ""},
    [SMTP_SAY_HELP] = {"214", "2.0.0", ""},
    [SMTP_SAY_SENDER_OK] = {"250", "2.1.0", "Sender OK"},
    [SMTP_SAY_RECIPIENT_OK] = {"250", "2.1.5", "Recipient OK"},
    [SMTP_SAY_CANNOT_VERIFY] = {"252", "2.5.0", "Cannot verify, but will take mail and try to deliver it"},
    [SMTP_SAY_START_DATA] = {"354", "", "Send the message, end with a dot on a line of its own"},
    [SMTP_SAY_CHUNK_OK] = {"250", "2.0.0", "Chunk taken"},
    [SMTP_SAY_ACCEPTED] = {"250", "2.0.0", "Accepted"},
    [SMTP_SAY_START_TLS] = {"220", "2.0.0", "Ready for TLS"},
    [SMTP_SAY_CHALLENGE] = {"334", "", ""},
    [SMTP_SAY_AUTHENTICATED] = {"235", "2.7.0", "Authenticated"},

    [SMTP_SAY_TIMEOUT] = {"421", "4.4.2", "Waited too long, closing"},
    [SMTP_SAY_TOO_LONG] = {"421", "4.7.0", "This session has lasted too long, connect again"},
    [SMTP_SAY_STOPPING] = {"421", "4.3.2", "Service is shutting down, closing"},
    [SMTP_SAY_TOO_MANY_ERRORS] = {"421", "4.7.0", "Too many errors, closing"},
    [SMTP_SAY_TOO_MANY_COMMANDS] = {"421", "4.7.0", "Too many commands, closing"},
    [SMTP_SAY_TOO_MANY_TRANSACTIONS] = {"421", "4.7.0", "Too many messages in one session, connect again"},
    [SMTP_SAY_FOREIGN_PROTOCOL] = {"421", "4.7.0", "This is SMTP, closing"},

    [SMTP_SAY_UNKNOWN_COMMAND] = {"500", "5.5.1", "Unknown command"},
    [SMTP_SAY_LINE_TOO_LONG] = {"500", "5.5.2", "Line too long"},
    [SMTP_SAY_BAD_LINE_END] = {"500", "5.5.2", "Lines must end with CRLF and hold no other CR, LF or NUL"},
    [SMTP_SAY_NOT_IMPLEMENTED] = {"502", "5.5.1", "Command not implemented"},
    [SMTP_SAY_BAD_SEQUENCE] = {"503", "5.5.1", "Command out of order"},
    [SMTP_SAY_HELLO_FIRST] = {"503", "5.5.1", "Say hello first"},
    [SMTP_SAY_SYNTAX] = {"501", "5.5.2", "Syntax error"},
    [SMTP_SAY_NO_PARAMETERS] = {"501", "5.5.4", "This command has no parameters"},
    [SMTP_SAY_BAD_PARAMETER] = {"501", "5.5.4", "Bad parameter"},
    [SMTP_SAY_UNKNOWN_PARAMETER] = {"555", "5.5.4", "Parameter not known or not offered"},
    [SMTP_SAY_BAD_SENDER_SYNTAX] = {"501", "5.1.7", "Bad sender address"},
    [SMTP_SAY_BAD_RECIPIENT_SYNTAX] = {"501", "5.1.3", "Bad recipient address"},
    [SMTP_SAY_SENDER_NOT_ASCII] = {"550", "5.6.7", "This sender needs SMTPUTF8"}, /* RFC 6531 3.5 */
    [SMTP_SAY_RECIPIENT_NOT_ASCII] = {"553", "5.6.7", "This recipient needs SMTPUTF8"},
    [SMTP_SAY_NOT_QUALIFIED] = {"554", "5.1.2", "Domain is not fully qualified"}, /* RFC 6409 4.2 */

    [SMTP_SAY_NO_RECIPIENTS] = {"554", "5.5.1", "No valid recipients"},
    [SMTP_SAY_TOO_MANY_RECIPIENTS] = {"452", "4.5.3", "Too many recipients, send the rest in another transaction"},
    [SMTP_SAY_NO_SUCH_MAILBOX] = {"550", "5.1.1", "No such mailbox here"},
    [SMTP_SAY_MAILBOX_CLOSED] = {"550", "5.2.1", "Mailbox is closed"},
    [SMTP_SAY_MAILBOX_SUSPENDED] = {"450", "4.2.1", "Mailbox takes no mail at the moment"},
    [SMTP_SAY_MAILBOX_FULL] = {"452", "4.2.2", "Mailbox is full"},
    [SMTP_SAY_MAILBOX_FULL_FOR_GOOD] = {"552", "5.2.2", "Mailbox is full"},
    [SMTP_SAY_RELAY_DENIED] = {"550", "5.7.1", "Not a domain of this host, and relaying is not allowed to you"},
    [SMTP_SAY_SENDER_DENIED] = {"550", "5.7.1", "Not your address"}, /* RFC 6409 6.1 */
    [SMTP_SAY_FROM_DENIED] = {"550", "5.7.1", "The address in the From field is not yours"},
    [SMTP_SAY_CLIENT_RATE] = {"450", "4.7.1", "Too many messages from you at the moment"},
    [SMTP_SAY_BINARY_NOT_HERE] = {"550", "5.6.3", "Binary mail can only be taken for mailboxes of this host"},
    [SMTP_SAY_TOO_BIG] = {"552", "5.3.4", "Message is bigger than this host takes"},
    [SMTP_SAY_BARE_NEWLINE] = {"554", "5.6.0", "Message has a CR or LF that is not part of a CRLF"},
    [SMTP_SAY_DATA_LINE_TOO_LONG] = {"554", "5.6.0", "Message has a line that is too long"},
    [SMTP_SAY_BAD_HEADER] = {"554", "5.6.0", "Message header cannot be repaired"},
    [SMTP_SAY_LOOP] = {"554", "5.4.6", "Too many hops, this looks like a mail loop"},
    [SMTP_SAY_NO_STORAGE] = {"452", "4.3.1", "Not enough room at the moment"},
    [SMTP_SAY_TEMPORARY] = {"451", "4.3.0", "Cannot do that now, try again later"},
    [SMTP_SAY_REFUSED] = {"554", "5.0.0", "Refused"},
    [SMTP_SAY_REFUSED_POLICY] = {"550", "5.7.1", "Refused by policy"},
    [SMTP_SAY_BDAT_NEEDED] = {"503", "5.5.1", "BINARYMIME needs BDAT"},

    [SMTP_SAY_TLS_UNAVAILABLE] = {"454", "4.7.0", "TLS is not available"},
    [SMTP_SAY_AUTH_REQUIRED] = {"530", "5.7.0", "Authentication required"},
    [SMTP_SAY_AUTH_FAILED] = {"535", "5.7.8", "Name or password is wrong"},
    [SMTP_SAY_AUTH_TEMPORARY] = {"454", "4.7.0", "Cannot authenticate at the moment"},
    [SMTP_SAY_AUTH_MECHANISM] = {"504", "5.5.4", "Mechanism not known or not offered here"},
    [SMTP_SAY_AUTH_NEEDS_TLS] = {"538", "5.7.11", "This mechanism needs TLS"},
    [SMTP_SAY_AUTH_CANCELLED] = {"501", "5.7.0", "Authentication cancelled"},
    [SMTP_SAY_AUTH_BAD_BASE64] = {"501", "5.5.2", "Not base64"},
    [SMTP_SAY_AUTH_TOO_LONG] = {"500", "5.5.6", "Authentication line too long"},
    [SMTP_SAY_AUTH_BAD_EXCHANGE] = {"501", "5.7.0", "Not what this mechanism expects"},
};

static const struct reply *reply_of(enum smtp_say what)
{
    if (!always((unsigned)what < SMTP_SAYS))
        what = SMTP_SAY_TEMPORARY;
    return &replies[what];
}

unsigned smtp_say_code(enum smtp_say what)
{
    const char *c = reply_of(what)->code;
    return c[0] ? (unsigned)((c[0] - '0') * 100 + (c[1] - '0') * 10 + (c[2] - '0')) : 0;
}

const char *smtp_say_enhanced(enum smtp_say what) { return reply_of(what)->enhanced; }

/* "250 2.0.0 " or "250-2.0.0 ": what each line begins with, whether the client said EHLO or not (RFC 2034 4). */
static void add_codes(struct smtp_session *s, const struct reply *r, char mark)
{
    buf_add(s->out, (struct str){r->code, 3});
    buf_add_c(s->out, mark);
    if (!r->enhanced[0])
        return;
    buf_add_z(s->out, r->enhanced);
    buf_add_c(s->out, ' ');
}

void smtp_say_line(struct smtp_session *s, enum smtp_say what, bool more, struct str text)
{
    add_codes(s, reply_of(what), more ? '-' : ' ');
    buf_add(s->out, str_upto(text, TEXT_MAX));
    buf_add(s->out, STR("\r\n"));
}

/* RFC 6531 3.7.4.1: UTF-8 in replies only where the client asked for it. */
static void add_text(struct smtp_session *s, struct str text)
{
    const struct smtp_transaction *t = s->transaction;
    text = str_upto(text, TEXT_MAX);
    if (str_is_ascii(text) || (t && (t->mail.given & SMTP_PARAM_SMTPUTF8) && str_is_utf8(text))) {
        buf_add(s->out, text);
        return;
    }
    for (size_t i = 0; i < text.n; i++)
        buf_add_c(s->out, (unsigned char)text.p[i] < 0x80 ? text.p[i] : '?');
}

void smtp_say_text(struct smtp_session *s, enum smtp_say what, struct str text)
{
    const struct reply *r = reply_of(what);
    if (what == SMTP_SAY_NONE)
        return;
    add_codes(s, r, ' ');
    add_text(s, text);
    buf_add(s->out, STR("\r\n"));
    if (r->code[0] == '5')
        s->errors++;
}

void smtp_say(struct smtp_session *s, enum smtp_say what) { smtp_say_text(s, what, str_of(reply_of(what)->text)); }

void smtp_sayf(struct smtp_session *s, enum smtp_say what, const char *fmt, ...)
{
    char text[TEXT_MAX + 1];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++) /* what the client sent comes back printable, and in one line */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    smtp_say_text(s, what, n > 0 ? str_of(text) : STR_NONE);
}

enum smtp_say smtp_say_of(const struct err *e)
{
    switch (e->class) {
    case ST_NOTFOUND:
        return SMTP_SAY_NO_SUCH_MAILBOX;
    case ST_PERM:
    case ST_EXISTS:
        return SMTP_SAY_REFUSED;
    case ST_DENIED:
        return SMTP_SAY_REFUSED_POLICY;
    case ST_LIMIT:
        return SMTP_SAY_NO_STORAGE;
    case ST_OK: /* an error that is none must not become a promise */
    case ST_TEMP:
    case ST_CONFLICT:
    case ST_CORRUPT:
    case ST_BUG:
        return SMTP_SAY_TEMPORARY;
    }
    return SMTP_SAY_TEMPORARY;
}

static void say_public(struct smtp_session *s, enum smtp_say what, const struct err *e)
{
    smtp_say_text(s, what, e->text[0] ? str_of(e->text) : str_of(reply_of(what)->text));
}

void smtp_say_err(struct smtp_session *s, const struct err *e) { say_public(s, smtp_say_of(e), e); }

void smtp_say_mailbox_err(struct smtp_session *s, const struct err *e)
{
    enum smtp_say what = smtp_say_of(e);
    if (e->class == ST_LIMIT)
        what = s->settings->smtp_full_is_final ? SMTP_SAY_MAILBOX_FULL_FOR_GOOD : SMTP_SAY_MAILBOX_FULL;
    else if (e->class == ST_DENIED)
        what = SMTP_SAY_MAILBOX_CLOSED;
    say_public(s, what, e);
}
