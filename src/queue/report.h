/* Reports to the sender (RFC 3461, 3464) as entries of the queue, made in the commit that settles what they report: so there is
 * neither a result without its report nor a report twice. Never for a null reverse-path (RFC 5321 6.1, 4.5.5). */
#ifndef QUEUE_REPORT_H
#define QUEUE_REPORT_H

#include "format/dsn.h"
#include "queue/attempt.h"

enum { REPORTS_MAX = 3 }; /* of one settling: failures, delays, successes */

struct report {
    struct buf bytes;  /* Return-Path line and message */
    struct buf record; /* encoded entry */
    struct shard_change change;
    struct shard_blob blob;
    char domain[RECORD_DOMAIN_MAX + 1];
};

/* Does the sender want to hear of this (RFC 3461 5.2)? */
bool report_wanted(const struct record *record, const struct record_recipient *r, enum dsn_action action);

/* Builds a report about the recipients whose actions[i] is one of the bits 1 << enum dsn_action in `which`; actions[i] < 0: none.
 * *made false: there is nobody to tell (it was logged). Release in any case. */
enum st report_build(struct report *out, const struct attempt *a, const struct record_recipient *recipients, const int *actions,
                     unsigned which, bool *made, struct err *e) MUST_USE;
void report_release(struct report *r);

#endif
