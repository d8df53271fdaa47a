/* Inside store_fsck: what the pages and e-mail records say (the survey), against which everything derived is compared. */
#ifndef STORE_FSCK_H
#define STORE_FSCK_H

#include "store/change.h"

struct survey_mailbox {
    uint32_t id;
    bool live;
    struct record_uids uids;
    uint64_t size_bytes, modseq, keywords;
    uint32_t exists, unseen, deleted, highest_uid;
};
struct survey_entry {
    uint32_t email, mailbox, uid;
};
struct survey_email {
    uint32_t email, size;
    uint32_t mailbox, uid; /* its first place */
    uint64_t thread;
    struct kv_blob_id blob;
};

struct fsck {
    struct fsck_result *out;
    fsck_report *report;
    void *context;
    bool repair, blobs;

    /* of the account that is being checked */
    struct account *a;
    struct tx *tx;
    struct head head; /* as stored */
    struct survey_mailbox *mailboxes;
    size_t mailbox_count;
    struct survey_entry *entries;
    size_t entry_count, entry_cap;
    struct survey_email *emails; /* sorted by id */
    size_t email_count, email_cap;
    struct uidset garbage;
    struct page page;
    struct survey_mailbox *last; /* that the last page belonged to */
    enum st st;
    struct err *e;
    uint64_t findings_before, beyond;
};

/* Reports one line; true if it is to be repaired, which the caller then does. */
bool fsck_found(struct fsck *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for what cannot be repaired from what is there. */
void fsck_beyond(struct fsck *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool fsck_fail(struct fsck *f, enum st s); /* remembers a failure; returns whether to go on */
struct survey_mailbox *fsck_mailbox(struct fsck *f, uint32_t id);
const struct survey_email *fsck_email(const struct fsck *f, uint64_t email);
enum st fsck_scan(struct fsck *f, enum key_type type, kv_visit *visit, void *context) MUST_USE;

enum st fsck_survey(struct fsck *f) MUST_USE;
void fsck_survey_release(struct fsck *f);
enum st fsck_compare(struct fsck *f) MUST_USE;      /* mailboxes, found pages, quota, the head in memory */
enum st fsck_compare_keys(struct fsck *f) MUST_USE; /* blob counts, threads, journal, the rest */

#endif
