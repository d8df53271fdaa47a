#include "serve/smtp/transaction.h"

#include <stdlib.h>

#include "base/check.h"
#include "rt/clock.h"
#include "serve/smtp/report.h"

bool smtp_transaction_begin(struct smtp_session *s)
{
    if (!always(s->transaction == NULL))
        smtp_transaction_end(s);
    struct smtp_transaction *t = calloc(1, sizeof *t);
    if (!t)
        return false;
    arena_init(&t->arena, SMTP_ARENA_MAX);
    t->started_ms = clock_mono_ms();
    accept_id(s->services->queue, t->id);
    s->transaction = t;
    return true;
}

void smtp_transaction_end(struct smtp_session *s)
{
    struct smtp_transaction *t = s->transaction;
    if (!t)
        return;
    smtp_report_transaction(s, t);
    if (t->spooling)
        spool_release(&t->spool);
    arena_release(&t->arena);
    free(t);
    s->transaction = NULL;
}

/* ---- recipients ---- */

static bool grow(struct smtp_transaction *t)
{
    size_t capacity = t->capacity ? t->capacity * 4 : 4;
    struct accept_recipient *r = ARENA_ARRAY(&t->arena, capacity, struct accept_recipient);
    uint32_t *answers = ARENA_ARRAY(&t->arena, capacity, uint32_t);
    if (!r || !answers)
        return false;
    if (t->count)
        memcpy(r, t->recipients, t->count * sizeof *r);
    if (t->answer_count)
        memcpy(answers, t->answers, t->answer_count * sizeof *answers);
    t->recipients = r;
    t->answers = answers;
    t->capacity = capacity;
    return true;
}

/* Two RCPT for one address are one delivery (RFC 5321 4.1.1.3 leaves it open), but with LMTP two answers (RFC 2033 4.2). */
bool smtp_transaction_add(struct smtp_transaction *t, const struct accept_recipient *r)
{
    if (t->answer_count == t->capacity && !grow(t))
        return false;
    size_t i = 0;
    while (i < t->count && !str_eq(t->recipients[i].address, r->address))
        i++;
    if (i == t->count)
        t->recipients[t->count++] = *r;
    t->answers[t->answer_count++] = (uint32_t)i;
    return true;
}

/* ---- receiving ---- */

static void spool_failed(struct smtp_transaction *t, const struct err *e)
{
    t->verdict = e->class == ST_LIMIT ? SMTP_SAY_TOO_BIG : SMTP_SAY_NO_STORAGE;
    t->result_err = *e;
}

void smtp_transaction_receive(struct smtp_session *s, enum smtp_transfer how)
{
    struct smtp_transaction *t = s->transaction;
    t->transfer = how;
    spool_init(&t->spool, s->services->spool_dir, smtp_size_max(s), (size_t)s->settings->message_spool_memory);
    t->spooling = true;
}

void smtp_transaction_write(struct smtp_session *s, struct str piece)
{
    struct smtp_transaction *t = s->transaction;
    struct err e = {0};
    t->size += piece.n;
    if (t->transfer == SMTP_TRANSFER_BDAT && t->mail.body != SMTP_BODY_BINARYMIME)
        crlf_scan_add(&t->scan, piece);
    if (t->verdict != SMTP_SAY_NONE)
        return;
    if (t->size > smtp_size_max(s))
        t->verdict = SMTP_SAY_TOO_BIG; /* the rest is read and thrown away */
    else if (spool_append(&t->spool, piece, &e) != ST_OK)
        spool_failed(t, &e);
    else
        return;
    spool_release(&t->spool);
    t->spooling = false;
}
