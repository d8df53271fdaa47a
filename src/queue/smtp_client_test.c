/* The SMTP client against a server in memory that keeps the rules, breaks off anywhere, or breaks them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rd.h"
#include "format/dot.h"
#include "queue/smtp_client.h"

#define MESSAGE "Subject: hello\r\n\r\n.dot\r\nbody\r\n"

/* What the server answers. NULL is the ordinary answer. The reply to RCPT goes by the local-part: "r550" gives 550. */
struct manner {
    const char *greeting, *ehlo, *helo, *mail, *data, *end, *rset, *starttls;
    unsigned rcpt_max; /* 452 after so many */
    bool lmtp;
};

struct server {
    struct manner manner;
    struct buf in;                  /* from the client, not worked on yet */
    struct buf transcript;          /* all commands */
    struct buf out;                 /* to the client */
    size_t out_at, out_max, in_max; /* breaks off when so much was sent or received; SIZE_MAX: never */
    size_t in_total;
    struct buf message, taken; /* the last message taken */
    struct dot_decoder dots;
    bool mail, data, tls;
    size_t chunk;
    bool in_chunk, last;
    unsigned rcpts, took; /* messages */
    char codes[64][8];    /* for LMTP: of each accepted recipient */
};

static const char default_ehlo[] = "250-mx\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n";

static void say(struct server *s, const char *own, const char *usual) { buf_add_z(&s->out, own ? own : usual); }

static void server_end(struct server *s)
{
    s->data = false;
    s->took++;
    buf_clear(&s->taken);
    buf_add(&s->taken, buf_str(&s->message));
    buf_clear(&s->message);
    for (unsigned i = 0; i < s->rcpts && s->manner.lmtp; i++)
        buf_printf(&s->out, "%s 2.0.0 each\r\n", s->codes[i]);
    if (!s->manner.lmtp)
        say(s, s->manner.end, "250 2.0.0 taken\r\n");
    s->rcpts = 0;
}

static void server_rcpt(struct server *s, struct str line)
{
    struct str local = str_from(line, 9);
    const char *code = "250";
    if (!s->mail) {
        buf_add_z(&s->out, "503 5.5.1 no sender\r\n");
        return;
    }
    if (s->manner.rcpt_max && s->rcpts >= s->manner.rcpt_max) {
        buf_add_z(&s->out, "452 4.5.3 too many\r\n");
        return;
    }
    if (local.n > 4 && local.p[0] == 'r' && ascii_digit(local.p[1])) {
        buf_printf(&s->out, "%.3s refused\r\n", local.p + 1);
        return;
    }
    if (local.n > 4 && local.p[0] == 'e')
        snprintf(s->codes[s->rcpts], sizeof s->codes[0], "%.3s", local.p + 1);
    else
        snprintf(s->codes[s->rcpts], sizeof s->codes[0], "%s", code);
    s->rcpts++;
    buf_add_z(&s->out, "250 2.1.5 ok\r\n");
}

static void server_command(struct server *s, struct str line)
{
    buf_add(&s->transcript, line);
    buf_add_c(&s->transcript, '\n');
    if (str_starts(line, STR("EHLO")) || str_starts(line, STR("LHLO"))) {
        say(s, s->manner.ehlo, default_ehlo);
    } else if (str_starts(line, STR("HELO"))) {
        say(s, s->manner.helo, "250 mx\r\n");
    } else if (str_starts(line, STR("MAIL"))) {
        s->rcpts = 0;
        s->mail = !s->manner.mail || s->manner.mail[0] == '2';
        say(s, s->manner.mail, "250 2.1.0 ok\r\n");
    } else if (str_starts(line, STR("RCPT TO:<"))) {
        server_rcpt(s, line);
    } else if (str_starts(line, STR("DATA"))) {
        s->data = s->rcpts > 0 && !(s->manner.data && s->manner.data[0] != '3');
        dot_decoder_init(&s->dots, 1000);
        say(s, s->manner.data, s->rcpts > 0 ? "354 go\r\n" : "503 5.5.1 no recipients\r\n");
    } else if (str_starts(line, STR("BDAT "))) {
        struct rd in = rd_of(str_from(line, 5));
        s->chunk = (size_t)rd_decimal(&in);
        s->last = rd_accept_str(&in, STR(" LAST"));
        s->in_chunk = true;
    } else if (str_starts(line, STR("RSET"))) {
        s->rcpts = 0;
        say(s, s->manner.rset, "250 2.0.0 ok\r\n");
    } else if (str_starts(line, STR("STARTTLS"))) {
        say(s, s->manner.starttls, "220 go\r\n");
    } else if (str_starts(line, STR("QUIT"))) {
        say(s, NULL, "221 bye\r\n");
    } else {
        say(s, NULL, "500 what\r\n");
    }
}

static void server_chunk(struct server *s, struct str *in)
{
    struct str piece = str_upto(*in, s->chunk);
    buf_add(&s->message, piece);
    s->chunk -= piece.n;
    *in = str_from(*in, piece.n);
    if (s->chunk > 0)
        return;
    s->in_chunk = false;
    if (s->rcpts == 0) {
        buf_clear(&s->message);
        buf_add_z(&s->out, "503 5.5.1 no recipients\r\n");
    } else if (s->last) {
        server_end(s);
    } else {
        buf_add_z(&s->out, "250 2.0.0 more\r\n");
    }
}

static void server_work(struct server *s)
{
    struct str in = buf_str(&s->in);
    for (;;) {
        if (s->in_chunk && (in.n > 0 || s->chunk == 0)) {
            server_chunk(s, &in);
            continue;
        }
        if (in.n == 0)
            break;
        if (s->data) {
            in = str_from(in, dot_decode(&s->dots, in, &s->message));
            if (s->dots.done)
                server_end(s);
            continue;
        }
        size_t at = str_find(in, STR("\r\n"));
        if (at == STR_NPOS)
            break;
        struct str line = str_upto(in, at);
        in = str_from(in, at + 2);
        server_command(s, line);
    }
    buf_drop_front(&s->in, s->in.n - in.n);
}

static enum st wire_write(void *context, struct str bytes, unsigned timeout_ms, struct err *e)
{
    struct server *s = context;
    (void)timeout_ms;
    size_t room = s->in_max - s->in_total;
    buf_add(&s->in, str_upto(bytes, room));
    s->in_total += bytes.n < room ? bytes.n : room;
    ENSURE(bytes.n <= room, e, ST_TEMP, "connection reset");
    return ST_OK;
}

static enum st wire_read_line(void *context, size_t max, unsigned timeout_ms, struct str *line, struct err *e)
{
    struct server *s = context;
    (void)timeout_ms;
    server_work(s);
    struct str rest = str_from(str_upto(buf_str(&s->out), s->out_max), s->out_at);
    size_t at = str_find_char(rest, '\n');
    ENSURE(at != STR_NPOS, e, ST_TEMP, "connection closed");
    ENSURE(at <= max, e, ST_LIMIT, "line too long");
    *line = str_upto(rest, at);
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    s->out_at += at + 1;
    return ST_OK;
}

static enum st wire_start_tls(void *context, struct err *e)
{
    struct server *s = context;
    ENSURE(!s->manner.starttls || s->manner.starttls[0] == '2', e, ST_TEMP, "handshake failed");
    s->tls = true;
    s->out_at = s->out.n;
    return ST_OK;
}

/* ---- */

struct talk {
    struct server server;
    struct smtp_client client;
    struct arena arena;
    struct smtp_send send;
    struct smtp_send_recipient recipients[16];
    struct str message;
    enum st read_result;
};

static enum st read_message(void *context, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    struct talk *t = context;
    if (t->read_result != ST_OK)
        return ERR_PUBLIC(e, t->read_result, "broken");
    buf_add(out, str_sub(t->message, offset, length));
    return ST_OK;
}

static void talk_init(struct talk *t, const struct manner *manner, const char *to)
{
    static const struct smtp_client_times times = {1000, 1000, 1000, 1000, 1000, 1000};
    *t = (struct talk){.message = STR(MESSAGE)};
    t->server = (struct server){.manner = *manner, .out_max = SIZE_MAX, .in_max = SIZE_MAX};
    buf_init(&t->server.in, 1 << 22);
    buf_init(&t->server.out, 1 << 22);
    buf_init(&t->server.transcript, 1 << 20);
    buf_init(&t->server.message, 1 << 22);
    buf_init(&t->server.taken, 1 << 22);
    arena_init(&t->arena, 1 << 20);
    say(&t->server, manner->greeting, "220 mx\r\n");
    struct smtp_wire wire = {&t->server, wire_write, wire_read_line, wire_start_tls};
    smtp_client_init(&t->client, &wire, &times, STR("me.test"));
    t->client.lmtp = manner->lmtp;
    t->client.chunking = true;
    t->send = (struct smtp_send){.arena = &t->arena,
                                 .reverse_path = STR("elinor@abcd.com"),
                                 .size = t->message.n,
                                 .read = read_message,
                                 .context = t,
                                 .recipients = t->recipients};
    struct str rest = str_of(to), one;
    while (str_split(&rest, ' ', &one))
        t->recipients[t->send.count++].address = one;
}

static void talk_release(struct talk *t)
{
    smtp_client_release(&t->client);
    arena_release(&t->arena);
    buf_release(&t->server.in);
    buf_release(&t->server.out);
    buf_release(&t->server.transcript);
    buf_release(&t->server.message);
    buf_release(&t->server.taken);
}

static void fates(const struct talk *t, char out[17])
{
    size_t n = 0;
    for (; n < t->send.count; n++)
        out[n] = "?+45"[t->recipients[n].fate];
    out[n] = '\0';
}

#define EHLO_BARE "250 mx\r\n"
#define EHLO_BDAT "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"

/* fates: '+' sent, '4', '5', '?' open; after one transaction. */
static const struct {
    const char *label;
    struct manner manner;
    const char *to, *fates;
    bool broken;
    unsigned took;
    const char *transcript; /* NULL: not looked at */
} replies[] = {
    {"pipelined", {0}, "a@x", "+", false, 1, "EHLO me.test\nMAIL FROM:<elinor@abcd.com> SIZE=30\nRCPT TO:<a@x>\nDATA\n"},
    {"plain",
     {.ehlo = EHLO_BARE},
     "a@x b@x",
     "++",
     false,
     1,
     "EHLO me.test\nMAIL FROM:<elinor@abcd.com>\nRCPT TO:<a@x>\nRCPT TO:<b@x>\nDATA\n"},
    {"bdat", {.ehlo = EHLO_BDAT}, "a@x", "+", false, 1, "EHLO me.test\nMAIL FROM:<elinor@abcd.com>\nRCPT TO:<a@x>\nBDAT 30 LAST\n"},
    {"helo",
     {.ehlo = "502 no\r\n"},
     "a@x",
     "+",
     false,
     1,
     "EHLO me.test\nHELO me.test\nMAIL FROM:<elinor@abcd.com>\nRCPT TO:<a@x>\nDATA\n"},
    {"rcpt 5xx", {0}, "a@x r550@x b@x", "+5+", false, 1, NULL},
    {"rcpt 4xx", {0}, "r450@x b@x", "4+", false, 1, NULL},
    {"rcpt 552 is 452", {0}, "r552@x", "4", false, 0, NULL},
    {"rcpt 3xx is nonsense", {0}, "r354@x", "4", false, 0, NULL},
    {"no recipients, pipelined", {0}, "r550@x r450@x", "54", false, 0, NULL},
    {"no recipients, plain",
     {.ehlo = EHLO_BARE},
     "r550@x r550@x",
     "55",
     false,
     0,
     "EHLO me.test\nMAIL FROM:<elinor@abcd.com>\nRCPT TO:<r550@x>\nRCPT TO:<r550@x>\n"},
    {"no recipients, bdat", {.ehlo = EHLO_BDAT}, "r550@x", "5", false, 0, NULL},
    {"rcpt 421", {0}, "a@x r421@x b@x", "???", true, 0, NULL},
    {"mail 4xx", {.mail = "451 4.3.0 later\r\n"}, "a@x b@x", "44", false, 0, NULL},
    {"mail 5xx", {.mail = "550 5.7.1 never\r\n"}, "a@x b@x", "55", false, 0, NULL},
    {"mail 5xx, plain",
     {.ehlo = EHLO_BARE, .mail = "550 5.7.1 never\r\n"},
     "a@x",
     "5",
     false,
     0,
     "EHLO me.test\nMAIL FROM:<elinor@abcd.com>\n"},
    {"mail 421", {.mail = "421 4.3.2 closing\r\n"}, "a@x", "?", true, 0, NULL},
    {"data 4xx", {.data = "451 4.3.0 later\r\n"}, "a@x r550@x", "45", false, 0, NULL},
    {"data 5xx", {.data = "554 5.7.1 never\r\n"}, "a@x", "5", false, 0, NULL},
    {"data 250", {.data = "250 what\r\n"}, "a@x", "?", true, 0, NULL},
    {"end 4xx", {.end = "452 4.3.1 full\r\n"}, "a@x b@x", "44", false, 1, NULL},
    {"end 5xx", {.end = "554 5.6.0 spam\r\n"}, "a@x r450@x", "54", false, 1, NULL},
    {"end 354", {.end = "354 what\r\n"}, "a@x", "4", false, 1, NULL},
    {"end 421", {.end = "421 4.3.2 closing\r\n"}, "a@x", "4", true, 1, NULL},
    {"end no reply", {.end = "hello\r\n"}, "a@x", "4", true, 1, NULL},
    {"too many recipients", {.rcpt_max = 2}, "a@x b@x c@x d@x", "++??", false, 1, NULL},
    {"lmtp", {.lmtp = true}, "a@x e450@x e550@x r550@x b@x", "+455+", false, 1, NULL},
    {"lmtp 4xx for data", {.lmtp = true, .data = "451 no\r\n"}, "a@x b@x", "44", false, 0, NULL},
    {"multi-line", {.mail = "250-one\r\n250-two\r\n250 three\r\n"}, "a@x", "+", false, 1, NULL},
    {"codes differ", {.mail = "250-one\r\n251 two\r\n"}, "a@x", "?", true, 0, NULL},
    {"NUL in a reply", {.mail = "25"}, "a@x", "?", true, 0, NULL},
};

static void test_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        struct talk t;
        char got[17];
        talk_init(&t, &replies[i].manner, replies[i].to);
        if (smtp_client_greet(&t.client) != SMTP_HELLO_OK)
            fail_msg("%s: greet: %s", replies[i].label, t.client.why);
        smtp_client_send(&t.client, &t.send);
        fates(&t, got);
        if (strcmp(got, replies[i].fates) != 0 || t.client.broken != replies[i].broken || t.server.took != replies[i].took)
            fail_msg("%s: got %s broken %d took %u, want %s broken %d took %u (%s)", replies[i].label, got, t.client.broken,
                     t.server.took, replies[i].fates, replies[i].broken, replies[i].took, t.client.why);
        if (replies[i].transcript && !str_eq(buf_str(&t.server.transcript), str_of(replies[i].transcript)))
            fail_msg("%s: %.*s", replies[i].label, STR_FMT(buf_str(&t.server.transcript)));
        if (t.server.took && !str_eq(buf_str(&t.server.taken), STR(MESSAGE)))
            fail_msg("%s: other bytes arrived", replies[i].label);
        talk_release(&t);
    }
}

/* What is open after one transaction is met by the next ones on the same connection. */
static void test_next_transaction(void **state)
{
    static const struct manner manners[] = {
        {.rcpt_max = 2}, {.rcpt_max = 2, .ehlo = EHLO_BARE}, {.rcpt_max = 1, .ehlo = EHLO_BDAT}};
    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
        struct talk t;
        char got[17];
        talk_init(&t, &manners[i], "a@x b@x r550@x c@x d@x e@x");
        assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
        for (unsigned n = 0; n < 8; n++)
            smtp_client_send(&t.client, &t.send);
        fates(&t, got);
        assert_string_equal(got, "++5+++");
        assert_false(t.client.broken);
        smtp_client_quit(&t.client);
        talk_release(&t);
    }
}

/* A refused transaction is ended by RSET before the next one. */
static void test_rset(void **state)
{
    struct talk t;
    (void)state;
    talk_init(&t, &(struct manner){.data = "451 later\r\n"}, "a@x");
    assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
    smtp_client_send(&t.client, &t.send);
    assert_int_equal(t.recipients[0].fate, SMTP_FATE_TEMP);
    t.recipients[0].fate = SMTP_FATE_OPEN;
    t.server.manner.data = NULL;
    smtp_client_send(&t.client, &t.send);
    assert_int_equal(t.recipients[0].fate, SMTP_FATE_SENT);
    assert_int_not_equal(str_find(buf_str(&t.server.transcript), STR("DATA\nRSET\nMAIL")), STR_NPOS);
    talk_release(&t);
}

/* The connection ends after each byte of either direction: what the server took is never open (another host would get it too), and
 * what it did not take is never reported as sent. */
static void test_break_everywhere(void **state)
{
    static const struct manner manners[] = {{0}, {.ehlo = EHLO_BARE}, {.ehlo = EHLO_BDAT}, {.lmtp = true}, {.ehlo = "500 no\r\n"}};
    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++)
        for (unsigned direction = 0; direction < 2; direction++)
            for (size_t at = 0; at < 2000; at++) {
                struct talk t;
                talk_init(&t, &manners[i], "a@x r550@x b@x");
                if (direction == 0)
                    t.server.out_max = at;
                else
                    t.server.in_max = at;
                if (smtp_client_greet(&t.client) == SMTP_HELLO_OK)
                    smtp_client_send(&t.client, &t.send);
                bool whole = !t.client.broken;
                for (size_t n = 0; n < t.send.count; n++) {
                    enum smtp_fate fate = t.recipients[n].fate;
                    if (n == 1 && fate != SMTP_FATE_OPEN && fate != SMTP_FATE_PERM && fate != SMTP_FATE_TEMP)
                        fail_msg("refused recipient has fate %d", (int)fate);
                    if (n != 1 && ((t.server.took && fate == SMTP_FATE_OPEN) || (!t.server.took && fate == SMTP_FATE_SENT)))
                        fail_msg("manner %zu direction %u at %zu: took %u, fate %d", i, direction, at, t.server.took, (int)fate);
                }
                talk_release(&t);
                if (whole)
                    break;
            }
}

static void test_hello(void **state)
{
    static const struct {
        const char *label;
        struct manner manner;
        enum smtp_hello want;
        bool broken;
    } cases[] = {
        {"fine", {0}, SMTP_HELLO_OK, false},
        {"greeting 554", {.greeting = "554 5.3.2 no\r\n"}, SMTP_HELLO_PERM, false},
        {"greeting 521", {.greeting = "521 no mail\r\n"}, SMTP_HELLO_PERM, false},
        {"greeting 421", {.greeting = "421 busy\r\n"}, SMTP_HELLO_TEMP, true},
        {"greeting 450", {.greeting = "450 busy\r\n"}, SMTP_HELLO_TEMP, false},
        {"greeting is HTTP", {.greeting = "HTTP/1.1 400 Bad Request\r\n"}, SMTP_HELLO_TEMP, true},
        {"greeting empty", {.greeting = "\r\n"}, SMTP_HELLO_TEMP, true},
        {"greeting short", {.greeting = "220\r\n"}, SMTP_HELLO_OK, false},
        {"EHLO 4xx", {.ehlo = "451 no\r\n"}, SMTP_HELLO_TEMP, false},
        {"EHLO and HELO 5xx", {.ehlo = "550 no\r\n", .helo = "550 no\r\n"}, SMTP_HELLO_PERM, false},
        {"LHLO 5xx", {.ehlo = "550 no\r\n", .lmtp = true}, SMTP_HELLO_PERM, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct talk t;
        talk_init(&t, &cases[i].manner, "a@x");
        enum smtp_hello got = smtp_client_greet(&t.client);
        if (got != cases[i].want || t.client.broken != cases[i].broken)
            fail_msg("%s: got %d broken %d (%s)", cases[i].label, (int)got, t.client.broken, t.client.why);
        talk_release(&t);
    }
}

static void test_starttls(void **state)
{
    struct talk t;
    (void)state;
    talk_init(&t, &(struct manner){.ehlo = "250-mx\r\n250 STARTTLS\r\n"}, "a@x");
    assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
    assert_int_equal(smtp_client_starttls(&t.client), SMTP_HELLO_OK);
    assert_true(t.server.tls);
    talk_release(&t);
    talk_init(&t, &(struct manner){.ehlo = "250-mx\r\n250 STARTTLS\r\n", .starttls = "454 not now\r\n"}, "a@x");
    assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
    assert_int_equal(smtp_client_starttls(&t.client), SMTP_HELLO_PERM);
    assert_false(t.client.broken); /* the plain connection is still good */
    smtp_client_send(&t.client, &t.send);
    assert_int_equal(t.recipients[0].fate, SMTP_FATE_SENT);
    talk_release(&t);
}

static void hostile(const char *label, struct str junk, const char *where)
{
    struct talk t;
    struct manner manner = {0};
    char *z = calloc(junk.n + 1, 1);
    assert_non_null(z);
    memcpy(z, junk.p, junk.n);
    *(where[0] == 'g' ? &manner.greeting : where[0] == 'e' ? &manner.ehlo : where[0] == 'm' ? &manner.mail : &manner.end) = z;
    talk_init(&t, &manner, "a@x");
    if (smtp_client_greet(&t.client) == SMTP_HELLO_OK)
        smtp_client_send(&t.client, &t.send);
    if (t.recipients[0].fate == SMTP_FATE_SENT || t.recipients[0].fate == SMTP_FATE_PERM)
        fail_msg("%s at %s: fate %d", label, where, (int)t.recipients[0].fate);
    if (!t.client.broken)
        fail_msg("%s at %s: not broken", label, where);
    for (size_t i = 0; t.client.why[i]; i++)
        assert_true((unsigned char)t.client.why[i] >= ' ');
    talk_release(&t);
    free(z);
}

static void test_hostile(void **state)
{
    static const char *const places[] = {"greeting", "ehlo", "mail", "xend"};
    DEFER(buf_release) struct buf endless = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf huge = BUF_INIT(1 << 20);
    (void)state;
    for (unsigned i = 0; i < 20000; i++)
        buf_add_z(&endless, "250-more and more\r\n");
    buf_add_z(&huge, "250 ");
    for (unsigned i = 0; i < 100000; i++)
        buf_add_c(&huge, 'x');
    buf_add_z(&huge, "\r\n");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        hostile("endless", buf_str(&endless), places[i]);
        hostile("huge line", buf_str(&huge), places[i]);
        hostile("binary", STR("\x80\x81\x82\x83\r\n"), places[i]);
        hostile("digits", STR("99999999999999999999\r\n"), places[i]);
        hostile("code 000", STR("000 null\r\n"), places[i]);
        hostile("code 600", STR("600 over\r\n"), places[i]);
        hostile("no space", STR("250ok\r\n"), places[i]);
    }
}

/* What the next host cannot take goes back at once, and nothing is said to it. */
static void test_abilities(void **state)
{
    static const struct {
        const char *label, *ehlo, *to, *message;
        enum smtp_body body;
        bool utf8;
        const char *fates, *status;
    } cases[] = {
        {"too large", "250-mx\r\n250 SIZE 10\r\n", "a@x", MESSAGE, SMTP_BODY_7BIT, false, "5", "5.3.4"},
        {"size 0 is no limit", "250-mx\r\n250 SIZE 0\r\n", "a@x", MESSAGE, SMTP_BODY_7BIT, false, "+", ""},
        {"8 bit", EHLO_BARE, "a@x", "A: b\r\n\r\n\xc3\xa9\r\n", SMTP_BODY_8BITMIME, false, "5", "5.6.3"},
        {"8 bit in name only", EHLO_BARE, "a@x", MESSAGE, SMTP_BODY_8BITMIME, false, "+", ""},
        {"binary", "250-mx\r\n250 CHUNKING\r\n", "a@x", MESSAGE, SMTP_BODY_BINARYMIME, false, "5", "5.6.3"},
        {"binary welcome", "250-mx\r\n250-BINARYMIME\r\n250 CHUNKING\r\n", "a@x", MESSAGE, SMTP_BODY_BINARYMIME, false, "+", ""},
        {"utf-8 recipient", EHLO_BARE, "a@x \xc3\xa9@x", MESSAGE, SMTP_BODY_7BIT, true, "+5", ""},
        {"utf-8 header", EHLO_BARE, "a@x", "A: \xc3\xa9\r\n\r\nb\r\n", SMTP_BODY_7BIT, true, "5", "5.6.7"},
        {"utf-8 in name only", EHLO_BARE, "a@x", MESSAGE, SMTP_BODY_7BIT, true, "+", ""},
        {"utf-8 welcome", "250-mx\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n", "\xc3\xa9@x", MESSAGE, SMTP_BODY_8BITMIME, true, "+", ""},
        {"line break in an address", EHLO_BARE, "a\r\nDATA@x b@x", MESSAGE, SMTP_BODY_7BIT, false, "5+", "5.1.3"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct talk t;
        char got[17];
        talk_init(&t, &(struct manner){.ehlo = cases[i].ehlo}, cases[i].to);
        t.message = str_of(cases[i].message);
        t.send.size = t.message.n;
        t.send.body = cases[i].body;
        t.send.smtputf8 = cases[i].utf8;
        assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
        smtp_client_send(&t.client, &t.send);
        fates(&t, got);
        if (strcmp(got, cases[i].fates) != 0 ||
            (cases[i].status[0] && !str_starts(t.recipients[0].status, str_of(cases[i].status))))
            fail_msg("%s: got %s %.*s", cases[i].label, got, STR_FMT(t.recipients[0].status));
        if (t.server.took && !str_eq(buf_str(&t.server.taken), t.message))
            fail_msg("%s: other bytes arrived", cases[i].label);
        talk_release(&t);
    }
}

static void test_dsn(void **state)
{
    struct talk t;
    (void)state;
    talk_init(&t, &(struct manner){0}, "a@x b@x c@x");
    t.send.ret = SMTP_RET_HDRS;
    t.send.envid = STR("QQ314159");
    t.recipients[0].notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY;
    t.recipients[0].orcpt = STR("rfc822;a@x");
    t.recipients[1].notify = SMTP_NOTIFY_NEVER;
    assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
    smtp_client_send(&t.client, &t.send);
    const char *want = "EHLO me.test\nMAIL FROM:<elinor@abcd.com> SIZE=30 RET=HDRS ENVID=QQ314159\n"
                       "RCPT TO:<a@x> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@x\nRCPT TO:<b@x> NOTIFY=NEVER\nRCPT TO:<c@x>\nDATA\n";
    assert_true(str_eq(buf_str(&t.server.transcript), str_of(want)));
    talk_release(&t);
}

/* RFC 6533 3: an address of type utf-8 fits through a host that offers DSN without SMTPUTF8, but not as UTF-8. */
static void test_orcpt_utf8(void **state)
{
    static const struct {
        const char *ehlo, *orcpt, *want;
    } cases[] = {
        {"250-mx\r\n250 DSN\r\n", "utf-8;\xc3\xa9lan@x", " ORCPT=utf-8;\\x{E9}lan@x\n"},
        {"250-mx\r\n250 DSN\r\n", "utf-8;\\x{E9}lan@x", " ORCPT=utf-8;\\x{E9}lan@x\n"},
        {"250-mx\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n", "utf-8;\xc3\xa9lan@x", " ORCPT=utf-8;\xc3\xa9lan@x\n"},
        {"250-mx\r\n250 DSN\r\n", "rfc822;\xc3\xa9lan@x", "<a@x>\n"}, /* nonsense is not passed on */
        {"250 mx\r\n", "utf-8;\xc3\xa9lan@x", "<a@x>\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct talk t;
        talk_init(&t, &(struct manner){.ehlo = cases[i].ehlo}, "a@x");
        t.send.smtputf8 = true;
        t.recipients[0].orcpt = str_of(cases[i].orcpt);
        assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
        smtp_client_send(&t.client, &t.send);
        if (str_find(buf_str(&t.server.transcript), str_of(cases[i].want)) == STR_NPOS)
            fail_msg("case %zu: %.*s", i, STR_FMT(buf_str(&t.server.transcript)));
        talk_release(&t);
    }
}

/* RFC 6152 2: what has bytes above 127 is declared where that is possible, whether the client that brought it did so or not. */
static void test_body_declared(void **state)
{
    static const struct {
        const char *ehlo, *message;
        enum smtp_body body;
        const char *want;
    } cases[] = {
        {"250-mx\r\n250 8BITMIME\r\n", "A: b\r\n\r\n\xe9\r\n", SMTP_BODY_7BIT, "> BODY=8BITMIME\n"},
        {"250-mx\r\n250 8BITMIME\r\n", "A: b\r\n\r\n\xe9\r\n", SMTP_BODY_8BITMIME, "> BODY=8BITMIME\n"},
        {"250-mx\r\n250 8BITMIME\r\n", "A: b\r\n\r\nc\r\n", SMTP_BODY_7BIT, "<elinor@abcd.com>\n"},
        {EHLO_BARE, "A: b\r\n\r\n\xe9\r\n", SMTP_BODY_7BIT, "<elinor@abcd.com>\n"}, /* as it came */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct talk t;
        talk_init(&t, &(struct manner){.ehlo = cases[i].ehlo}, "a@x");
        t.message = str_of(cases[i].message);
        t.send.size = t.message.n;
        t.send.body = cases[i].body;
        assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
        smtp_client_send(&t.client, &t.send);
        assert_int_equal(t.recipients[0].fate, SMTP_FATE_SENT);
        if (str_find(buf_str(&t.server.transcript), str_of(cases[i].want)) == STR_NPOS)
            fail_msg("case %zu: %.*s", i, STR_FMT(buf_str(&t.server.transcript)));
        talk_release(&t);
    }
}

/* Large messages, line ends that SMTP does not know, and no line end at the end. */
static void test_bytes(void **state)
{
    DEFER(buf_release) struct buf large = BUF_INIT(1 << 22);
    (void)state;
    for (unsigned i = 0; i < 40000; i++)
        buf_printf(&large, ".%u line\r\n", i);
    static const struct manner manners[] = {{0}, {.ehlo = EHLO_BDAT}, {.ehlo = "250-mx\r\n250-BINARYMIME\r\n250 CHUNKING\r\n"}};
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
        struct talk t;
        talk_init(&t, &manners[i], "a@x");
        t.message = buf_str(&large);
        t.send.size = t.message.n;
        t.send.body = i == 2 ? SMTP_BODY_BINARYMIME : SMTP_BODY_7BIT;
        assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
        smtp_client_send(&t.client, &t.send);
        assert_int_equal(t.recipients[0].fate, SMTP_FATE_SENT);
        assert_true(str_eq(buf_str(&t.server.taken), t.message));
        talk_release(&t);
    }
    struct talk t;
    talk_init(&t, &manners[1], "a@x");
    t.message = STR("A: b\n\nbare\nand \r too");
    t.send.size = t.message.n;
    assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
    smtp_client_send(&t.client, &t.send);
    assert_int_equal(t.recipients[0].fate, SMTP_FATE_SENT);
    assert_true(str_eq(buf_str(&t.server.taken), STR("A: b\r\n\r\nbare\r\nand \r\n too\r\n")));
    talk_release(&t);
}

/* By BDAT only what needs no encoding (RFC 3030 3, RFC 5321 2.3.8). */
static void test_bdat_lines(void **state)
{
    static const struct {
        const char *message, *taken;
        bool bdat;
    } cases[] = {
        {"A: b\r\n\r\n.c\r\n", "A: b\r\n\r\n.c\r\n", true},
        {"\r\n", "\r\n", true},
        {"A: b\r\n\r\nc", "A: b\r\n\r\nc\r\n", false},
        {"A: b\n\r\nc\r\n", "A: b\r\n\r\nc\r\n", false},
        {"\nA: b\r\n", "\r\nA: b\r\n", false},
        {"A: b\r\n\rc\r\n", "A: b\r\n\r\nc\r\n", false},
        {"A: b\r\n\r\nc\r\r\n", "A: b\r\n\r\nc\r\n", false},
        {"A: b\r\n\r\nc\r", "A: b\r\n\r\nc\r\n", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct talk t;
        talk_init(&t, &(struct manner){.ehlo = EHLO_BDAT}, "a@x");
        t.message = str_of(cases[i].message);
        t.send.size = t.message.n;
        assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
        smtp_client_send(&t.client, &t.send);
        bool bdat = str_find(buf_str(&t.server.transcript), STR("BDAT")) != STR_NPOS;
        if (bdat != cases[i].bdat || !str_eq(buf_str(&t.server.taken), str_of(cases[i].taken)))
            fail_msg("case %zu: BDAT %d, arrived: %.*s", i, bdat, STR_FMT(buf_str(&t.server.taken)));
        talk_release(&t);
    }
}

static void test_unreadable(void **state)
{
    struct talk t;
    (void)state;
    talk_init(&t, &(struct manner){0}, "a@x");
    assert_int_equal(smtp_client_greet(&t.client), SMTP_HELLO_OK);
    t.read_result = ST_CORRUPT;
    smtp_client_send(&t.client, &t.send);
    assert_int_equal(t.recipients[0].fate, SMTP_FATE_TEMP);
    assert_int_equal(t.send.read_failed, ST_CORRUPT);
    assert_int_equal(t.server.took, 0);
    assert_false(t.client.broken);
    talk_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),       cmocka_unit_test(test_next_transaction), cmocka_unit_test(test_rset),
        cmocka_unit_test(test_hello),         cmocka_unit_test(test_break_everywhere), cmocka_unit_test(test_starttls),
        cmocka_unit_test(test_hostile),       cmocka_unit_test(test_abilities),        cmocka_unit_test(test_dsn),
        cmocka_unit_test(test_bytes),         cmocka_unit_test(test_unreadable),       cmocka_unit_test(test_orcpt_utf8),
        cmocka_unit_test(test_body_declared), cmocka_unit_test(test_bdat_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
