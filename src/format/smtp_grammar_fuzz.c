/* SMTP lines in both directions. */
#include <stdint.h>

#include "base/check.h"
#include "format/smtp_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void command(struct arena *arena, struct str line)
{
    struct str verb, arg, mechanism, response;
    struct smtp_mail mail;
    struct smtp_rcpt rcpt;
    struct smtp_helo helo;
    uint64_t bytes;
    bool last;
    smtp_command_split(line, &verb, &arg);
    enum st st = smtp_mail_parse(arena, arg, ~0u, &mail, NULL);
    check((st == ST_OK) == (mail.fault == SMTP_FAULT_NONE));
    check(st != ST_OK || mail.given & SMTP_PARAM_SMTPUTF8 || !address_needs_utf8(&mail.from));
    st = smtp_rcpt_parse(arena, arg, ~0u, false, &rcpt, NULL);
    check((st == ST_OK) == (rcpt.fault == SMTP_FAULT_NONE));
    check(st != ST_OK || (!address_needs_utf8(&rcpt.to) && !address_is_null(&rcpt.to)));
    if (smtp_rcpt_parse(arena, arg, ~0u, true, &rcpt, NULL) == ST_OK)
        check(str_is_utf8(rcpt.to.local));
    if (smtp_helo_parse(arg, &helo, NULL) == ST_OK)
        check(helo.name.n > 0 && helo.name.n <= ADDRESS_DOMAIN_MAX);
    if (smtp_bdat_parse(arg, &bytes, &last, NULL) == ST_OK)
        check(arg.n > 0);
    if (smtp_auth_parse(arg, &mechanism, &response, NULL) == ST_OK)
        check(mechanism.n > 0 && mechanism.n <= 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT(1 << 20);
    struct str rest = str_make(data, size), line;
    struct smtp_reply reply;
    struct smtp_ehlo ehlo;
    smtp_reply_init(&reply);
    smtp_ehlo_parse(rest, &ehlo);
    smtp_ehlo_has_auth(&ehlo, STR("PLAIN"));
    for (int lines = 0; lines < 1000 && str_split(&rest, '\n', &line); lines++) {
        command(&arena, line);
        if (smtp_reply_line(&reply, line) != SMTP_REPLY_MORE)
            smtp_reply_clear(&reply);
        check(buf_ok(&reply.text));
    }
    smtp_reply_release(&reply);
    arena_release(&arena);
    return 0;
}
