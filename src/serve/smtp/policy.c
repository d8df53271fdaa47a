#include "serve/smtp/policy.h"

#include <arpa/inet.h>

#include "format/header.h"
#include "rt/clock.h"
#include "serve/smtp/rates.h"
#include "store/store.h"

bool smtp_policy_login_missing(const struct smtp_session *s)
{
    return s->profile == SERVE_SUBMISSION && !s->authenticated &&
           !relay_clients_list(s->services->relay_clients, s->base.peer->address);
}

/* In doubt temporary: a directory that does not answer refuses nobody for good. */
static enum smtp_say temporary(const struct err *e) { return e->class == ST_LIMIT ? SMTP_SAY_NO_STORAGE : SMTP_SAY_TEMPORARY; }

/* The demo: who sits at this machine and names a local sender may send anywhere. */
static enum smtp_say sender_of_demo(struct smtp_session *s, struct smtp_transaction *t, struct err *e)
{
    struct directory_route route;
    if (!t->reverse_path.n)
        return SMTP_SAY_NONE;
    enum st st = directory_resolve(s->services->directory, t->reverse_path, &t->arena, &route, e);
    if (st != ST_OK)
        return st == ST_PERM ? SMTP_SAY_NONE : temporary(e);
    t->local_sender = route.kind == DIRECTORY_LOCAL;
    return SMTP_SAY_NONE;
}

static enum smtp_say sender_of_login(struct smtp_session *s, struct smtp_transaction *t, struct err *e)
{
    bool owns = false;
    if (!t->reverse_path.n)
        return SMTP_SAY_NONE; /* notifications have no sender (RFC 5321 4.5.5) */
    enum st st = directory_owns(s->services->directory, s->who.account, t->reverse_path, &owns, e);
    if (st != ST_OK && st != ST_PERM)
        return temporary(e);
    return owns ? SMTP_SAY_NONE : SMTP_SAY_SENDER_DENIED;
}

enum smtp_say smtp_policy_sender(struct smtp_session *s, struct smtp_transaction *t, struct err *e)
{
    const struct session_peer *peer = s->base.peer;
    if (s->authenticated)
        return sender_of_login(s, t, e);
    if (s->profile == SERVE_SUBMISSION) {
        t->relay_client = relay_clients_find(s->services->relay_clients, peer->address, t->reverse_path);
        if (!t->relay_client)
            return SMTP_SAY_SENDER_DENIED;
        return relay_client_take(t->relay_client, clock_mono_ms()) ? SMTP_SAY_NONE : SMTP_SAY_CLIENT_RATE;
    }
    if (s->profile == SERVE_SMTP && s->services->demo && peer->loopback)
        return sender_of_demo(s, t, e);
    return SMTP_SAY_NONE;
}

/* ---- recipients ---- */

static bool same_ip(int family, const char *a, const char *b)
{
    unsigned char x[16], y[16];
    return inet_pton(family, a, x) == 1 && inet_pton(family, b, y) == 1 && memcmp(x, y, family == AF_INET ? 4 : 16) == 0;
}

/* [192.0.2.1] and [IPv6:...] with the address that the client reached us by (RFC 5321 4.1.3). */
static bool literal_is_ours(const struct smtp_session *s, struct str domain)
{
    char ip[64];
    struct str inside = str_sub(domain, 1, domain.n - 2);
    bool v6 = str_starts_nocase(inside, STR("IPv6:"));
    if (v6)
        inside = str_from(inside, 5);
    if (domain.n < 3 || inside.n >= sizeof ip)
        return false;
    memcpy(ip, inside.p, inside.n);
    ip[inside.n] = '\0';
    return same_ip(v6 ? AF_INET6 : AF_INET, ip, s->base.peer->local);
}

static enum st recipient_address(struct smtp_session *s, const struct address *to, struct str *out, struct err *e)
{
    DEFER(buf_release) struct buf domain = BUF_INIT(ADDRESS_DOMAIN_MAX);
    struct address full = *to;
    if (full.domain.n == 0 || (full.literal && literal_is_ours(s, full.domain))) {
        TRY(directory_default_domain(s->services->directory, &domain, e));
        full.domain = buf_str(&domain);
        full.literal = false;
    }
    *out = address_text(&s->transaction->arena, &full);
    return out->p ? ST_OK : ERR(e, ST_LIMIT, "too many recipients", "transaction arena");
}

static enum smtp_say mailbox_full(struct smtp_session *s, const struct directory_route *route, struct err *e)
{
    struct account *account;
    struct account_quota quota;
    if (route->count != 1 || !route->targets[0].account)
        return SMTP_SAY_NONE; /* lists are settled for each at delivery */
    if (account_open(s->services->store, route->targets[0].account, &account, e) != ST_OK)
        return SMTP_SAY_TEMPORARY;
    account_quota(account, &quota);
    account_unref(account);
    uint64_t size = s->transaction->mail.size, used;
    if (__builtin_add_overflow(quota.bytes_used, size, &used))
        used = UINT64_MAX;
    if (quota.messages_used < quota.messages_max && quota.bytes_used < quota.bytes_max && used <= quota.bytes_max)
        return SMTP_SAY_NONE;
    return s->settings->smtp_full_is_final ? SMTP_SAY_MAILBOX_FULL_FOR_GOOD : SMTP_SAY_MAILBOX_FULL;
}

static bool goes_elsewhere(const struct directory_route *route)
{
    for (size_t i = 0; i < route->count; i++)
        if (!route->targets[i].account)
            return true;
    return route->kind == DIRECTORY_REMOTE;
}

static bool may_relay(const struct smtp_session *s, const struct smtp_transaction *t)
{
    return s->authenticated || t->relay_client || t->local_sender;
}

/* RFC 6409 4.2: a domain of one label is one of ours or a mistake. */
static bool unqualified(struct str address)
{
    size_t at = str_rfind_char(address, '@');
    struct str domain = str_from(address, at == STR_NPOS ? address.n : at + 1);
    return !str_starts(domain, STR("[")) && str_find_char(domain, '.') == STR_NPOS;
}

static enum smtp_say decide(struct smtp_session *s, const struct accept_recipient *r, struct err *e)
{
    const struct smtp_transaction *t = s->transaction;
    if (t->relay_client && !relay_client_allows(t->relay_client, r->address))
        return SMTP_SAY_RELAY_DENIED;
    if (t->mail.body == SMTP_BODY_BINARYMIME && goes_elsewhere(&r->route))
        return SMTP_SAY_BINARY_NOT_HERE; /* RFC 3030 3: what is taken must arrive with all bits */
    switch (r->route.kind) {
    case DIRECTORY_REMOTE:
        if (s->profile == SERVE_SUBMISSION && unqualified(r->address))
            return SMTP_SAY_NOT_QUALIFIED;
        return may_relay(s, t) ? SMTP_SAY_NONE : SMTP_SAY_RELAY_DENIED;
    case DIRECTORY_UNKNOWN:
        return SMTP_SAY_NO_SUCH_MAILBOX;
    case DIRECTORY_DISABLED:
        return r->route.state == DIRECTORY_CLOSED ? SMTP_SAY_MAILBOX_CLOSED : SMTP_SAY_MAILBOX_SUSPENDED;
    case DIRECTORY_LOCAL:
        return mailbox_full(s, &r->route, e);
    }
    return SMTP_SAY_TEMPORARY;
}

/* RFC 6409 6.1: a login may send so much in an hour. */
static bool within_rate(const struct smtp_session *s)
{
    return !s->authenticated || smtp_rates_take(s->services->smtp_rates, s->who.account, s->settings->submission_messages_per_hour,
                                                3600000, clock_mono_ms());
}

enum smtp_say smtp_policy_recipient(struct smtp_session *s, const struct address *to, struct accept_recipient *out)
{
    struct err inner = {0}; /* sentences of lower layers are for the log, not for strangers */
    enum st st = recipient_address(s, to, &out->address, &inner);
    if (st == ST_OK)
        st = directory_resolve(s->services->directory, out->address, &s->transaction->arena, &out->route, &inner);
    if (st == ST_PERM)
        return SMTP_SAY_BAD_RECIPIENT_SYNTAX;
    if (st == ST_LIMIT)
        return SMTP_SAY_TOO_MANY_RECIPIENTS;
    if (st != ST_OK)
        return SMTP_SAY_TEMPORARY;
    enum smtp_say refusal = decide(s, out, &inner);
    if (refusal == SMTP_SAY_NONE && !within_rate(s))
        refusal = SMTP_SAY_CLIENT_RATE;
    if (inner.class != ST_OK)
        s->transaction->result_err = inner;
    return refusal;
}

/* ---- the From field ---- */

enum { FROM_FIELDS_MAX = 16, FROM_MAILBOXES_MAX = 100 };

static enum smtp_say owns_entry(struct smtp_session *s, const struct address_entry *entry, struct err *e)
{
    DEFER(buf_release) struct buf text = BUF_INIT(1024);
    bool owns = false;
    address_entry_print(entry, &text);
    if (!entry->domain.n) { /* will be qualified with the login's domain */
        struct str login = str_of(s->who.address);
        size_t at = str_rfind_char(login, '@');
        buf_add(&text, at == STR_NPOS ? STR_NONE : str_from(login, at));
    }
    if (entry->broken || !buf_ok(&text))
        return SMTP_SAY_FROM_DENIED;
    enum st st = directory_owns(s->services->directory, s->who.account, buf_str(&text), &owns, e);
    if (st != ST_OK && st != ST_PERM)
        return temporary(e);
    return st == ST_OK && owns ? SMTP_SAY_NONE : SMTP_SAY_FROM_DENIED;
}

enum smtp_say smtp_policy_from(struct smtp_session *s, struct str message, struct err *e)
{
    DEFER(arena_release) struct arena scratch = ARENA_INIT(1 << 20);
    struct header_iter it;
    struct header_field field;
    unsigned fields = 0;
    header_first(&it, message);
    while (header_next(&it, &field)) {
        struct address_list list;
        if (!str_eq_nocase(field.name, STR("From")))
            continue;
        address_list_parse(&scratch, field.value, FROM_MAILBOXES_MAX, &list);
        if (++fields > FROM_FIELDS_MAX || list.truncated)
            return SMTP_SAY_FROM_DENIED;
        for (const struct address_entry *entry = list.first; entry; entry = entry->next) {
            enum smtp_say refusal = entry->kind == ADDRESS_MAILBOX ? owns_entry(s, entry, e) : SMTP_SAY_NONE;
            if (refusal != SMTP_SAY_NONE)
                return refusal;
        }
    }
    return SMTP_SAY_NONE;
}
