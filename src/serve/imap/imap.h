/* The IMAP server: IMAP4rev2 (RFC 9051) and IMAP4rev1 (RFC 3501), one command one file.
 *
 *                     LOGIN, AUTHENTICATE              SELECT, EXAMINE
 *   NOT_AUTHENTICATED ------------------> AUTHENTICATED <-------------> SELECTED       any: LOGOUT, BYE -> CLOSING
 *                                                        CLOSE, UNSELECT
 *
 * Files: frame.c collects one command after the other from the input (literals, limits, streaming), session.c runs it in steps,
 * table.c knows every command, cmd_*.c do them, sync.c tells what other sessions did, reply.c words the answers.
 *
 * A command is a struct imap_command; it lives from its first byte to its tagged reply. Its handler reads c->args (format/
 * imap_parse.h), writes untagged data to the output (imap_put...), and ends with one of
 *
 *   return imap_ok(s, ...) / imap_no(s, ...) / imap_bad(s, ...) / imap_fail(s, &err) / imap_bad_args(s, c);
 *
 * which keep the tagged reply: before it is sent, the session tells the client what changed in the selected mailbox (sync.c). An
 * answer that may be longer than IMAP_ANSWER_SMALL bytes is a cursor: the handler keeps its state in c->state (from s->arena), sets
 * c->resume, and while there is more returns IMAP_MORE as soon as imap_room(s) is false; c->resume is called when there is room
 * again. What the state owns outside the arena (uidsets, bufs) is freed by c->release, which is called however the command ends.
 *
 *   static enum imap_next thing_resume(struct imap_session *s, struct imap_command *c)
 *   {
 *       struct thing *t = c->state;
 *       while (thing_next(t)) {
 *           if (!imap_room(s))
 *               return IMAP_MORE;
 *           imap_putf(s, "* ...\r\n");
 *       }
 *       return imap_ok(s, NULL, "THING completed");
 *   }
 *
 * Threads: one at a time steps a session. Only `news` is touched by others (store/store.h, account_watch). Memory: an idle session
 * costs this struct, its sequence map, and no more: arena, command text and caches are freed after each command. */
#ifndef SERVE_IMAP_IMAP_H
#define SERVE_IMAP_IMAP_H

#include <stdatomic.h>

#include "auth/access.h"
#include "auth/login.h"
#include "format/imap_parse.h"
#include "serve/services.h"
#include "store/message.h"

enum {
    IMAP_LINE_MAX = 60 << 10,    /* bytes of one line of a command, literals apart; RFC 7162 4 asks for 8192 */
    IMAP_PREAUTH_MAX = 16 << 10, /* the same before login */
    IMAP_ARENA_MAX = 16 << 20,   /* bytes of a command's arena */
    IMAP_TAG_MAX = 128,
    IMAP_TAGGED_MAX = 1 << 20,              /* bytes of a tagged reply (COPYUID, MODIFIED) */
    IMAP_ANSWER_SMALL = SESSION_OUTPUT_LOW, /* room that a handler finds when it starts or resumes */
};

/* States, as bits so that the command table can list several. */
enum imap_state {
    IMAP_NOT_AUTHENTICATED = 1 << 0,
    IMAP_AUTHENTICATED = 1 << 1,
    IMAP_SELECTED = 1 << 2,
    IMAP_CLOSING = 1 << 3,
};

/* What the client has asked for by ENABLE (RFC 5161), or by using it (CONDSTORE, RFC 7162 3.1). */
enum imap_enabled {
    IMAP_ENABLED_REV2 = 1 << 0,
    IMAP_ENABLED_UTF8 = 1 << 1, /* UTF8=ACCEPT, RFC 9755 */
    IMAP_ENABLED_CONDSTORE = 1 << 2,
    IMAP_ENABLED_QRESYNC = 1 << 3, /* always with CONDSTORE */
};

enum imap_next {
    IMAP_DONE,  /* the tagged reply is kept */
    IMAP_MORE,  /* call c->resume when the output has drained */
    IMAP_WAIT,  /* call c->line with the next line of the client (AUTHENTICATE, IDLE); c->news after a wake-up */
    IMAP_TLS,   /* as DONE, then the TLS handshake */
    IMAP_CLOSE, /* as DONE, then close */
};

struct imap_session;
struct imap_command;
struct imap_verb; /* table.h */
struct settings;

struct imap_command {
    const struct imap_verb *verb; /* NULL: none yet */
    bool uid;                     /* UID FETCH and the like */
    bool keep_expunges;           /* no EXPUNGE may be told before its reply, although it is a UID command */
    struct imap_args args;        /* behind the command's name; at the end, or at the space before the first argument */
    void *state;                  /* the handler's, in s->arena */
    enum imap_next (*resume)(struct imap_session *s, struct imap_command *c);
    enum imap_next (*line)(struct imap_session *s, struct imap_command *c, struct str line); /* without its CRLF */
    enum imap_next (*news)(struct imap_session *s, struct imap_command *c);
    void (*release)(void *state); /* NULL: nothing to free */
};

/* The selected mailbox as this client knows it. */
struct imap_selected {
    uint32_t id; /* store's; 0: none is selected */
    uint32_t uidvalidity;
    bool read_only;
    uint8_t keyword_count;  /* keywords announced in FLAGS */
    struct uidset uids;     /* what the client was told: message sequence number n is uidset_select(&uids, n) */
    struct uidset expunged; /* part of uids: gone, but the client could not be told yet */
    struct uidset saved;    /* SEARCHRES "$" (RFC 9051 6.4.4.1); may hold UIDs that are gone: imap_set_resolve intersects */
    uint64_t modseq;        /* the client knows all that happened up to here, but for `expunged` */
    uint64_t safe_modseq;   /* the same without exception: what HIGHESTMODSEQ may say (RFC 7162 6) */
    struct uidset recent;   /* rev1: \Recent in this session */
};

/* What sync.c is in the middle of telling. */
struct imap_sync {
    bool active;
    bool expunges; /* they may be told now */
    bool exists;   /* EXISTS is to be told */
    bool keywords_told;
    struct uidset changed; /* flags to tell */
    uint64_t vanished_at;  /* how far `selected.expunged` was told as VANISHED */
    uint64_t modseq;       /* known when all is told */
    struct uidset own;     /* the client knows these as they were at own_modseq */
    uint64_t own_modseq;
};

/* Where the framer is (frame.c). */
enum imap_phase {
    IMAP_PHASE_LINE,    /* waits for a whole line */
    IMAP_PHASE_LITERAL, /* left bytes go into the command's text */
    IMAP_PHASE_STREAM,  /* left bytes go to the verb's stream hook (APPEND) */
    IMAP_PHASE_DISCARD, /* left bytes are thrown away, then SKIP */
    IMAP_PHASE_SKIP,    /* bytes are thrown away up to the line end */
    IMAP_PHASE_RUN,     /* the command runs: IMAP_MORE */
    IMAP_PHASE_WAIT,    /* the command runs and wants a line or news */
    IMAP_PHASE_BEFORE,  /* tells news before the command starts (STORE) */
    IMAP_PHASE_NEWS,    /* the command is done; tells news, then its reply */
    IMAP_PHASE_TLS,
    IMAP_PHASE_CLOSED,
};

struct imap_session {
    struct session base;
    const struct services *services;
    const struct settings *settings; /* a reference */
    bool tls_available;
    bool preauth;
    bool eof;
    bool said_bye;
    enum imap_state state;
    unsigned enabled; /* enum imap_enabled */
    struct identity who;
    struct account *account; /* a reference; NULL before login */
    struct sasl *sasl;

    struct imap_selected selected;
    struct account_watch watch; /* on while a mailbox is selected */
    atomic_bool news;           /* something changed since the last sync; set by other threads */
    atomic_bool idling;         /* wake the owner at news */
    struct imap_sync sync;

    enum imap_phase phase;
    bool text_begun;        /* tag and verb of the command were read */
    bool say_modseq;        /* imap_ok_highest_modseq */
    bool reply_begun;       /* the tagged reply is being written */
    bool news_missed;       /* the store could not say what changed: ask again with the next command */
    uint32_t args_at;       /* where the arguments begin in text */
    uint32_t scanned;       /* bytes of the input in which there is no line end */
    uint64_t left;          /* LITERAL, STREAM, DISCARD: bytes to come */
    char tag[IMAP_TAG_MAX]; /* of the command; "" before it was read */
    struct buf text;        /* the command; empty between commands */
    struct imap_command command;
    struct buf tagged;    /* its reply without the tag: "OK [CODE] text" */
    enum imap_next after; /* what follows the reply: DONE, TLS or CLOSE */
    char tail[24];        /* SKIP: the last bytes of the line, where a literal may be announced */
    uint8_t tail_size;

    struct arena arena;        /* of the command */
    struct mailbox_info *info; /* of the selected mailbox, in the arena; NULL: not read in this command */
    struct buf *out;           /* of this step; NULL between steps */
    unsigned commands, bad_commands, auth_failures;
    uint64_t bytes_in, bytes_out;
    int64_t started_ms;
};

/* ---- output: untagged data; never fails, the output is made so large that what imap_room allows fits ---- */

static inline bool imap_room(const struct imap_session *s) { return buf_room(s->out) >= SESSION_OUTPUT_LOW; }
/* Bytes that may be written before returning IMAP_MORE. */
static inline size_t imap_room_bytes(const struct imap_session *s) { return buf_room(s->out); }
static inline void imap_put(struct imap_session *s, struct str text) { buf_add(s->out, text); }
void imap_putf(struct imap_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void imap_put_string(struct imap_session *s, struct str text);  /* quoted, or a literal where that cannot be */
void imap_put_nstring(struct imap_session *s, struct str text); /* NIL if p is NULL */
void imap_put_astring(struct imap_session *s, struct str text);
void imap_put_mailbox(struct imap_session *s, struct str name); /* UTF-8 or modified UTF-7 as the client wants it */
/* "* LIST (...) "/" name", and the name that the client used if the mailbox is called otherwise: Unicode is kept in NFC (RFC 9051
 * 6.3.9.7). `attributes`: "\\NonExistent" or "". */
void imap_put_list_name(struct imap_session *s, const char *attributes, struct str name, struct str given);
/* The same for IMAP4rev2 clients, and only if the names differ. */
void imap_tell_old_name(struct imap_session *s, const char *attributes, struct str name, struct str given);
/* "* FLAGS (...)" and PERMANENTFLAGS of the selected mailbox. */
void imap_put_flag_names(struct imap_session *s, const struct mailbox_info *info);

/* ---- the tagged reply ---- */

/* `code` is a response code without brackets ("TRYCREATE"), or NULL. Text: one line. */
enum imap_next imap_ok(struct imap_session *s, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
enum imap_next imap_no(struct imap_session *s, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
enum imap_next imap_bad(struct imap_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* OK with a code that was built elsewhere (COPYUID ...). */
enum imap_next imap_ok_code(struct imap_session *s, struct str code, const char *text);
/* The class decides: NO with its code of RFC 5530, or BAD for what only a wrong command can cause. */
enum imap_next imap_fail(struct imap_session *s, const struct err *e);
/* For what imap_set_resolve returned: ST_PERM is BAD, the rest as imap_fail. */
enum imap_next imap_fail_set(struct imap_session *s, const struct err *e);
/* BAD naming what c->args missed. */
enum imap_next imap_bad_args(struct imap_session *s, const struct imap_command *c);
/* Puts "HIGHESTMODSEQ n" into the OK, n being what the client knows after the news before it (RFC 7162 3.2.7, 3.2.8). Call before
 * imap_ok with no other code. */
void imap_ok_highest_modseq(struct imap_session *s);

/* ---- the selected mailbox ---- */

static inline bool imap_is_rev2(const struct imap_session *s) { return s->enabled & IMAP_ENABLED_REV2; }
static inline bool imap_utf8(const struct imap_session *s) { return s->enabled & (IMAP_ENABLED_REV2 | IMAP_ENABLED_UTF8); }
static inline bool imap_condstore(const struct imap_session *s) { return s->enabled & IMAP_ENABLED_CONDSTORE; }
static inline bool imap_qresync(const struct imap_session *s) { return s->enabled & IMAP_ENABLED_QRESYNC; }
/* A CONDSTORE enabling command was used (RFC 7162 3.1): from now on MODSEQ is in every FETCH answer about flags. The first time, a
 * selected mailbox's "* OK [HIGHESTMODSEQ n]" is written. */
void imap_condstore_enable(struct imap_session *s);

static inline uint32_t imap_exists(const struct imap_session *s) { return (uint32_t)uidset_count(&s->selected.uids); }
static inline uint32_t imap_sequence_of(const struct imap_session *s, uint32_t uid) /* 0: the client does not know it */
{
    return uidset_has(&s->selected.uids, uid) ? uidset_rank(&s->selected.uids, uid) : 0;
}
/* The UIDs that a set means, of messages that the client knows: by UID or by sequence number, with '*' and '$'. ST_PERM (BAD): a
 * sequence number that does not exist (RFC 9051 9, seq-number). The caller releases *out. */
enum st imap_set_resolve(struct imap_session *s, const struct imap_set *set, bool uid, struct uidset *out, struct err *e) MUST_USE;
/* A set as such, for UIDs that may be gone (VANISHED); '*' is the highest UID there can be: what was above those that are left is
 * meant too. */
enum st imap_set_raw(struct imap_session *s, const struct imap_set *set, struct uidset *out, struct err *e) MUST_USE;
/* Of a set the members at positions first..last (RFC 9394), counted from 1, or from the end if negative. The caller releases *out.
 */
enum st imap_set_partial(const struct uidset *set, int64_t first, int64_t last, struct uidset *out) MUST_USE;
/* Facts of the selected mailbox, read once in a command; NULL with *e filled. `again`: read anew. */
const struct mailbox_info *imap_selected_info(struct imap_session *s, bool again, struct err *e);
/* Names in a flag list as keyword bits of the selected mailbox; creates missing ones if `create`. Tells the client the new FLAGS.
 */
enum st imap_keyword_bits(struct imap_session *s, const struct imap_flags *flags, bool create, uint64_t *bits,
                          struct err *e) MUST_USE;
/* Leaves the selected mailbox; nothing is said. */
void imap_deselect(struct imap_session *s);

/* May this user do that to the mailbox (0: the account)? Fills *e with ST_DENIED. */
enum st imap_access(struct imap_session *s, enum access_right right, uint32_t mailbox, struct err *e) MUST_USE;
/* By name: mailbox_find and LOOKUP plus `right`; a mailbox without LOOKUP is ST_NOTFOUND, a \NoSelect one too. */
enum st imap_find_mailbox(struct imap_session *s, struct str name, enum access_right right, struct mailbox_info *out,
                          struct err *e) MUST_USE;

/* ---- sync.c: telling what changed ----
 *
 * The session does this around every command (flags IMAP_CMD_... in table.h), so handlers need only this: */

/* The client knows the flags of these messages as they are at mod-sequence `modseq`, because a handler told them or changed them
 * silently: the sync does not tell them again unless they changed after it. (A silent STORE must make sure that nobody else changed
 * the message meanwhile: message_store.unchanged_since = selected.modseq, and no imap_own_change for what was refused by that.)
 * Expunges are never told by a handler: the sync after EXPUNGE and MOVE does it. */
void imap_own_change(struct imap_session *s, const struct uidset *uids, uint64_t modseq);

/* Writes more of "* VANISHED 1:5,9" (`earlier`: "* VANISHED (EARLIER) ..."), in as many lines as the length needs; *at starts at 0.
 * IMAP_MORE: call again when there is room. */
enum imap_next imap_put_vanished(struct imap_session *s, const struct uidset *uids, uint64_t *at, bool earlier);
/* Writes "* 12 FETCH (UID 40 FLAGS (...) MODSEQ (7))", the unsolicited form, MODSEQ if CONDSTORE is on, for the messages in *left,
 * in order, and takes them out of it. IMAP_MORE as above; IMAP_DONE with *e filled: the rest could not be read. */
enum imap_next imap_put_all_flags(struct imap_session *s, struct uidset *left, struct err *e);

/* Begins to tell; `expunges`: EXPUNGE or VANISHED is allowed now (RFC 9051 7.5.1). Then step until IMAP_DONE. */
void imap_sync_begin(struct imap_session *s, bool expunges);
enum imap_next imap_sync_step(struct imap_session *s);

/* After a login: takes over the identity and opens the account. */
enum st imap_session_login(struct imap_session *s, const struct identity *who, struct err *e) MUST_USE;
/* "* BYE text" once; the session closes after the command. */
void imap_say_bye(struct imap_session *s, const char *text);

/* A session that is logged in already: PREAUTH greeting (RFC 9051 7.1.4). `context` as for imap_session_make. */
struct session *imap_session_make_preauth(void *context, const struct session_peer *peer, const struct identity *who);

#endif
