/* Mail in files of other programs: mbox (mboxrd, mboxo, mboxcl) and Maildir (also Maildir++ and nested folders), read and written
 * by the import and export commands, a message at a time. In files lines end with LF, in the store with CRLF: the readers and
 * writers turn one into the other. One owner. */
#ifndef APP_MAILFILE_H
#define APP_MAILFILE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { MAILFILE_KEYWORDS_MAX = 16, MAILFILE_KEYWORD_LENGTH = 64 };

struct mailfile_message {
    struct str bytes; /* with CRLF; a view until the next message */
    uint32_t flags;   /* enum message_flag */
    int64_t date_ms;  /* when it was received; 0: unknown */
    size_t keyword_count;
    char keywords[MAILFILE_KEYWORDS_MAX][MAILFILE_KEYWORD_LENGTH + 1];
};

/* Appends with each LF that has no CR before it turned into CRLF; and the other way. */
void mailfile_add_crlf(struct str text, struct buf *out);
void mailfile_add_lf(struct str text, struct buf *out);
/* The time of the newest Received field, else of the Date field; 0. */
int64_t mailfile_received_ms(struct str message);

/* ---- mbox ---- */

struct mboxfile;
enum mboxfile_quoting { MBOXFILE_RD /* one '>' less before any ">From " */, MBOXFILE_O /* only ">From " */, MBOXFILE_NONE };
enum st mboxfile_open(const char *path, enum mboxfile_quoting quoting, size_t message_max, struct mboxfile **out,
                      struct err *e) MUST_USE;
/* ST_NOTFOUND at the end. Fields that carry flags (Status, X-Status, X-Keywords) and mbox housekeeping are taken out. */
enum st mboxfile_next(struct mboxfile *m, struct mailfile_message *out, struct err *e) MUST_USE;
void mboxfile_close(struct mboxfile *m);
uint64_t mboxfile_size(const struct mboxfile *m); /* bytes of the file, and how far we are */
uint64_t mboxfile_position(const struct mboxfile *m);
/* Appends one message in mboxrd form. */
void mboxfile_print(const struct mailfile_message *m, struct buf *out);

/* ---- Maildir ---- */

/* A folder that holds cur/ and new/. */
struct maildir_folder {
    struct str path;
    struct str name; /* UTF-8, '/' between levels; "INBOX" for the top */
};
/* All folders under path, in the arena: Maildir++ (".Sent.2024", modified UTF-7) and nested ones. */
enum st maildir_folders(const char *path, struct arena *arena, struct maildir_folder **out, size_t *count, struct err *e) MUST_USE;

struct maildir;
enum st maildir_open(struct str folder_path, size_t message_max, struct maildir **out, struct err *e) MUST_USE;
size_t maildir_count(const struct maildir *m);
/* In the order of their file names' times. ST_NOTFOUND at the end. A file that vanishes meanwhile is left out. */
enum st maildir_next(struct maildir *m, struct mailfile_message *out, struct err *e) MUST_USE;
void maildir_close(struct maildir *m);

struct maildir_writer;
/* name: as above; makes the folder. */
enum st maildir_create(const char *top, struct str name, struct maildir_writer **out, struct err *e) MUST_USE;
enum st maildir_write(struct maildir_writer *w, const struct mailfile_message *m, struct err *e) MUST_USE;
enum st maildir_finish(struct maildir_writer *w, struct err *e) MUST_USE; /* frees it */

#endif
