#include "serve/imap/table.h"

#include "base/check.h"
#include "rt/settings.h"

#define ANY  (IMAP_NOT_AUTHENTICATED | IMAP_AUTHENTICATED | IMAP_SELECTED)
#define AUTH (IMAP_AUTHENTICATED | IMAP_SELECTED)

/* Capabilities stand where the code is that makes them true. In alphabetical order by name. */
static const struct imap_verb verbs[] = {
    {"APPEND", imap_cmd_append, AUTH, IMAP_VERB_ARGS, "MULTIAPPEND UIDPLUS", "RFC 9051 6.3.12, 3502",
     "mailbox [(flags)] [date-time] literal...: adds messages", imap_cmd_append_literal, imap_cmd_append_stream},
    {"AUTHENTICATE", imap_cmd_authenticate, IMAP_NOT_AUTHENTICATED, IMAP_VERB_ARGS, NULL, "RFC 9051 6.2.2, 4959",
     "mechanism [initial-response]: logs in by SASL", NULL, NULL},
    {"CAPABILITY", imap_cmd_capability, ANY, 0, NULL, "RFC 9051 6.1.1", "what this server can do", NULL, NULL},
    {"CHECK", imap_cmd_check, IMAP_SELECTED, 0, NULL, "RFC 3501 6.4.1", "nothing; all that was acknowledged is on the disk", NULL,
     NULL},
    {"CLOSE", imap_cmd_close, IMAP_SELECTED, IMAP_VERB_NO_NEWS, NULL, "RFC 9051 6.4.1", "expunges and leaves the mailbox", NULL,
     NULL},
    {"COPY", imap_cmd_copy, IMAP_SELECTED, IMAP_VERB_ARGS | IMAP_VERB_UID, NULL, "RFC 9051 6.4.7", "set mailbox", NULL, NULL},
    {"CREATE", imap_cmd_create, AUTH, IMAP_VERB_ARGS, "CREATE-SPECIAL-USE", "RFC 9051 6.3.4, 6154", "mailbox [(USE (\\Role))]",
     NULL, NULL},
    {"DELETE", imap_cmd_delete, AUTH, IMAP_VERB_ARGS, NULL, "RFC 9051 6.3.5", "mailbox: removes it with its messages", NULL, NULL},
    {"ENABLE", imap_cmd_enable, AUTH, IMAP_VERB_ARGS, "ENABLE CONDSTORE QRESYNC UTF8=ACCEPT", "RFC 9051 6.3.1, 5161",
     "capability...: switches them on", NULL, NULL},
    {"EXAMINE", imap_cmd_examine, AUTH, IMAP_VERB_ARGS | IMAP_VERB_NO_NEWS, NULL, "RFC 9051 6.3.3",
     "mailbox [(parameters)]: as SELECT, read-only", NULL, NULL},
    {"EXPUNGE", imap_cmd_expunge, IMAP_SELECTED, IMAP_VERB_ARGS | IMAP_VERB_OPTIONAL_ARGS | IMAP_VERB_UID, NULL,
     "RFC 9051 6.4.3, 6.4.9", "removes what has \\Deleted; UID EXPUNGE: of a set", NULL, NULL},
    {"FETCH", imap_cmd_fetch, IMAP_SELECTED, IMAP_VERB_ARGS | IMAP_VERB_UID | IMAP_VERB_NO_EXPUNGE, "BINARY PREVIEW SAVEDATE",
     "RFC 9051 6.4.5, 7162", "set items [(CHANGEDSINCE n)]", NULL, NULL},
    {"GETQUOTA", imap_cmd_getquota, AUTH, IMAP_VERB_ARGS, "QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE", "RFC 9208 4.1.1", "root",
     NULL, NULL},
    {"GETQUOTAROOT", imap_cmd_getquotaroot, AUTH, IMAP_VERB_ARGS, NULL, "RFC 9208 4.1.2", "mailbox", NULL, NULL},
    {"ID", imap_cmd_id, ANY, IMAP_VERB_ARGS, "ID", "RFC 2971", "(name value...) or NIL: who are you", NULL, NULL},
    {"IDLE", imap_cmd_idle, AUTH, IMAP_VERB_NO_NEWS, "IDLE", "RFC 9051 6.3.13", "waits for news until DONE", NULL, NULL},
    {"LIST", imap_cmd_list, AUTH, IMAP_VERB_ARGS, "LIST-EXTENDED LIST-STATUS SPECIAL-USE CHILDREN", "RFC 9051 6.3.9, 5258, 5819",
     "[(selection)] reference patterns [RETURN (options)]", NULL, NULL},
    {"LOGIN", imap_cmd_login, IMAP_NOT_AUTHENTICATED, IMAP_VERB_ARGS, NULL, "RFC 9051 6.2.3", "user password", NULL, NULL},
    {"LOGOUT", imap_cmd_logout, ANY, IMAP_VERB_NO_NEWS, NULL, "RFC 9051 6.1.3", "says good-bye", NULL, NULL},
    {"LSUB", imap_cmd_lsub, AUTH, IMAP_VERB_ARGS, NULL, "RFC 3501 6.3.9", "reference pattern: subscribed mailboxes", NULL, NULL},
    {"MOVE", imap_cmd_move, IMAP_SELECTED, IMAP_VERB_ARGS | IMAP_VERB_UID, "MOVE", "RFC 9051 6.4.8, 6851", "set mailbox", NULL,
     NULL},
    {"NAMESPACE", imap_cmd_namespace, AUTH, 0, "NAMESPACE", "RFC 9051 6.3.10", "where mailboxes are", NULL, NULL},
    {"NOOP", imap_cmd_noop, ANY, 0, NULL, "RFC 9051 6.1.2", "nothing, but news are told", NULL, NULL},
    {"RENAME", imap_cmd_rename, AUTH, IMAP_VERB_ARGS, NULL, "RFC 9051 6.3.6", "mailbox mailbox", NULL, NULL},
    {"SEARCH", imap_cmd_search, IMAP_SELECTED, IMAP_VERB_ARGS | IMAP_VERB_UID | IMAP_VERB_NO_EXPUNGE,
     "ESEARCH SEARCHRES WITHIN PARTIAL", "RFC 9051 6.4.4, 4731, 5182", "[RETURN (options)] [CHARSET name] keys", NULL, NULL},
    {"SELECT", imap_cmd_select, AUTH, IMAP_VERB_ARGS | IMAP_VERB_NO_NEWS, NULL, "RFC 9051 6.3.2, 7162", "mailbox [(parameters)]",
     NULL, NULL},
    {"STARTTLS", imap_cmd_starttls, IMAP_NOT_AUTHENTICATED, 0, NULL, "RFC 9051 6.2.1", "begins TLS", NULL, NULL},
    {"STATUS", imap_cmd_status, AUTH, IMAP_VERB_ARGS, "STATUS=SIZE OBJECTID", "RFC 9051 6.3.11", "mailbox (items)", NULL, NULL},
    {"STORE", imap_cmd_store, IMAP_SELECTED, IMAP_VERB_ARGS | IMAP_VERB_UID | IMAP_VERB_NO_EXPUNGE | IMAP_VERB_NEWS_BEFORE, NULL,
     "RFC 9051 6.4.6, 7162", "set [(UNCHANGEDSINCE n)] [+|-]FLAGS[.SILENT] flags", NULL, NULL},
    {"SUBSCRIBE", imap_cmd_subscribe, AUTH, IMAP_VERB_ARGS, NULL, "RFC 9051 6.3.7", "mailbox", NULL, NULL},
    {"UNSELECT", imap_cmd_unselect, IMAP_SELECTED, IMAP_VERB_NO_NEWS, "UNSELECT", "RFC 9051 6.4.2",
     "leaves the mailbox without expunging", NULL, NULL},
    {"UNSUBSCRIBE", imap_cmd_unsubscribe, AUTH, IMAP_VERB_ARGS, NULL, "RFC 9051 6.3.8", "mailbox", NULL, NULL},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

const struct imap_verb *imap_table_find(struct str name)
{
    size_t from = 0, to = VERBS;
    while (from < to) {
        size_t middle = (from + to) / 2;
        int c = str_cmp_nocase(name, str_of(verbs[middle].name));
        if (c == 0)
            return &verbs[middle];
        if (c < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return NULL;
}

const struct imap_verb *imap_table_get(size_t index) { return index < VERBS ? &verbs[index] : NULL; }
size_t imap_table_index(const struct imap_verb *v) { return (size_t)(v - verbs); }

/* ---- capabilities ---- */

static void before_login(struct imap_session *s, struct buf *out)
{
    const struct session_peer *peer = s->base.peer;
    if (s->tls_available && !peer->tls.active)
        buf_add_z(out, " STARTTLS");
    if (!auth_clear_text_allowed(peer))
        buf_add_z(out, " LOGINDISABLED");
    size_t at = out->n;
    buf_add_c(out, ' ');
    auth_mechanisms(s->services->auth, peer, "AUTH=", " ", out);
    if (out->n == at + 1)
        buf_cut(out, at);
}

/* The same before and after the login, but for what concerns the login: clients that ask only once see all. */
void imap_table_capabilities(struct imap_session *s, struct buf *out)
{
    buf_add_z(out, "IMAP4rev1 IMAP4rev2 SASL-IR ");
    buf_add_z(out, s->settings->imap_literal_minus ? "LITERAL-" : "LITERAL+"); /* RFC 7888 5: never both */
    if (s->state == IMAP_NOT_AUTHENTICATED)
        before_login(s, out);
    for (size_t i = 0; i < VERBS; i++) {
        if (!verbs[i].capabilities)
            continue;
        buf_add_c(out, ' ');
        buf_add_z(out, verbs[i].capabilities);
    }
    buf_printf(out, " APPENDLIMIT=%lld", (long long)s->settings->message_size_max); /* RFC 7889 */
}
