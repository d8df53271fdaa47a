/* queue.*: what waits to be delivered. */
#include "app/admin.h"
#include "format/date.h"
#include "queue/queue.h"

static enum st queue_of(const struct admin_call *c, struct queue **out, struct err *e)
{
    *out = c->context->services->queue;
    ENSURE(*out, e, ST_TEMP, "the queue is not available");
    return ST_OK;
}

static json_t *time_json(int64_t ms)
{
    DEFER(buf_release) struct buf text = BUF_INIT(64);
    if (!ms)
        return json_null();
    date_print_rfc3339_utc(ms / 1000, &text);
    return admin_json(buf_str(&text));
}

static json_t *recipient_json(const struct queue_recipient_info *r)
{
    static const char *const states[] = {[QUEUE_PENDING] = "pending", [QUEUE_DELIVERED] = "delivered", [QUEUE_FAILED] = "failed"};
    return json_pack("{s:o, s:s, s:o, s:o}", "address", admin_json(r->address), "state", states[r->state], "status",
                     admin_json(r->status), "host", admin_json(r->host));
}

static json_t *entry_json(const struct queue_info *q)
{
    json_t *recipients = json_array(), *addresses = json_array();
    struct str status = STR_NONE;
    for (size_t i = 0; i < q->count; i++) {
        json_array_append_new(recipients, recipient_json(&q->recipients[i]));
        if (q->recipients[i].state == QUEUE_PENDING)
            json_array_append_new(addresses, admin_json(q->recipients[i].address));
        if (str_empty(status))
            status = q->recipients[i].status;
    }
    json_t *j = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:i, s:b, s:b}", "id", q->id, "sender",
                          admin_json(q->sender.n ? q->sender : STR("<>")), "destination", admin_json(q->destination), "arrived",
                          time_json(q->arrived_ms), "next", time_json(q->next_ms), "expires", time_json(q->expires_ms), "size",
                          (json_int_t)q->size, "attempts", (int)q->attempts, "held", q->held, "active", q->active);
    json_object_set_new(j, "pending", addresses);
    json_object_set_new(j, "recipients", recipients);
    json_object_set_new(j, "status", admin_json(status));
    return j;
}

enum { LIST_LIMIT = 10000 };

struct listing {
    struct admin_call *call;
    uint64_t left; /* rows still to be told */
    bool cut;
};

static bool emit_entry(void *context, const struct queue_info *info)
{
    struct listing *l = context;
    l->cut = l->left == 0;
    if (l->cut)
        return false;
    l->left--;
    admin_row(l->call, entry_json(info));
    return buf_ok(l->call->out);
}

static enum st filter_of(const struct admin_call *c, struct queue_filter *f, struct err *e)
{
    *f = (struct queue_filter){.held_only = admin_flag(c, "held")};
    TRY(admin_text(c, "sender", false, &f->sender, e));
    TRY(admin_text(c, "recipient", false, &f->recipient, e));
    return admin_text(c, "domain", false, &f->domain, e);
}

static enum st queue_list_request(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct queue *q;
    struct queue_filter filter;
    TRY(queue_of(c, &q, e));
    TRY(filter_of(c, &filter, e));
    struct listing l = {.call = c};
    TRY(admin_number(c, "limit", LIST_LIMIT, &l.left, e));
    TRY(queue_list(q, &filter, emit_entry, &l, e));
    if (l.cut)
        admin_note(c, "there are more entries; --limit shows more of them, --sender, --recipient and --domain choose");
    admin_done(c, NULL);
    return ST_OK;
}

enum { SHOW_MESSAGE_MAX = 64 << 10 };

static enum st queue_show_request(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct queue *q;
    struct str id;
    TRY(queue_of(c, &q, e));
    TRY(admin_text(c, "id", true, &id, e));
    TRY(queue_show(q, id, emit_entry, &(struct listing){.call = c, .left = LIST_LIMIT}, e));
    if (admin_flag(c, "message")) {
        DEFER(buf_release) struct buf bytes = BUF_INIT(SHOW_MESSAGE_MAX);
        TRY(queue_read(q, id, 0, SHOW_MESSAGE_MAX, &bytes, e));
        admin_message(c, json_object(), buf_str(&bytes));
    }
    admin_done(c, NULL);
    return ST_OK;
}

static enum st queue_act_request(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    static const char *const actions[] = {[QUEUE_RETRY] = "retry",
                                          [QUEUE_HOLD] = "hold",
                                          [QUEUE_RELEASE] = "release",
                                          [QUEUE_DROP] = "drop",
                                          [QUEUE_BOUNCE] = "bounce"};
    (void)outcome;
    struct queue *q;
    struct str id, name;
    struct queue_filter filter;
    size_t action = 0, done = 0;
    TRY(queue_of(c, &q, e));
    TRY(admin_text(c, "id", false, &id, e));
    TRY(admin_text(c, "action", true, &name, e));
    TRY(filter_of(c, &filter, e));
    while (action < sizeof actions / sizeof *actions && !str_eq(name, str_of(actions[action])))
        action++;
    ENSURE(action < sizeof actions / sizeof *actions, e, ST_PERM, "the action is none of retry, hold, release, drop, bounce");
    if (id.n)
        TRY(queue_act(q, id, (enum queue_action)action, &done, e));
    else
        TRY(queue_act_all(q, &filter, (enum queue_action)action, &done, e));
    admin_done(c, json_pack("{s:I}", "count", (json_int_t)done));
    return ST_OK;
}

const struct admin_request admin_queues[] = {
    {"queue.list", queue_list_request}, {"queue.show", queue_show_request}, {"queue.act", queue_act_request}, {0}};
