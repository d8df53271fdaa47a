/* The administration protocol: any bytes, to a session on a store in memory. Requests that hash passwords or write files are left
 * out: they are slow, and reached by no other way of parsing. */
#include "app/admin.h"
#include "app/config.h"
#include "app/core.h"
#include "auth/directory.h"
#include "base/check.h"
#include "rt/log.h"

enum { STEPS_MAX = 200 };

static bool quiet(void *context, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    (void)context, (void)level, (void)event, (void)fields, (void)count;
    return true;
}

static const struct services *world(void)
{
    static struct core *core; /* one for all runs: made by the first */
    struct config config = {.data_dir = "/tmp/postrider-admin-fuzz",
                            .store_dir = "/tmp/postrider-admin-fuzz/store",
                            .spool_dir = "/tmp/postrider-admin-fuzz/spool"};
    struct core_options options = {.mode = CORE_OFFLINE};
    if (core)
        return core_services(core);
    log_capture(quiet, NULL);
    struct settings *s = settings_defaults();
    check(s != NULL);
    s->global_engine = "memory";
    settings_use(&s);
    struct directory_domain domain = {.name = STR("xyz.com"), .is_default = true};
    struct directory_account account = {.address = STR("carolyn@xyz.com"), .quota_bytes = UINT64_MAX, .quota_messages = UINT64_MAX};
    account_id id;
    check(core_open(&config, &options, &core, NULL) == ST_OK);
    const struct services *sv = core_services(core);
    check(directory_domain_put(sv->directory, &domain, NULL) == ST_OK);
    check(directory_account_add(sv->directory, sv->store, &account, &id, NULL) == ST_OK);
    return sv;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str left = str_make(data, size);
    if (str_find_nocase(left, STR("password")) != STR_NPOS || str_find_nocase(left, STR("backup")) != STR_NPOS)
        return 0;
    struct serve_context imap = {.services = world(), .profile = SERVE_IMAP};
    struct admin_context context = {.services = world(), .data_dir = "/tmp", .message_max_bytes = 1 << 20, .imap = &imap};
    struct session_peer peer = {.trusted_local = true, .loopback = true};
    struct session *s = admin_session_make(&context, &peer);
    struct buf out = BUF_INIT(SESSION_OUTPUT_MAX);
    struct session_io io = {.event = SESSION_EV_START, .out = &out};
    enum session_outcome o = s->class->step(s, &io);
    for (unsigned i = 0; i < STEPS_MAX && o != SESSION_CLOSE; i++) {
        buf_clear(&out);
        io.event = o == SESSION_OUTPUT ? SESSION_EV_OUTPUT : left.n ? SESSION_EV_INPUT : SESSION_EV_EOF;
        io.in = str_upto(left, SESSION_INPUT_MAX);
        io.in_full = io.in.n == SESSION_INPUT_MAX;
        io.used = 0;
        o = s->class->step(s, &io);
        check(io.used <= io.in.n && buf_ok(&out));
        left = str_from(left, io.used);
    }
    s->class->free(s);
    buf_release(&out);
    return 0;
}
