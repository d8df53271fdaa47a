#include "queue/record.h"

#include "base/rd.h"

enum record_flag { FLAG_SMTPUTF8 = 1 << 0, FLAG_HELD = 1 << 1, FLAG_REPORT_SHIFT = 2, FLAGS_ALL = 15 };
enum recipient_flag {
    RECIPIENT_DELAY_TOLD = 1 << 0,
    RECIPIENT_EXPANDED = 1 << 1,
    RECIPIENT_STATUS_SMTP = 1 << 2,
    RECIPIENT_LOCAL = 1 << 3, /* account, detail and key follow */
    RECIPIENT_FLAGS_ALL = 15,
};

static void add_varstr(struct buf *out, struct str s)
{
    buf_add_varint(out, s.n);
    buf_add(out, s);
}

static void recipient_encode(const struct record_recipient *r, struct buf *out)
{
    bool local = r->account != 0 || r->detail.n > 0;
    for (size_t i = 0; i < sizeof r->key && !local; i++)
        local = r->key[i] != 0;
    unsigned flags = (r->delay_told ? RECIPIENT_DELAY_TOLD : 0u) | (r->expanded ? RECIPIENT_EXPANDED : 0u) |
                     (r->status_smtp ? RECIPIENT_STATUS_SMTP : 0u) | (local ? RECIPIENT_LOCAL : 0u);
    buf_add_c(out, (char)r->state);
    buf_add_c(out, (char)flags);
    buf_add_c(out, (char)r->notify);
    add_varstr(out, r->address);
    add_varstr(out, r->orcpt);
    add_varstr(out, str_upto(r->status, RECORD_STATUS_MAX));
    add_varstr(out, str_upto(r->host, RECORD_DOMAIN_MAX));
    if (!local)
        return;
    buf_add_le64(out, r->account);
    add_varstr(out, r->detail);
    buf_add(out, str_make(r->key, sizeof r->key));
}

void record_encode(const struct record *r, struct buf *out)
{
    unsigned flags = (r->smtputf8 ? FLAG_SMTPUTF8 : 0u) | (r->held ? FLAG_HELD : 0u) | (unsigned)r->report << FLAG_REPORT_SHIFT;
    buf_add_c(out, RECORD_VERSION);
    buf_add_c(out, (char)flags);
    buf_add_c(out, (char)r->ret);
    buf_add_c(out, (char)r->body);
    buf_add(out, str_make(r->blob.sha256, sizeof r->blob.sha256));
    buf_add_varint(out, r->size);
    buf_add_varint(out, r->skip);
    buf_add_le64(out, r->submitter);
    buf_add_le64(out, (uint64_t)r->arrived_ms);
    buf_add_le64(out, (uint64_t)r->next_ms);
    buf_add_le64(out, (uint64_t)r->last_ms);
    buf_add_varint(out, r->attempts);
    add_varstr(out, r->reverse_path);
    add_varstr(out, r->envid);
    add_varstr(out, r->domain);
    buf_add_varint(out, r->count);
    for (size_t i = 0; i < r->count; i++)
        recipient_encode(&r->recipients[i], out);
}

static bool recipient_decode(struct rd *in, struct record_recipient *r)
{
    unsigned state = rd_u8(in), flags = rd_u8(in);
    r->state = (enum record_state)state;
    r->delay_told = flags & RECIPIENT_DELAY_TOLD;
    r->expanded = flags & RECIPIENT_EXPANDED;
    r->status_smtp = flags & RECIPIENT_STATUS_SMTP;
    r->notify = rd_u8(in);
    r->address = rd_varstr(in);
    r->orcpt = rd_varstr(in);
    r->status = rd_varstr(in);
    r->host = rd_varstr(in);
    if (flags & RECIPIENT_LOCAL) {
        r->account = rd_le64(in);
        r->detail = rd_varstr(in);
        struct str key = rd_bytes(in, sizeof r->key);
        if (key.n == sizeof r->key)
            memcpy(r->key, key.p, key.n);
    }
    return rd_ok(in) && state >= RECORD_PENDING && state <= RECORD_FAILED && flags <= RECIPIENT_FLAGS_ALL &&
           r->notify <= RECORD_NOTIFY_MASK && r->address.n > 0 && r->address.n <= RECORD_ADDRESS_MAX &&
           r->orcpt.n <= RECORD_ORCPT_MAX && r->status.n <= RECORD_STATUS_MAX && r->host.n <= RECORD_DOMAIN_MAX;
}

static void head_decode(struct rd *in, struct record *out)
{
    out->ret = rd_u8(in);
    out->body = rd_u8(in);
    struct str blob = rd_bytes(in, sizeof out->blob.sha256);
    if (blob.n == sizeof out->blob.sha256)
        memcpy(out->blob.sha256, blob.p, blob.n);
    out->size = rd_varint(in);
    uint64_t skip = rd_varint(in);
    out->submitter = rd_le64(in);
    out->arrived_ms = (int64_t)rd_le64(in);
    out->next_ms = (int64_t)rd_le64(in);
    out->last_ms = (int64_t)rd_le64(in);
    uint64_t attempts = rd_varint(in);
    out->reverse_path = rd_varstr(in);
    out->envid = rd_varstr(in);
    out->domain = rd_varstr(in);
    out->count = (size_t)rd_varint(in);
    if (skip > out->size || skip > RECORD_ADDRESS_MAX + 64 || attempts > UINT32_MAX || out->ret > 2 || out->body > 2)
        rd_fail(in);
    if (out->reverse_path.n > RECORD_ADDRESS_MAX || out->domain.n > RECORD_DOMAIN_MAX || out->count == 0 ||
        out->count > RECORD_RECIPIENTS_MAX || out->arrived_ms < 0 || out->next_ms < 0 || out->last_ms < 0)
        rd_fail(in);
    out->skip = (uint32_t)skip;
    out->attempts = (uint32_t)attempts;
}

enum st record_decode(struct str value, struct arena *arena, struct record *out, struct err *e)
{
    struct rd in = rd_of(value);
    *out = (struct record){0};
    unsigned version = rd_u8(&in), flags = rd_u8(&in);
    ENSURE(value.n > 0, e, ST_CORRUPT, "Queue record is empty");
    ENSURE(version == RECORD_VERSION, e, ST_PERM, "Queue record has version %u, which this program does not know", version);
    head_decode(&in, out);
    ENSURE(rd_ok(&in) && flags <= FLAGS_ALL && flags >> FLAG_REPORT_SHIFT <= RECORD_REPORT_MAX, e, ST_CORRUPT,
           "Queue record is damaged");
    out->smtputf8 = flags & FLAG_SMTPUTF8;
    out->held = flags & FLAG_HELD;
    out->report = (uint8_t)(flags >> FLAG_REPORT_SHIFT);
    out->recipients = ARENA_ARRAY(arena, out->count, struct record_recipient);
    ENSURE(out->recipients, e, ST_LIMIT, "Queue record is too large");
    for (size_t i = 0; i < out->count; i++)
        ENSURE(recipient_decode(&in, &out->recipients[i]), e, ST_CORRUPT, "Queue record is damaged at recipient %zu", i);
    ENSURE(rd_end(&in), e, ST_CORRUPT, "Queue record has bytes behind its end");
    return ST_OK;
}

size_t record_pending(const struct record *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        n += r->recipients[i].state == RECORD_PENDING;
    return n;
}
