/* DATA (RFC 5321 4.1.1.4). */
#include "serve/smtp/table.h"
#include "serve/smtp/transaction.h"

enum smtp_next smtp_cmd_data(struct smtp_session *s, struct str arg)
{
    (void)arg;
    struct smtp_transaction *t = s->transaction;
    if (t->mail.body == SMTP_BODY_BINARYMIME) {
        smtp_say(s, SMTP_SAY_BDAT_NEEDED); /* RFC 3030 3 */
        return SMTP_NEXT_COMMAND;
    }
    if (t->answer_count == 0) { /* RFC 2033 4.2 wants 503 */
        smtp_say(s, s->profile == SERVE_LMTP ? SMTP_SAY_BAD_SEQUENCE : SMTP_SAY_NO_RECIPIENTS);
        return SMTP_NEXT_COMMAND;
    }
    smtp_transaction_receive(s, SMTP_TRANSFER_DATA);
    dot_decoder_init(&t->dot, (size_t)s->settings->smtp_data_line_max);
    s->state = SMTP_DATA;
    smtp_say(s, SMTP_SAY_START_DATA);
    return SMTP_NEXT_COMMAND;
}
