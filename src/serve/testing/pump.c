#include "serve/testing/pump.h"

enum { STEPS_MAX = 10000000, THINKING_MAX = 10000 /* steps without a word */ };

void pump_init(struct pump *p, struct session *s, size_t room)
{
    *p = (struct pump){.session = s, .in = BUF_INIT(SESSION_INPUT_MAX), .out = BUF_INIT(room), .said = BUF_INIT(PUMP_SAID_MAX)};
    p->outcome = SESSION_INPUT;
    if (!s)
        p->breach = "no session";
}

void pump_release(struct pump *p)
{
    if (p->session)
        p->session->class->free(p->session);
    buf_release(&p->in);
    buf_release(&p->out);
    buf_release(&p->said);
    p->session = NULL;
}

bool pump_closed(const struct pump *p) { return p->outcome == SESSION_CLOSE || p->breach; }

static void breach(struct pump *p, const char *what)
{
    if (!p->breach)
        p->breach = what;
}

static size_t step(struct pump *p, enum session_event event)
{
    struct session_io io = {.event = event,
                            .in = p->in.n ? buf_str(&p->in) : STR_NONE,
                            .in_full = p->in.n == p->in.max,
                            .out = &p->out,
                            .timeout_ms = p->timeout_ms};
    p->outcome = p->session->class->step(p->session, &io);
    p->timeout_ms = io.timeout_ms;
    if (io.used > p->in.n)
        breach(p, "took more input than there was");
    else
        buf_drop_front(&p->in, io.used);
    if (!buf_ok(&p->out))
        breach(p, "wrote more than the output buffer holds");
    if (io.in_full && io.used == 0 && p->outcome == SESSION_INPUT)
        breach(p, "wants more input with a full buffer");
    buf_add(&p->said, buf_str(&p->out));
    buf_clear(&p->out);
    return io.used;
}

/* Steps until the session waits for something. */
static void settle(struct pump *p, enum session_event event)
{
    size_t idle = 0;
    for (unsigned n = 0; !pump_closed(p); n++) {
        size_t before = p->said.n, used = step(p, event);
        if (p->outcome == SESSION_TLS)
            buf_clear(&p->in);
        if (p->outcome != SESSION_OUTPUT)
            return;
        event = SESSION_EV_OUTPUT;
        idle = used || p->said.n > before ? 0 : idle + 1;
        if (idle > THINKING_MAX || n > STEPS_MAX)
            breach(p, "goes on without getting on");
    }
}

void pump_event(struct pump *p, enum session_event event)
{
    if (!p->started && event != SESSION_EV_START) {
        p->started = true;
        settle(p, SESSION_EV_START);
    }
    p->started = true;
    if (!pump_closed(p))
        settle(p, event);
}

void pump_feed(struct pump *p, struct str bytes, size_t piece)
{
    if (!p->started)
        pump_event(p, SESSION_EV_START);
    while (bytes.n && !pump_closed(p) && p->outcome != SESSION_TLS) {
        size_t room = buf_room(&p->in), n = bytes.n < piece ? bytes.n : piece;
        n = n < room ? n : room;
        buf_add(&p->in, str_upto(bytes, n));
        bytes = str_from(bytes, n);
        settle(p, SESSION_EV_INPUT);
        if (p->in.n == p->in.max && n == 0)
            breach(p, "does not take its input");
    }
}
