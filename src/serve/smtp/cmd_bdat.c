/* BDAT (RFC 3030). The bytes of a chunk follow the command at once and must be taken whatever becomes of them. */
#include "serve/smtp/table.h"
#include "serve/smtp/transaction.h"

/* Where mail can only go to mailboxes of this store, which keeps every byte; relaying it would need a next hop that offers it too,
 * or a conversion that is not done here. So RCPT refuses other recipients, and submission does not offer it. */
bool smtp_cmd_bdat_binary_offered(const struct smtp_session *s) { return s->profile != SERVE_SUBMISSION; }

void smtp_cmd_bdat_keywords(struct smtp_session *s)
{
    smtp_keyword(s, "CHUNKING");
    if (smtp_cmd_bdat_binary_offered(s))
        smtp_keyword(s, "BINARYMIME");
}

static enum smtp_say verdict(struct smtp_session *s)
{
    struct smtp_transaction *t = s->transaction;
    if (!t)
        return s->state == SMTP_NEW ? SMTP_SAY_HELLO_FIRST : SMTP_SAY_BAD_SEQUENCE;
    if (t->answer_count == 0)
        return SMTP_SAY_NO_RECIPIENTS;
    return SMTP_SAY_NONE;
}

enum smtp_next smtp_cmd_bdat(struct smtp_session *s, struct str arg)
{
    struct err e = {0};
    struct smtp_chunk chunk = {.back = s->state};
    if (smtp_bdat_parse(arg, &chunk.left, &chunk.last, &e) != ST_OK) {
        /* how much data follows is not known, and to read it as commands would be to obey a message */
        smtp_sayf(s, SMTP_SAY_BAD_PARAMETER, "%s", e.text);
        smtp_sayf(s, SMTP_SAY_TOO_MANY_ERRORS, "What follows could be commands or data, closing"); /* RFC 5321 3.8 */
        return SMTP_NEXT_CLOSE;
    }
    chunk.verdict = (int)verdict(s);
    s->chunk = chunk;
    if (s->chunk.verdict == (int)SMTP_SAY_NONE && s->transaction->transfer == SMTP_TRANSFER_NONE)
        smtp_transaction_receive(s, SMTP_TRANSFER_BDAT);
    struct smtp_transaction *t = s->transaction;
    if (s->chunk.verdict == (int)SMTP_SAY_NONE && t->verdict == SMTP_SAY_NONE && s->chunk.left > smtp_size_max(s) - t->size)
        t->verdict = SMTP_SAY_TOO_BIG; /* told when the chunk has come (RFC 3030 2) */
    smtp_session_chunk(s);
    return s->state == SMTP_CLOSED ? SMTP_NEXT_CLOSE : SMTP_NEXT_COMMAND;
}
