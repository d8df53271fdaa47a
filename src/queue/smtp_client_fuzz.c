/* Any bytes as what a server says, to a client that greets, starts TLS and sends twice. The first byte chooses what the client has
 * to send. Whatever is said, the loops end, texts for reports are printable, and nobody is reported as served before the data was
 * sent. */
#include "base/check.h"
#include "queue/smtp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct wire {
    struct str said;
    size_t written;
};

static enum st wire_write(void *context, struct str bytes, unsigned timeout_ms, struct err *e)
{
    struct wire *w = context;
    (void)timeout_ms;
    (void)e;
    w->written += bytes.n;
    return ST_OK;
}

static enum st wire_read_line(void *context, size_t max, unsigned timeout_ms, struct str *line, struct err *e)
{
    struct wire *w = context;
    (void)timeout_ms;
    size_t at = str_find_char(w->said, '\n');
    ENSURE(at != STR_NPOS, e, ST_TEMP, "closed");
    ENSURE(at <= max, e, ST_LIMIT, "line too long");
    *line = str_upto(w->said, at);
    w->said = str_from(w->said, at + 1);
    return ST_OK;
}

static enum st wire_start_tls(void *context, struct err *e)
{
    (void)context;
    (void)e;
    return ST_OK;
}

static const char message[] = "Subject: \xc3\xa9\r\n\r\n.dot\r\nbody\r\n";

static enum st read_message(void *context, uint64_t offset, size_t length, struct buf *out, struct err *e)
{
    (void)context;
    (void)e;
    buf_add(out, str_sub(str_make(message, sizeof message - 1), (size_t)offset, length));
    return ST_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct smtp_client_times times = {1000, 1000, 1000, 1000, 1000, 1000};
    if (size == 0)
        return 0;
    struct wire w = {.said = str_make(data + 1, size - 1)};
    struct smtp_wire ops = {&w, wire_write, wire_read_line, wire_start_tls};
    struct arena arena = ARENA_INIT(1 << 20);
    struct smtp_client client;
    struct smtp_send_recipient recipients[3] = {{.address = STR("a@x.test"), .notify = SMTP_NOTIFY_SUCCESS},
                                                {.address = STR("b@x.test"), .orcpt = STR("rfc822;b@x.test")},
                                                {.address = STR("\xc3\xa9@x.test")}};
    struct smtp_send send = {.arena = &arena,
                             .reverse_path = STR("s@y.test"),
                             .envid = STR("id"),
                             .ret = SMTP_RET_FULL,
                             .body = (enum smtp_body)(data[0] % 3),
                             .smtputf8 = data[0] & 4,
                             .size = sizeof message - 1,
                             .read = read_message,
                             .recipients = recipients,
                             .count = 3};
    smtp_client_init(&client, &ops, &times, STR("me.test"));
    client.lmtp = data[0] & 8;
    client.chunking = data[0] & 16;
    client.recipients_max = data[0] & 32 ? 1 : 100;
    if (smtp_client_greet(&client) == SMTP_HELLO_OK && data[0] & 64)
        smtp_client_starttls(&client);
    for (unsigned i = 0; i < 2 && !client.broken; i++)
        smtp_client_send(&client, &send);
    for (size_t i = 0; i < send.count; i++) {
        struct str status = recipients[i].status;
        check(recipients[i].fate != SMTP_FATE_SENT || w.written > sizeof message);
        for (size_t n = 0; n < status.n; n++)
            check((unsigned char)status.p[n] >= ' ' && status.p[n] != 127);
    }
    smtp_client_quit(&client);
    smtp_client_release(&client);
    arena_release(&arena);
    return 0;
}
