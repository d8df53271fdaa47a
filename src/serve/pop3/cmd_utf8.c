/* UTF8 (RFC 6856 2) and LANG (RFC 6856 3). */
#include "serve/pop3/table.h"

void pop3_cmd_utf8_capability(struct pop3_session *s) { pop3_line(s, "UTF8 USER"); }

enum pop3_next pop3_cmd_utf8(struct pop3_session *s, struct str arg)
{
    (void)arg;
    s->utf8 = true;
    pop3_ok(s, "UTF-8 from here on");
    return POP3_NEXT_COMMAND;
}

void pop3_cmd_lang_capability(struct pop3_session *s) { pop3_line(s, "LANG"); }

/* English is what there is: "*" (whatever the server likes), "en", and ranges below it (RFC 4647 3.3.1 the other way round: a
 * client that asks for en-GB is better served by en than by an error). */
enum pop3_next pop3_cmd_lang(struct pop3_session *s, struct str arg)
{
    if (arg.n == 0) {
        pop3_ok(s, "languages follow");
        pop3_line(s, "en English");
        pop3_end(s);
    } else if (str_eq(arg, STR("*")) || str_eq_nocase(arg, STR("en")) || str_starts_nocase(arg, STR("en-")) ||
               str_eq_nocase(arg, STR("i-default"))) {
        pop3_ok(s, "en English it is");
    } else {
        pop3_err(s, POP3_CODE_NONE, "this language is not known here");
    }
    return POP3_NEXT_COMMAND;
}
