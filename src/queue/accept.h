/* Taking responsibility for a message: the one place through which SMTP, LMTP, submission (and later JMAP and the gateways) hand
 * over what they received. Local recipients get one commit each, at once; remote ones, and whatever cannot be settled now, go into
 * the durable queue. When accept_message returns, every recipient has a final answer and everything that was taken is durable
 * (promise 1). */
#ifndef QUEUE_ACCEPT_H
#define QUEUE_ACCEPT_H

#include "auth/directory.h"
#include "base/err.h"

struct queue;

enum accept_notify { ACCEPT_NOTIFY_NEVER = 1, ACCEPT_NOTIFY_SUCCESS = 2, ACCEPT_NOTIFY_FAILURE = 4, ACCEPT_NOTIFY_DELAY = 8 };
enum accept_ret { ACCEPT_RET_DEFAULT, ACCEPT_RET_FULL, ACCEPT_RET_HDRS };
enum accept_body { ACCEPT_BODY_7BIT, ACCEPT_BODY_8BITMIME, ACCEPT_BODY_BINARYMIME };

struct accept_recipient {
    struct str address;           /* canonical local@domain as in RCPT TO */
    struct str orcpt;             /* RFC 3461 "rfc822;..." still xtext-encoded, or empty */
    unsigned notify;              /* enum accept_notify bits; 0: not given */
    struct directory_route route; /* as resolved at RCPT time */
    /* out */
    enum st status; /* ST_OK: taken. Otherwise err says why (LMTP answers each by itself) */
    struct err err;
};

struct accept_envelope {
    struct str reverse_path; /* canonical, empty for <> */
    struct str envid;        /* RFC 3461, xtext, or empty */
    enum accept_ret ret;
    enum accept_body body;
    bool smtputf8;
    bool require_all;     /* SMTP: one answer for all (what fails locally is queued and retried); LMTP: false */
    account_id submitter; /* 0: from outside */
    struct str id;        /* from accept_id: the name that the Received field gives away already; empty: a new one */
    struct accept_recipient *recipients;
    size_t count;
};

/* A name for a message to come, NUL-terminated: in its Received field, the reply, the log and the queue, so that whoever has one of
 * them finds the others. Each is used for one message. */
void accept_id(struct queue *q, char id[24]);

/* `bytes` is the message with its trace fields on top (Received; Return-Path is put by the final delivery in front), borrowed until
 * return. id (out): its name, NUL-terminated. Returns ST_OK if at least one recipient was
 * taken; with require_all all or none (ST_TEMP: nothing was delivered to anybody). */
enum st accept_message(struct queue *q, const struct accept_envelope *envelope, struct str bytes, char id[24],
                       struct err *e) MUST_USE;

#endif
