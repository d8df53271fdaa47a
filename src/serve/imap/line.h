/* Writing FETCH responses quickly: what is the same for many messages (flags, days, the way from UIDs to sequence numbers) is made
 * once and copied. For one command; the session's map must not change meanwhile (it does not while a command runs). Functions that
 * take `to` write there and return behind what they wrote; the room they need at most is said. */
#ifndef SERVE_IMAP_LINE_H
#define SERVE_IMAP_LINE_H

#include "serve/imap/imap.h"

enum {
    LINE_NUMBER_MAX = 20,
    LINE_FLAGS_MAX = 80 + MAILBOX_KEYWORDS_MAX * (MAILBOX_KEYWORD_LENGTH_MAX + 1),
    LINE_DATE_MAX = 32,
    LINE_MAX = LINE_FLAGS_MAX + 600, /* a whole response of one message without texts; below IMAP_ANSWER_SMALL */
};
_Static_assert((int)LINE_MAX < (int)IMAP_ANSWER_SMALL, "one line fits when there is room");

struct line_flags {
    uint8_t n; /* 0: not made yet */
    char text[63];
};

struct line_writer {
    struct imap_session *s;
    const struct mailbox_info *info; /* the names of keywords; NULL: they could not be read */
    bool mapped, has_recent;
    uint64_t at;                  /* in selected.uids, behind the current run */
    uint32_t first, last, before; /* the current run, and how many members precede it */
    struct line_flags flags[64];  /* by flags and \Recent */
    int64_t day;                  /* whose text `date` is; INT64_MIN: none */
    char date[12];
};

void line_init(struct line_writer *w, struct imap_session *s);

/* The sequence number of a message that the client knows; cheap when asked for in ascending order. */
uint32_t line_sequence(struct line_writer *w, uint32_t uid);

char *line_number(char *to, uint64_t v);                                          /* LINE_NUMBER_MAX */
char *line_flags(struct line_writer *w, char *to, const struct message_entry *m); /* "FLAGS (...)", LINE_FLAGS_MAX */
char *line_date(struct line_writer *w, char *to, int64_t epoch_s);                /* with its quotes, in UTC; LINE_DATE_MAX */
static inline char *line_str(char *to, struct str s)
{
    memcpy(to, s.p, s.n);
    return to + s.n;
}

/* Prints one message into the output, in which there is room for LINE_MAX. */
typedef void line_print(void *context, struct line_writer *w, const struct message_entry *m);
/* Prints the messages in *left, in order, in one walk over the index for as much as there is room, and takes them out of *left;
 * *count grows by those that were there. IMAP_MORE: call again when there is room. IMAP_DONE: *left is empty, or there was an
 * error. */
enum imap_next line_put_all(struct line_writer *w, struct uidset *left, line_print *print, void *context, uint64_t *count,
                            struct err *e);

/* A whole response "* 12 FETCH (UID 40 FLAGS (...) MODSEQ (7))"; `flags` and `modseq` choose. There must be room. */
void line_fetch(struct line_writer *w, const struct message_entry *m, bool flags, bool modseq);

#endif
