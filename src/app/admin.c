#include "app/admin.h"

#include <stdlib.h>

#include "auth/directory.h"
#include "rt/log.h"
#include "store/store.h"

enum { ADMIN_ARENA_MAX = 4 << 20, ADMIN_IDLE_MS = 600000 };

enum admin_state { ADMIN_WAITS, ADMIN_RUNS, ADMIN_TAKES, ADMIN_ENDED };

/*   WAITS --request--> RUNS --done--> WAITS
 *                      RUNS --INPUT--> TAKES --frame--> RUNS
 *   any --malformed or not trusted--> ENDED (sends what is left, then closes) */
struct admin_session {
    struct session session;
    const struct admin_context *context;
    enum admin_state state;
    struct admin_call call;
    admin_handler *run;
    json_t *request;
    struct buf out;
    size_t out_at;   /* sent of out */
    json_t *frame;   /* of the message that comes in */
    struct buf data; /* its bytes */
    size_t data_want;
    struct session *inner; /* the protocol that took the connection over */
};

/* ---- for handlers ---- */

json_t *admin_json(struct str s)
{
    if (str_is_utf8(s))
        return json_stringn(s.p ? s.p : "", s.n);
    DEFER(buf_release) struct buf safe = BUF_INIT(1 << 20);
    for (size_t i = 0; i < s.n; i++)
        buf_add_c(&safe, (unsigned char)s.p[i] < 0x80 ? s.p[i] : '?');
    return json_stringn(safe.p ? safe.p : "", safe.n);
}

static int dump_to_buf(const char *text, size_t n, void *context)
{
    buf_add(context, str_make(text, n));
    return 0;
}

static void put_line(struct buf *out, const char *key, json_t *value)
{
    json_t *line = json_pack("{s:o}", key, value ? value : json_object());
    if (!line || json_dump_callback(line, dump_to_buf, out, JSON_COMPACT) != 0)
        out->failed = true;
    json_decref(line);
    buf_add_c(out, '\n');
}

void admin_row(struct admin_call *c, json_t *value) { put_line(c->out, "row", value); }
void admin_note(struct admin_call *c, const char *text) { put_line(c->out, "note", admin_json(str_of(text))); }
void admin_done(struct admin_call *c, json_t *value) { put_line(c->out, "done", value); }

void admin_message(struct admin_call *c, json_t *value, struct str bytes)
{
    json_object_set_new(value, "size", json_integer((json_int_t)bytes.n));
    put_line(c->out, "message", value);
    buf_add(c->out, bytes);
}

enum st admin_text(const struct admin_call *c, const char *name, bool required, struct str *out, struct err *e)
{
    json_t *value = json_object_get(c->args, name);
    *out = STR_NONE;
    ENSURE(value || !required, e, ST_PERM, "%s is missing", name);
    if (!value || json_is_null(value))
        return ST_OK;
    ENSURE(json_is_string(value), e, ST_PERM, "%s is not a text", name);
    *out = str_make(json_string_value(value), json_string_length(value));
    return ST_OK;
}

enum st admin_number(const struct admin_call *c, const char *name, uint64_t fallback, uint64_t *out, struct err *e)
{
    json_t *value = json_object_get(c->args, name);
    *out = fallback;
    if (!value || json_is_null(value))
        return ST_OK;
    ENSURE(json_is_integer(value) && json_integer_value(value) >= 0, e, ST_PERM, "%s is not a number", name);
    *out = (uint64_t)json_integer_value(value);
    return ST_OK;
}

bool admin_flag(const struct admin_call *c, const char *name) { return json_is_true(json_object_get(c->args, name)); }

enum st admin_open_user(struct admin_call *c, struct account **out, struct err *e)
{
    struct str user;
    struct directory_account found;
    TRY(admin_text(c, "user", true, &user, e));
    enum st st = directory_account_login(c->context->services->directory, user, &c->arena, &found, e);
    ENSURE(st != ST_NOTFOUND, e, ST_NOTFOUND, "no account %.*s", STR_FMT(user));
    TRY(st);
    return account_open(c->context->services->store, found.id, out, e);
}

/* ---- the session ---- */

static void put_error(struct admin_session *s, enum st class, const struct err *e)
{
    bool has = e->class != ST_OK;
    json_t *error =
        json_pack("{s:s, s:o, s:o}", "class", st_name(class), "text",
                  admin_json(str_of(has && e->text[0] ? e->text : st_name(class))), "detail", admin_json(str_of(e->detail)));
    put_line(&s->out, "error", error);
}

static void end_with(struct admin_session *s, enum st class, const char *text)
{
    struct err e = {0};
    (void)!ERR_PUBLIC(&e, class, "%s", text);
    put_error(s, class, &e);
    s->state = ADMIN_ENDED;
}

static void call_release(struct admin_session *s)
{
    struct admin_call *c = &s->call;
    if (c->state && c->state_free)
        c->state_free(c->state);
    arena_release(&c->arena);
    *c = (struct admin_call){0};
    json_decref(s->request);
    json_decref(s->frame);
    s->request = s->frame = NULL;
    buf_release(&s->data);
    s->data_want = 0;
}

static admin_handler *find_handler(struct str name)
{
    enum { FAMILIES = 5 };
    static const struct admin_request *const families[FAMILIES] = {admin_accounts, admin_names, admin_queues, admin_mailboxes,
                                                                   admin_servers};
    for (size_t i = 0; i < FAMILIES; i++)
        for (const struct admin_request *r = families[i]; r->name; r++)
            if (str_eq(name, str_of(r->name)))
                return r->run;
    return NULL;
}

static void begin_request(struct admin_session *s, struct str line)
{
    json_error_t why;
    json_t *request = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &why);
    const char *name = json_string_value(json_object_get(request, "do"));
    admin_handler *run = name ? find_handler(str_of(name)) : NULL;
    if (!run) {
        json_decref(request);
        end_with(s, ST_PERM, name ? "unknown request" : "not a request");
        return;
    }
    s->request = request;
    s->run = run;
    s->call = (struct admin_call){.context = s->context, .peer = s->session.peer, .args = request, .out = &s->out};
    arena_init(&s->call.arena, ADMIN_ARENA_MAX);
    s->state = ADMIN_RUNS;
}

/* One call of the handler. */
static void run_request(struct admin_session *s)
{
    struct err e = {0};
    enum admin_outcome outcome = ADMIN_DONE;
    enum st st = s->run(&s->call, &outcome, &e);
    s->call.frame = NULL;
    json_decref(s->frame);
    s->frame = NULL;
    buf_clear(&s->data);
    if (st == ST_OK && !buf_ok(&s->out))
        st = ERR_PUBLIC(&e, ST_LIMIT, "the answer is too long");
    if (st != ST_OK) {
        if (!buf_ok(&s->out))
            buf_clear(&s->out);
        put_error(s, st, &e);
        /* the client may be in the middle of sending messages, which would be taken for requests */
        s->state = s->call.state ? ADMIN_ENDED : ADMIN_WAITS;
        call_release(s);
        return;
    }
    switch (outcome) {
    case ADMIN_MORE:
        return;
    case ADMIN_INPUT:
        s->state = ADMIN_TAKES;
        return;
    case ADMIN_DONE:
        s->inner = s->call.become;
        s->state = ADMIN_WAITS;
        call_release(s);
        return;
    }
}

/* {"append": {..., "size": N}} or {"end": true} */
static void begin_frame(struct admin_session *s, struct str line)
{
    json_error_t why;
    json_t *frame = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &why);
    json_t *append = json_object_get(frame, "append");
    if (json_is_true(json_object_get(frame, "end"))) {
        json_decref(frame);
        s->call.ended = true;
        s->call.data = STR_NONE;
        s->state = ADMIN_RUNS;
        return;
    }
    json_int_t size = json_integer_value(json_object_get(append, "size"));
    if (!append || size < 0 || (uint64_t)size > s->context->message_max_bytes) {
        json_decref(frame);
        end_with(s, append ? ST_LIMIT : ST_PERM, append ? "the message is too long" : "not a message");
        return;
    }
    s->frame = json_incref(append);
    json_decref(frame);
    s->data_want = (size_t)size;
    buf_clear(&s->data);
    s->data.max = s->data_want;
}

/* Takes bytes of the message; true when something changed. */
static bool take_data(struct admin_session *s, struct session_io *io)
{
    struct str in = str_from(io->in, io->used);
    size_t n = s->data_want - s->data.n;
    n = in.n < n ? in.n : n;
    buf_add(&s->data, str_upto(in, n));
    io->used += n;
    if (!buf_ok(&s->data)) {
        end_with(s, ST_TEMP, "out of memory");
        return true;
    }
    if (s->data.n < s->data_want)
        return false;
    s->call.frame = s->frame;
    s->call.data = buf_str(&s->data);
    s->state = ADMIN_RUNS;
    return true;
}

/* Goes on as far as the input allows; true when something changed. */
static bool advance(struct admin_session *s, struct session_io *io)
{
    if (s->state == ADMIN_RUNS) {
        run_request(s);
        return true;
    }
    if (s->state == ADMIN_ENDED)
        return false;
    if (s->frame)
        return take_data(s, io);
    struct str in = str_from(io->in, io->used);
    size_t n = str_find_char(in, '\n');
    if (n == STR_NPOS) {
        if (io->in_full && io->used == 0)
            end_with(s, ST_LIMIT, "the line is too long");
        return false;
    }
    io->used += n + 1;
    if (s->state == ADMIN_TAKES)
        begin_frame(s, str_upto(in, n));
    else
        begin_request(s, str_upto(in, n));
    return true;
}

static bool drain(struct admin_session *s, struct session_io *io)
{
    struct str left = str_from(buf_str(&s->out), s->out_at);
    size_t room = buf_room(io->out);
    struct str now = str_upto(left, room);
    buf_add(io->out, now);
    s->out_at += now.n;
    if (s->out_at < s->out.n)
        return false;
    buf_clear(&s->out);
    s->out_at = 0;
    return true;
}

static enum session_outcome inner_step(struct admin_session *s, struct session_io *io, enum session_event event)
{
    size_t before = io->used;
    struct session_io part = *io;
    part.in = str_from(io->in, before);
    part.used = 0;
    part.event = event;
    s->inner->waker = s->session.waker;
    enum session_outcome o = s->inner->class->step(s->inner, &part);
    io->used = before + part.used;
    io->timeout_ms = part.timeout_ms;
    return o;
}

static enum session_outcome admin_step(struct session *base, struct session_io *io)
{
    struct admin_session *s = (struct admin_session *)base;
    if (s->inner)
        return inner_step(s, io, io->event);
    if (io->event == SESSION_EV_START) {
        io->timeout_ms = ADMIN_IDLE_MS;
        if (!base->peer->trusted_local)
            end_with(s, ST_DENIED, "only the server's own user and root may administer it");
    }
    if (io->event == SESSION_EV_STOPPING || io->event == SESSION_EV_TIMEOUT)
        return SESSION_CLOSE;
    bool going = true;
    while (going) {
        if (!drain(s, io))
            return SESSION_OUTPUT;
        if (s->inner) {
            s->inner->peer = base->peer;
            s->inner->id = base->id;
            return inner_step(s, io, SESSION_EV_START);
        }
        going = advance(s, io);
    }
    if (!drain(s, io))
        return SESSION_OUTPUT;
    return s->state == ADMIN_ENDED || io->event == SESSION_EV_EOF ? SESSION_CLOSE : SESSION_INPUT;
}

static void admin_free(struct session *base)
{
    struct admin_session *s = (struct admin_session *)base;
    if (s->inner)
        s->inner->class->free(s->inner);
    call_release(s);
    buf_release(&s->out);
    free(s);
}

static const struct session_class admin_class = {"admin", admin_step, admin_free};

struct session *admin_session_make(void *context, const struct session_peer *peer)
{
    struct admin_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->session = (struct session){.class = &admin_class, .peer = peer};
    s->context = context;
    buf_init(&s->out, ADMIN_OUT_MAX);
    buf_init(&s->data, 0);
    return &s->session;
}
