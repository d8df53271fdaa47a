/* The end of a message: is it acceptable, what must be repaired, to whom is it given, what is answered. */
#include <stdio.h>

#include "format/header.h"
#include "format/repair.h"
#include "format/trace.h"
#include "rt/clock.h"
#include "serve/smtp/client.h"
#include "serve/smtp/policy.h"
#include "serve/smtp/report.h"
#include "serve/smtp/transaction.h"

enum { HEADER_MAX = 1 << 20 };

static bool has_bare_newline(const struct smtp_transaction *t)
{
    return t->transfer == SMTP_TRANSFER_DATA ? (t->dot.faults & (DOT_BARE_CR | DOT_BARE_LF)) != 0 : crlf_scan_bare(&t->scan);
}

static bool has_eight_bit(const struct smtp_transaction *t)
{
    return t->transfer == SMTP_TRANSFER_DATA ? t->dot.eight_bit : t->scan.eight_bit;
}

static bool has_long_line(const struct smtp_session *s, const struct smtp_transaction *t)
{
    if (t->transfer == SMTP_TRANSFER_DATA)
        return (t->dot.faults & DOT_LONG_LINE) != 0;
    return t->scan.longest > (size_t)s->settings->smtp_data_line_max;
}

static enum smtp_say judge(const struct smtp_session *s, const struct smtp_transaction *t, struct str message)
{
    if (has_bare_newline(t) && !s->settings->smtp_bare_newline_repair)
        return SMTP_SAY_BARE_NEWLINE; /* RFC 5321 2.3.8; what SMTP smuggling needs */
    if (has_long_line(s, t))
        return SMTP_SAY_DATA_LINE_TOO_LONG;
    if (trace_received_count(message, (size_t)s->settings->smtp_hops_max + 1) > (size_t)s->settings->smtp_hops_max)
        return SMTP_SAY_LOOP; /* RFC 5321 6.3 */
    return SMTP_SAY_NONE;
}

/* ---- repairs ---- */

/* Length of the run without CR and LF. */
static size_t plain_run(struct str s)
{
    const char *lf = s.n ? memchr(s.p, '\n', s.n) : NULL;
    size_t n = lf ? (size_t)(lf - s.p) : s.n;
    const char *cr = n ? memchr(s.p, '\r', n) : NULL;
    return cr ? (size_t)(cr - s.p) : n;
}

static enum st newlines_copy(struct spool *to, struct str rest, struct err *e)
{
    while (rest.n) {
        size_t n = plain_run(rest);
        if (n == rest.n)
            return spool_append(to, rest, e);
        TRY(spool_append(to, str_upto(rest, n), e));
        TRY(spool_append(to, STR("\r\n"), e));
        rest = str_from(rest, n + (str_starts(str_from(rest, n), STR("\r\n")) ? 2 : 1));
    }
    return ST_OK;
}

/* The setting smtp bare_newline_repair: each bare CR and LF becomes CRLF, as every next hop reads it. */
static enum st newlines_repair(struct smtp_session *s, struct smtp_transaction *t, struct str *message, struct err *e)
{
    struct spool fresh;
    spool_init(&fresh, s->services->spool_dir, smtp_size_max(s) * 2, (size_t)s->settings->message_spool_memory);
    enum st st = newlines_copy(&fresh, *message, e);
    if (st != ST_OK) {
        spool_release(&fresh);
        return st;
    }
    spool_release(&t->spool);
    t->spool = fresh;
    return spool_view(&t->spool, message, e);
}

static struct str display_name(struct smtp_session *s, struct smtp_transaction *t, struct str message)
{
    struct header_field from;
    struct directory_account account;
    if (!s->authenticated || header_find(message, STR("From"), &from))
        return STR_NONE;
    if (directory_account_find_id(s->services->directory, s->who.account, &t->arena, &account, NULL) != ST_OK)
        return STR_NONE;
    return account.name;
}

static struct date now(void)
{
    int64_t ms = clock_wall_ms();
    return (struct date){.epoch_s = ms / 1000, .zone_min = (int16_t)clock_zone_minutes(ms)};
}

/* Another header in front of the rest of the old message: in place if it fits into the room that the spool keeps. */
static enum st header_replace(struct smtp_session *s, struct smtp_transaction *t, struct str header, size_t body_offset,
                              struct err *e)
{
    struct str message;
    struct spool fresh;
    if (header.n < body_offset + SPOOL_FRONT_MAX / 2) {
        TRY(spool_skip(&t->spool, body_offset, e));
        return spool_prepend(&t->spool, header, e);
    }
    TRY(spool_view(&t->spool, &message, e));
    spool_init(&fresh, s->services->spool_dir, smtp_size_max(s) + HEADER_MAX, (size_t)s->settings->message_spool_memory);
    enum st st = spool_append(&fresh, header, e);
    if (st == ST_OK)
        st = spool_append(&fresh, str_from(message, body_offset), e);
    if (st != ST_OK) {
        spool_release(&fresh);
        return st;
    }
    spool_release(&t->spool);
    t->spool = fresh;
    return ST_OK;
}

/* RFC 6409 8: what weak clients leave out. */
static enum st header_repair(struct smtp_session *s, struct smtp_transaction *t, struct str message, struct err *e)
{
    DEFER(buf_release) struct buf header = BUF_INIT(HEADER_MAX);
    struct repair_result result = {0};
    struct str submitter = s->authenticated ? str_of(s->who.address) : t->reverse_path;
    size_t at = str_rfind_char(submitter, '@');
    struct repair_facts facts = {
        .submitter = submitter,
        .name = display_name(s, t, message),
        .domain = at == STR_NPOS ? smtp_hostname(s) : str_from(submitter, at + 1),
        .host = smtp_hostname(s),
        .unique = str_of(t->id),
        .now = now(),
        .check_sender = true,
    };
    TRY(repair_header(&t->arena, message, &facts, &header, &result, e));
    return result.changes ? header_replace(s, t, buf_str(&header), result.body_offset, e) : ST_OK;
}

/* What is done to the bytes of submitted mail before they are kept. */
static enum smtp_say submitted(struct smtp_session *s, struct smtp_transaction *t, struct str message, struct err *e)
{
    if (s->authenticated && s->settings->submission_check_from) {
        enum smtp_say refusal = smtp_policy_from(s, message, e);
        if (refusal != SMTP_SAY_NONE)
            return refusal;
    }
    enum st st = header_repair(s, t, message, e);
    if (st == ST_OK)
        return SMTP_SAY_NONE;
    return st == ST_LIMIT || st == ST_PERM ? SMTP_SAY_BAD_HEADER : SMTP_SAY_NO_STORAGE;
}

/* ---- trace ---- */

/* RFC 5321 4.4 */
static void trace_print(const struct smtp_session *s, const struct smtp_transaction *t, struct buf *out)
{
    const struct session_peer *peer = s->base.peer;
    char version[16] = "";
    if (peer->tls.active && str_starts(peer->tls.version, STR("TLSv"))) /* RFC 8314 4.3: as registered, "TLS1.3" */
        snprintf(version, sizeof version, "TLS%.*s", (int)(peer->tls.version.n - 4 > 8 ? 8 : peer->tls.version.n - 4),
                 peer->tls.version.p + 4);
    bool hide = s->authenticated && s->settings->submission_hide_client;
    struct trace_received r = {
        .helo = smtp_helo_name(s),
        .client_name = hide ? STR_NONE : smtp_client_name(s),
        .client_ip = hide ? STR_NONE : str_of(peer->address),
        .by = smtp_hostname(s),
        .with = {.lmtp = s->profile == SERVE_LMTP,
                 .ehlo = s->extended,
                 .tls = peer->tls.active,
                 .auth = s->authenticated,
                 .utf8 = (t->mail.given & SMTP_PARAM_SMTPUTF8) != 0},
        .tls_version = str_of(version),
        .tls_cipher = peer->tls.active ? peer->tls.cipher : STR_NONE,
        .id = str_of(t->id),
        .for_address = t->answer_count == 1 ? t->recipients[0].address : STR_NONE, /* never tell one Bcc of another */
        .when = now(),
    };
    trace_received_print(&r, out);
}

static enum st trace_put(struct smtp_session *s, struct smtp_transaction *t, struct err *e)
{
    DEFER(buf_release) struct buf trace = BUF_INIT(SPOOL_FRONT_MAX / 2);
    trace_print(s, t, &trace);
    if (!buf_ok(&trace))
        return ERR(e, ST_TEMP, "out of memory", "Received field");
    return spool_prepend(&t->spool, buf_str(&trace), e);
}

/* Judges and prepares the message: SMTP_SAY_NONE, and *bytes is what is to be kept. */
static enum smtp_say prepare(struct smtp_session *s, struct smtp_transaction *t, struct str *bytes, struct err *e)
{
    if (t->verdict != SMTP_SAY_NONE)
        return t->verdict;
    if (spool_view(&t->spool, bytes, e) != ST_OK)
        return SMTP_SAY_NO_STORAGE;
    enum smtp_say refusal = judge(s, t, *bytes);
    if (refusal == SMTP_SAY_NONE && has_bare_newline(t) && newlines_repair(s, t, bytes, e) != ST_OK)
        refusal = SMTP_SAY_NO_STORAGE;
    if (refusal == SMTP_SAY_NONE && s->profile == SERVE_SUBMISSION)
        refusal = submitted(s, t, *bytes, e);
    if (refusal != SMTP_SAY_NONE)
        return refusal;
    if (trace_put(s, t, e) != ST_OK || spool_view(&t->spool, bytes, e) != ST_OK)
        return SMTP_SAY_NO_STORAGE;
    return SMTP_SAY_NONE;
}

/* ---- handing over ---- */

static enum accept_ret ret_of(enum smtp_ret ret)
{
    switch (ret) {
    case SMTP_RET_NONE:
        return ACCEPT_RET_DEFAULT;
    case SMTP_RET_FULL:
        return ACCEPT_RET_FULL;
    case SMTP_RET_HDRS:
        return ACCEPT_RET_HDRS;
    }
    return ACCEPT_RET_DEFAULT;
}

/* The queue is told what the bytes are, not what the client called them. */
static enum accept_body body_of(const struct smtp_transaction *t)
{
    if (t->mail.body == SMTP_BODY_BINARYMIME)
        return ACCEPT_BODY_BINARYMIME;
    return has_eight_bit(t) ? ACCEPT_BODY_8BITMIME : ACCEPT_BODY_7BIT;
}

static enum st hand_over(struct smtp_session *s, struct smtp_transaction *t, struct str bytes, struct err *e)
{
    for (size_t i = 0; i < t->count; i++)
        t->recipients[i].status = ST_TEMP; /* until it is known better */
    struct accept_envelope envelope = {
        .reverse_path = t->reverse_path,
        .envid = t->mail.envid,
        .ret = ret_of(t->mail.ret),
        .body = body_of(t),
        .smtputf8 = (t->mail.given & SMTP_PARAM_SMTPUTF8) != 0,
        .require_all = s->profile != SERVE_LMTP,
        .submitter = s->authenticated ? s->who.account : 0,
        .id = str_of(t->id),
        .recipients = t->recipients,
        .count = t->count,
    };
    return accept_message(s->services->queue, &envelope, bytes, t->id, e);
}

/* ---- answers ---- */

static void answer_recipient(struct smtp_session *s, const struct smtp_transaction *t, const struct accept_recipient *r)
{
    if (t->verdict != SMTP_SAY_NONE)
        smtp_say(s, t->verdict);
    else if (r->status == ST_OK)
        smtp_sayf(s, SMTP_SAY_ACCEPTED, "<%.*s> %s", (int)(r->address.n > 300 ? 300 : r->address.n), r->address.p, t->id);
    else
        smtp_say_mailbox_err(s, &r->err);
}

bool smtp_transaction_answer(struct smtp_session *s)
{
    struct smtp_transaction *t = s->transaction;
    unsigned errors = s->errors; /* what the mailboxes say is not the client's mistake */
    while (t->answers_said < t->answer_count && buf_room(s->out) > SESSION_OUTPUT_LOW / 2)
        answer_recipient(s, t, &t->recipients[t->answers[t->answers_said++]]);
    s->errors = errors;
    if (t->answers_said < t->answer_count)
        return false;
    smtp_session_reset(s);
    return true;
}

static void answer_all(struct smtp_session *s, enum smtp_say verdict, const struct err *e)
{
    const struct smtp_transaction *t = s->transaction;
    if (verdict == SMTP_SAY_NONE)
        smtp_sayf(s, SMTP_SAY_ACCEPTED, "Accepted as %s", t->id);
    else if (e->class != ST_OK && e->text[0] && verdict == smtp_say_of(e))
        smtp_say_err(s, e);
    else
        smtp_say(s, verdict);
    smtp_session_reset(s);
}

void smtp_transaction_finish(struct smtp_session *s)
{
    struct smtp_transaction *t = s->transaction;
    struct err e = {0};
    struct str bytes = STR_NONE;
    enum smtp_say verdict = prepare(s, t, &bytes, &e);
    bool handed_over = verdict == SMTP_SAY_NONE;
    if (handed_over && hand_over(s, t, bytes, &e) != ST_OK)
        verdict = smtp_say_of(&e);
    t->result = verdict == SMTP_SAY_NONE ? SMTP_SAY_ACCEPTED : verdict;
    if (e.class != ST_OK)
        t->result_err = e;
    if (verdict == SMTP_SAY_NONE) { /* a client that brings mail may make mistakes on the way */
        s->idle_commands = 0;
        s->errors /= 2;
    }
    if (s->profile != SERVE_LMTP) {
        answer_all(s, verdict, &e);
        return;
    }
    t->verdict = handed_over ? SMTP_SAY_NONE : verdict; /* once handed over each recipient has its own */
    s->state = SMTP_ANSWERS;
}
