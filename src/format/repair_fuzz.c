/* Header repair and reports of any message: the body stays, a second repair changes nothing, the report parses. */
#include <stdint.h>

#include "base/check.h"
#include "format/dsn.h"
#include "format/header.h"
#include "format/mime.h"
#include "format/repair.h"
#include "format/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void repair(struct arena *arena, struct str m)
{
    struct repair_facts facts = {.submitter = STR("a@b.example"),
                                 .name = STR("A B"),
                                 .domain = STR("b.example"),
                                 .host = STR("h.example"),
                                 .unique = STR("u"),
                                 .now = {.epoch_s = 1704099900},
                                 .check_sender = true};
    struct repair_result once, twice;
    DEFER(buf_release) struct buf out = BUF_INIT(1 << 20);
    DEFER(buf_release) struct buf again = BUF_INIT(1 << 20);
    struct header_field f;
    if (repair_header(arena, m, &facts, &out, &once, NULL) != ST_OK)
        return;
    check(once.body_offset <= m.n && header_length(buf_str(&out)) == out.n && !header_find(buf_str(&out), STR("Bcc"), &f));
    check(header_find(buf_str(&out), STR("Date"), &f) && header_find(buf_str(&out), STR("Message-ID"), &f) &&
          once.message_id.n > 2);
    check(repair_header(arena, buf_str(&out), &facts, &again, &twice, NULL) == ST_OK);
    check(str_eq(buf_str(&out), buf_str(&again)) && twice.changes == 0);
}

static void report(struct arena *arena, struct str m)
{
    struct dsn_recipient r = {
        .address = STR("x@y.example"), .action = (enum dsn_action)(m.n % 5), .diagnostic = m, .remote_mta = STR("z")};
    struct dsn d = {.to = STR("a@b.example"),
                    .from_host = STR("h"),
                    .unique = STR("u.1"),
                    .now = {.epoch_s = 1704099900},
                    .message = m,
                    .full = true,
                    .message_max = 1 << 16,
                    .recipients = &r,
                    .count = 1};
    DEFER(buf_release) struct buf out = BUF_INIT(1 << 20);
    struct mime_tree tree;
    struct mime_limits limits = MIME_LIMITS_DEFAULT;
    if (dsn_build(&d, &out, NULL) != ST_OK)
        return;
    check(mime_parse(arena, buf_str(&out), &limits, &tree));
    check(mime_is(tree.root, STR("multipart"), STR("report")) && tree.root->first_child && tree.root->first_child->next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT(32 << 20);
    struct str m = str_make(data, size);
    DEFER(buf_release) struct buf out = BUF_INIT(1 << 16);
    struct trace_received t = {.helo = m, .client_name = m, .client_ip = m, .by = STR("h"), .id = STR("i"), .for_address = m};
    repair(&arena, m);
    report(&arena, m);
    trace_received_print(&t, &out);
    check(trace_received_count(buf_str(&out), 10) == 1);
    arena_release(&arena);
    return 0;
}
