/* Many IMAP clients that do what clients do, for a long time, and check every answer that can be checked.
 *
 *   imap_soak --port P [--tls-port P] --user U --password W [--clients 200] [--accounts 20] [--seconds 60] [--pause MS]
 *             [--cut PERMILLE] [--seed N]
 *
 * Client n logs in as U, in which %u becomes (n - 1) modulo accounts + 1, every second client over TLS. It has two mailboxes that
 * nobody else changes, and a model of them: which messages are there and which are \Deleted. It appends, copies, moves, flags,
 * expunges, fetches, searches, idles; every body that it reads is compared byte by byte with what its number says. Of --cut in a
 * thousand commands a part is sent, or all, and the connection is closed or reset; then the client comes back at once, does what
 * changes no mailbox until the server has surely read all that was sent, and both mailboxes must be as before that command or as
 * after it: nothing lost, nothing doubled, nothing half done. Prints one line of JSON. Exit status 1 if
 * anything was wrong. A thread for each client, blocking: the clients wait nearly all the time. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "line_client.h"
#include "rt/clock.h"

enum {
    CLIENTS_MAX = 2000,
    HELD_MAX = 24, /* messages of a mailbox, beyond which the client only removes */
    ITEMS_MAX = 4 * HELD_MAX,
    INPUT_BYTES = 1 << 20,
    MESSAGE_MAX = 256 << 10,
    PATIENCE_S = 60,
    LATE_MS = 3000, /* so long a command of a cut connection may still be carried out */
};

struct options {
    const char *user, *password;
    unsigned port, tls_port, clients, accounts, seconds, pause_ms, cut, seed;
    SSL_CTX *ssl;
    int64_t end_ms;
};

struct item {
    uint64_t id;
    uint32_t uid;
    bool deleted;
};

struct box {
    char name[24];
    struct item items[ITEMS_MAX];
    size_t n;
};

struct client {
    struct line_client link;
    struct options *o;
    unsigned number;
    pthread_t thread;
    uint64_t random, next_id;
    struct buf out, want;
    unsigned tag, cut_permille;
    int64_t cut_ms;              /* when it closed the connection last */
    bool made, cut;              /* the mailboxes exist; this client closed the connection itself */
    struct box box[2], after[2]; /* the model; what it is when the command under way has happened */
    unsigned selected;
};

static struct {
    atomic_ullong commands, messages, cuts, connections, wrong;
} total;

/* ---- what goes wrong ---- */

static void wrong(const struct client *c, const char *what, struct str detail)
{
    atomic_fetch_add(&total.wrong, 1);
    fprintf(stderr, "WRONG: client %u: %s: %.*s\n", c->number, what, (int)(detail.n < 300 ? detail.n : 300), detail.p);
}

static uint64_t draw(struct client *c, uint64_t below) /* xorshift */
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return below ? c->random % below : 0;
}

/* ---- the connection ---- */

static void hang_up(struct client *c) { line_client_hang_up(&c->link, c->cut); }

static bool dial(struct client *c)
{
    bool tls = c->o->tls_port && c->number % 2 == 0;
    c->cut = false;
    atomic_fetch_add(&total.connections, 1);
    return line_client_dial(&c->link, tls ? c->o->tls_port : c->o->port, tls ? c->o->ssl : NULL);
}

/* ---- messages: every byte follows from the number ---- */

static uint64_t id_of(const struct client *c, uint64_t serial) { return (uint64_t)c->number << 32 | serial; }

static void make_message(uint64_t id, struct buf *out)
{
    uint64_t x = (id + 1) * 0x9e3779b97f4a7c15U, dice = (x >> 40) % 100;
    size_t size = dice < 70 ? 300 + (x >> 20) % 6000 : dice < 97 ? 20000 : 150000;
    buf_clear(out);
    buf_printf(
        out,
        "From: Soak <soak@abcd.com>\r\nTo: team@xyz.com\r\nSubject: soak %llu\r\nDate: Thu, 21 May 2026 05:33:29 -0700\r\n"
        "Message-ID: <%llu@soak.test>\r\nX-Soak: %llu\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=s\r\n\r\n"
        "--s\r\nContent-Type: text/plain\r\n\r\n",
        (unsigned long long)id, (unsigned long long)id, (unsigned long long)id);
    while (out->n < size) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        buf_printf(out, "%016llx words of a line %016llx\r\n", (unsigned long long)x, (unsigned long long)~x);
    }
    buf_add_z(out, "--s--\r\n");
}

static bool number_behind(struct str text, struct str name, uint64_t *value)
{
    size_t at = str_find(text, name), n = 0;
    if (at == STR_NPOS)
        return false;
    struct str rest = str_from(text, at + name.n);
    while (n < rest.n && rest.p[n] >= '0' && rest.p[n] <= '9')
        n++;
    return str_to_u64(str_upto(rest, n), value);
}

/* Compares a body with what its X-Soak field says; returns the number in it, or 0. */
static uint64_t check_body(struct client *c, struct str body)
{
    uint64_t id = 0;
    atomic_fetch_add(&total.messages, 1);
    if (!number_behind(body, STR("X-Soak: "), &id)) {
        wrong(c, "a message without its number", body);
        return 0;
    }
    make_message(id, &c->want);
    if (!str_eq(body, buf_str(&c->want)))
        wrong(c, "a message is damaged", str_upto(body, 200));
    return id;
}

/* ---- answers ---- */

struct answer {
    bool ended;                   /* there was none: the connection ended */
    char status[400];             /* the tagged line behind the tag */
    struct item items[ITEMS_MAX]; /* of FETCH: uid, number of the body, \Deleted */
    size_t n;
    unsigned rows; /* untagged lines */
};

static void take_fetch(struct client *c, struct str line, struct str body, struct answer *a)
{
    struct item item = {.deleted = str_find(line, STR("\\Deleted")) != STR_NPOS};
    uint64_t uid = 0;
    if (!number_behind(line, STR("UID "), &uid) || a->n == ITEMS_MAX)
        return;
    item.uid = (uint32_t)uid;
    item.id = body.p ? check_body(c, body) : 0;
    a->items[a->n++] = item;
}

/* An untagged line that has a literal: both are taken as a whole. False: the connection has ended. */
static bool take_literal(struct client *c, struct str line, size_t size, struct answer *a)
{
    char head[400];
    struct str kept = {head, line.n < sizeof head ? line.n : sizeof head};
    memcpy(head, line.p, kept.n);
    while (c->link.end - c->link.at < size)
        if (!line_client_receive(&c->link))
            return false;
    struct str body = str_make(c->link.in + c->link.at, size);
    c->link.at += size;
    if (str_find(kept, STR("BODY[] ")) != STR_NPOS)
        take_fetch(c, kept, body, a);
    return line_client_next(&c->link).p != NULL;
}

static void await(struct client *c, struct answer *a)
{
    char text[16];
    struct str want = str_make(text, (size_t)snprintf(text, sizeof text, "q%u ", c->tag));
    *a = (struct answer){.ended = true};
    for (;;) {
        struct str line = line_client_next(&c->link);
        if (!line.p)
            return;
        if (str_starts(line, want)) {
            a->ended = false;
            snprintf(a->status, sizeof a->status, "%.*s", (int)(line.n - want.n), line.p + want.n);
            return;
        }
        uint64_t size = line_literal(line);
        a->rows++;
        if (size > INPUT_BYTES / 2 || (size > 0 && !take_literal(c, line, (size_t)size, a)))
            return;
        if (size == 0 && str_find(line, STR(" FETCH (")) != STR_NPOS)
            take_fetch(c, line, STR_NONE, a);
    }
}

/* ---- commands ---- */

static void begin(struct client *c)
{
    buf_clear(&c->out);
    buf_printf(&c->out, "q%u ", ++c->tag);
    c->after[0] = c->box[0];
    c->after[1] = c->box[1];
}

/* Closes the connection in the middle of a command, or at once behind it. */
static void cut(struct client *c)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    atomic_fetch_add(&total.cuts, 1);
    c->cut = true;
    c->cut_ms = clock_mono_ms();
    (void)line_client_send(&c->link, str_upto(buf_str(&c->out), draw(c, 2) ? c->out.n : draw(c, c->out.n)));
    if (draw(c, 2))
        clock_sleep_ms((unsigned)draw(c, 20));
    if (draw(c, 2))
        setsockopt(c->link.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    hang_up(c);
}

/* Sends what `out` holds and takes the answer. False: the connection is no more; `after` may have happened. */
static bool speak(struct client *c, struct answer *a)
{
    struct str line = buf_str(&c->out);
    *a = (struct answer){.ended = true};
    if (c->made && draw(c, 1000) < c->cut_permille) {
        cut(c);
        return false;
    }
    atomic_fetch_add(&total.commands, 1);
    if (line_client_send(&c->link, line))
        await(c, a);
    if (a->ended) {
        wrong(c, "the server closed the connection", str_upto(line, str_find_char(line, '\r')));
        hang_up(c);
        return false;
    }
    return true;
}

static bool is_ok(const struct answer *a) { return strncmp(a->status, "OK", 2) == 0; }

/* speak(), and the answer must be OK; then `after` is what there is. */
static bool must(struct client *c, struct answer *a)
{
    if (!speak(c, a))
        return false;
    if (!is_ok(a)) {
        wrong(c, "refused", buf_str(&c->out));
        wrong(c, "the answer", str_of(a->status));
        hang_up(c);
        return false;
    }
    c->box[0] = c->after[0];
    c->box[1] = c->after[1];
    return true;
}

static bool say(struct client *c, const char *text, struct answer *a)
{
    begin(c);
    buf_add_z(&c->out, text);
    buf_add_z(&c->out, "\r\n");
    return must(c, a);
}

/* ---- both mailboxes are what the model says ---- */

static int by_id(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id ? 1 : -1) : 0;
}

static bool same_ids(const struct box *b, const struct answer *a)
{
    struct item x[ITEMS_MAX], y[ITEMS_MAX];
    if (b->n != a->n)
        return false;
    memcpy(x, b->items, sizeof *x * b->n);
    memcpy(y, a->items, sizeof *y * a->n);
    qsort(x, b->n, sizeof *x, by_id);
    qsort(y, a->n, sizeof *y, by_id);
    for (size_t i = 0; i < a->n; i++)
        if (x[i].id != y[i].id)
            return false;
    return true;
}

static bool read_box(struct client *c, unsigned which, struct answer *a)
{
    char line[64];
    snprintf(line, sizeof line, "SELECT %s", c->box[which].name);
    if (!say(c, line, a))
        return false;
    c->selected = which;
    return say(c, "UID FETCH 1:* (UID FLAGS BODY.PEEK[])", a);
}

/* Reads all messages, with every byte, and takes over what it finds where that is allowed. False: the connection is no more. */
static bool compare_boxes(struct client *c)
{
    struct answer found[2];
    struct box before[2] = {c->box[0], c->box[1]}, after[2] = {c->after[0], c->after[1]};
    for (unsigned k = 0; k < 2; k++)
        if (!read_box(c, k, &found[k])) {
            memcpy(c->box, before, sizeof before); /* the question is still open */
            memcpy(c->after, after, sizeof after);
            return false;
        }
    bool is_before = same_ids(&before[0], &found[0]) && same_ids(&before[1], &found[1]);
    bool is_after = same_ids(&after[0], &found[0]) && same_ids(&after[1], &found[1]);
    if (!is_before && !is_after) {
        char text[200];
        snprintf(text, sizeof text, "%zu and %zu, where %zu and %zu were or %zu and %zu", found[0].n, found[1].n, before[0].n,
                 before[1].n, after[0].n, after[1].n);
        wrong(c, "messages lost or doubled", str_of(text));
    }
    for (unsigned k = 0; k < 2; k++) {
        c->box[k].n = found[k].n;
        memcpy(c->box[k].items, found[k].items, sizeof found[k].items);
    }
    return true;
}

static bool log_in(struct client *c)
{
    char line[512], user[256];
    struct answer a;
    const char *mark = strstr(c->o->user, "%u");
    snprintf(user, sizeof user, "%.*s%u%s", mark ? (int)(mark - c->o->user) : 0, c->o->user, (c->number - 1) % c->o->accounts + 1,
             mark ? mark + 2 : "");
    if (!dial(c) || !line_client_next(&c->link).p) {
        wrong(c, "no connection", str_of(strerror(errno)));
        hang_up(c);
        clock_sleep_ms(1000);
        return false;
    }
    snprintf(line, sizeof line, "LOGIN \"%s\" \"%s\"", user, c->o->password);
    if (!say(c, line, &a))
        return false;
    for (unsigned k = 0; !c->made && k < 2; k++) {
        snprintf(line, sizeof line, "CREATE %s", c->box[k].name);
        if (!say(c, line, &a))
            return false;
    }
    c->made = true;
    snprintf(line, sizeof line, "SELECT %s", c->box[0].name);
    return say(c, line, &a);
}

static bool do_harmless(struct client *c);

/* A new connection; `after` of the command that was cut stays a question until both mailboxes were read. */
static bool come_back(struct client *c)
{
    struct box after[2] = {c->after[0], c->after[1]};
    bool ok = log_in(c);
    while (ok && clock_mono_ms() < c->cut_ms + LATE_MS) {
        ok = do_harmless(c);
        clock_sleep_ms((unsigned)draw(c, LATE_MS / 10));
    }
    memcpy(c->after, after, sizeof after);
    return ok && compare_boxes(c);
}

/* ---- what a client does ---- */

static struct box *here(struct client *c) { return &c->after[c->selected]; }
static struct box *there(struct client *c) { return &c->after[!c->selected]; }

static void add_item(struct box *b, uint64_t id, uint64_t uid)
{
    if (b->n < ITEMS_MAX)
        b->items[b->n++] = (struct item){.id = id, .uid = (uint32_t)uid};
}

static void remove_item(struct box *b, size_t i) { b->items[i] = b->items[--b->n]; }

static bool do_append(struct client *c)
{
    struct answer a;
    uint64_t id = id_of(c, ++c->next_id), uid = 0;
    begin(c);
    make_message(id, &c->want);
    buf_printf(&c->out, "APPEND %s (\\Seen) {%zu+}\r\n", here(c)->name, c->want.n);
    buf_add(&c->out, buf_str(&c->want));
    buf_add_z(&c->out, "\r\n");
    add_item(here(c), id, 0);
    if (!must(c, &a))
        return false;
    struct str code = str_of(a.status);
    size_t at = str_find(code, STR("APPENDUID "));
    if (at == STR_NPOS || !number_behind(str_from(code, at + 10 + str_find_char(str_from(code, at + 10), ' ')), STR(" "), &uid))
        wrong(c, "no APPENDUID", code);
    c->box[c->selected].items[c->box[c->selected].n - 1].uid = (uint32_t)uid;
    return true;
}

/* The UID that a copy got: the last number of COPYUID, which MOVE tells in an untagged line. So the other mailbox is read anew. */
static bool do_copy(struct client *c, bool move)
{
    struct answer a;
    begin(c);
    struct box *from = here(c), *to = there(c);
    if (from->n == 0 || to->n >= HELD_MAX)
        return true;
    size_t i = draw(c, from->n);
    buf_printf(&c->out, "UID %s %u %s\r\n", move ? "MOVE" : "COPY", from->items[i].uid, to->name);
    add_item(to, from->items[i].id, 0);
    if (move)
        remove_item(from, i);
    if (!must(c, &a))
        return false;
    c->after[0] = c->box[0];
    c->after[1] = c->box[1];
    return compare_boxes(c);
}

static bool do_delete(struct client *c)
{
    struct answer a;
    begin(c);
    struct box *b = here(c);
    if (b->n == 0)
        return true;
    size_t i = draw(c, b->n);
    unsigned uid = b->items[i].uid;
    buf_printf(&c->out, "UID STORE %u +FLAGS.SILENT (\\Deleted)\r\n", uid);
    b->items[i].deleted = true;
    if (!must(c, &a))
        return false;
    if (draw(c, 2))
        return true; /* EXPUNGE or CLOSE will take it */
    begin(c);
    buf_printf(&c->out, "UID EXPUNGE %u\r\n", uid);
    remove_item(here(c), i);
    return must(c, &a);
}

static void drop_deleted(struct box *b)
{
    for (size_t i = b->n; i-- > 0;)
        if (b->items[i].deleted)
            remove_item(b, i);
}

static bool do_expunge(struct client *c)
{
    struct answer a;
    bool closes = draw(c, 3) == 0;
    begin(c);
    buf_add_z(&c->out, closes ? "CLOSE\r\n" : "EXPUNGE\r\n");
    drop_deleted(here(c));
    return must(c, &a) && (!closes || compare_boxes(c));
}

static bool do_fetch_body(struct client *c)
{
    struct answer a;
    const struct box *b = &c->box[c->selected];
    begin(c);
    if (b->n == 0)
        return true;
    const struct item *i = &b->items[draw(c, b->n)];
    buf_printf(&c->out, "UID FETCH %u (UID FLAGS BODY[])\r\n", i->uid);
    if (!must(c, &a))
        return false;
    for (size_t k = 0; k < a.n; k++) /* news of other messages may come before it */
        if (a.items[k].id == i->id && a.items[k].uid == i->uid)
            return true;
    wrong(c, a.n ? "another message than asked for" : "no message", buf_str(&c->out));
    return true;
}

static bool do_status(struct client *c)
{
    struct answer a;
    begin(c);
    const struct box *b = &c->box[!c->selected];
    buf_printf(&c->out, "STATUS %s (MESSAGES UIDNEXT UNSEEN SIZE)\r\n", b->name);
    return must(c, &a);
}

static bool do_idle(struct client *c)
{
    struct answer a;
    begin(c);
    if (!line_client_send(&c->link, STR("q0 IDLE\r\n")))
        return true;
    struct str line = line_client_next(&c->link);
    while (line.p && line.n && line.p[0] == '*')
        line = line_client_next(&c->link);
    clock_sleep_ms((unsigned)draw(c, c->o->pause_ms + 1));
    buf_clear(&c->out);
    buf_add_z(&c->out, "DONE\r\n");
    c->tag = 0;
    bool ok = must(c, &a);
    c->tag = 1000000 + (unsigned)c->next_id;
    return ok;
}

static bool do_logout(struct client *c)
{
    struct answer a;
    if (say(c, "LOGOUT", &a))
        hang_up(c);
    return false;
}

/* A mailbox made, renamed and removed; after a cut some of it is there already, so NO is an answer too. */
static bool do_mailboxes(struct client *c)
{
    static const char *const forms[] = {"CREATE %sx",      "SUBSCRIBE %sx", "RENAME %sx %sy",
                                        "UNSUBSCRIBE %sx", "DELETE %sy",    "DELETE %sx"};
    struct answer a;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct str form = str_of(forms[i]);
        begin(c);
        for (size_t at; (at = str_find(form, STR("%s"))) != STR_NPOS; form = str_from(form, at + 2)) {
            buf_add(&c->out, str_upto(form, at));
            buf_add_z(&c->out, c->box[0].name);
        }
        buf_add(&c->out, form);
        buf_add_z(&c->out, "\r\n");
        if (!speak(c, &a))
            return false;
        if (strncmp(a.status, "BAD", 3) == 0)
            wrong(c, "refused", str_of(a.status));
    }
    return true;
}

static const char *const harmless[] = {
    "NOOP",
    "CHECK",
    "CAPABILITY",
    "NAMESPACE",
    "ID NIL",
    "LIST \"\" *",
    "LSUB \"\" *",
    "ENABLE CONDSTORE",
    "GETQUOTAROOT INBOX",
    "LIST \"\" % RETURN (STATUS (MESSAGES UNSEEN) SUBSCRIBED CHILDREN)",
    "SEARCH UNSEEN",
    "SEARCH RETURN (COUNT MIN MAX) ALL",
    "UID SEARCH SINCE 1-Jan-2026 SMALLER 5000",
    "SEARCH SUBJECT soak TEXT words",
    "SEARCH OR FLAGGED HEADER X-Soak 1",
    "UID FETCH 1:* FLAGS",
    "UID FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)",
    "UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]",
    "UID FETCH 1:* (BODY.PEEK[TEXT]<100.50>)",
    "UID FETCH 1:* (PREVIEW EMAILID THREADID SAVEDATE)",
    "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 5)",
    "UID FETCH 1:* BINARY.SIZE[1]",
    "UID STORE 1:* +FLAGS (\\Flagged $Soak)",
    "UID STORE 1:* -FLAGS.SILENT (\\Flagged)",
    "UID STORE 1:* (UNCHANGEDSINCE 1) +FLAGS (\\Answered)",
    "STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ SIZE)",
    "GETQUOTA \"\"",
};

static bool do_harmless(struct client *c)
{
    struct answer a;
    begin(c);
    buf_printf(&c->out, "%s\r\n", harmless[draw(c, sizeof harmless / sizeof *harmless)]);
    if (!speak(c, &a))
        return false;
    if (strncmp(a.status, "BAD", 3) == 0)
        wrong(c, str_starts(buf_str(&c->out), STR("q")) ? c->out.p : "refused", str_of(a.status));
    return true;
}

static bool do_one(struct client *c)
{
    uint64_t dice = draw(c, 100);
    bool full = c->box[c->selected].n >= HELD_MAX;
    if (dice < 15 && !full)
        return do_append(c);
    if (dice < 15)
        return do_expunge(c);
    if (dice < 27)
        return do_copy(c, dice < 21);
    if (dice < 40)
        return do_delete(c);
    if (dice < 45)
        return do_expunge(c);
    if (dice < 60)
        return do_fetch_body(c);
    if (dice < 65)
        return do_status(c);
    if (dice < 69)
        return do_idle(c);
    if (dice < 71)
        return do_mailboxes(c);
    if (dice < 73)
        return do_logout(c);
    if (dice < 75)
        return compare_boxes(c);
    return do_harmless(c);
}

static void *live(void *context)
{
    struct client *c = context;
    while (clock_mono_ms() < c->o->end_ms) {
        if (c->link.fd < 0) {
            (void)come_back(c);
            continue;
        }
        (void)do_one(c);
        clock_sleep_ms((unsigned)draw(c, 2 * c->o->pause_ms + 1));
    }
    c->cut_permille = 0; /* the last comparison is not cut */
    for (int tries = 0; c->link.fd < 0 && tries < 3; tries++)
        (void)come_back(c);
    c->after[0] = c->box[0];
    c->after[1] = c->box[1];
    if (c->link.fd < 0 || !compare_boxes(c))
        wrong(c, "the end", STR("no last comparison"));
    hang_up(c);
    return NULL;
}

/* ---- all ---- */

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {{"port", 1, NULL, 'p'},
                                          {"tls-port", 1, NULL, 't'},
                                          {"user", 1, NULL, 'u'},
                                          {"password", 1, NULL, 'w'},
                                          {"clients", 1, NULL, 'c'},
                                          {"accounts", 1, NULL, 'a'},
                                          {"seconds", 1, NULL, 's'},
                                          {"pause", 1, NULL, 'z'},
                                          {"cut", 1, NULL, 'x'},
                                          {"seed", 1, NULL, 'r'},
                                          {0}};
    *o = (struct options){.clients = 200, .accounts = 20, .seconds = 60, .pause_ms = 200, .cut = 10, .seed = 1};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        unsigned *number = c == 'p'   ? &o->port
                           : c == 't' ? &o->tls_port
                           : c == 'c' ? &o->clients
                           : c == 'a' ? &o->accounts
                           : c == 's' ? &o->seconds
                           : c == 'z' ? &o->pause_ms
                           : c == 'x' ? &o->cut
                           : c == 'r' ? &o->seed
                                      : NULL;
        if (number)
            *number = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'u')
            o->user = optarg;
        else if (c == 'w')
            o->password = optarg;
        else
            return false;
    }
    o->ssl = SSL_CTX_new(TLS_client_method()); /* takes any certificate: it tests on loopback */
    return optind == argc && o->ssl && o->port && o->user && o->password && o->clients && o->clients <= CLIENTS_MAX && o->accounts;
}

static bool client_start(struct client *c, struct options *o, unsigned number)
{
    *c = (struct client){.o = o,
                         .number = number,
                         .link = {.fd = -1, .in = malloc(INPUT_BYTES), .in_max = INPUT_BYTES, .patience_s = PATIENCE_S},
                         .cut_permille = o->cut,
                         .random = (o->seed * UINT64_C(1000003) + number) * 0x9e3779b97f4a7c15U | 1,
                         .out = BUF_INIT(MESSAGE_MAX + 4096),
                         .want = BUF_INIT(MESSAGE_MAX)};
    snprintf(c->box[0].name, sizeof c->box[0].name, "Soak%ua", number);
    snprintf(c->box[1].name, sizeof c->box[1].name, "Soak%ub", number);
    memcpy(c->after, c->box, sizeof c->box);
    return c->link.in && pthread_create(&c->thread, NULL, live, c) == 0;
}

int main(int argc, char **argv)
{
    static struct options o;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: see the top of test/tool/imap_soak.c\n");
        return 2;
    }
    struct client *clients = calloc(o.clients, sizeof *clients);
    signal(SIGPIPE, SIG_IGN);
    o.end_ms = clock_mono_ms() + (int64_t)o.seconds * 1000;
    for (unsigned i = 0; i < o.clients; i++)
        if (!clients || !client_start(&clients[i], &o, i + 1)) {
            fprintf(stderr, "imap_soak: out of memory or threads\n");
            return 1;
        }
    for (unsigned i = 0; i < o.clients; i++)
        pthread_join(clients[i].thread, NULL);
    printf("{\"commands\":%llu,\"messages_compared\":%llu,\"connections\":%llu,\"cuts\":%llu,\"wrong\":%llu}\n", total.commands,
           total.messages, total.connections, total.cuts, total.wrong);
    return total.wrong ? 1 : 0;
}
