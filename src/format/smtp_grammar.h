/* SMTP command lines, reply lines and EHLO keywords (RFC 5321 4.1, 4.2; parameters of RFC 1870, 3030, 3461, 4954, 6152, 6531, ...).
 * Text into structs; no state, no policy, no replies. Pure, any thread. Texts are views into the line or live in the arena. */
#ifndef FORMAT_SMTP_GRAMMAR_H
#define FORMAT_SMTP_GRAMMAR_H

#include "format/address.h"

enum {
    SMTP_COMMAND_LINE_MAX = 512,                                   /* RFC 5321 4.5.3.1.4, with CRLF; extensions raise it: */
    SMTP_MAIL_LINE_MAX = 512 + 26 + 17 + 500 + 10 + 8 + 100 + 200, /* SIZE, BODY, AUTH, SMTPUTF8, RET, ENVID, others */
    SMTP_AUTH_LINE_MAX = 12288,                                    /* RFC 4954 4 */
    SMTP_PARAMS_MAX = 20,
    SMTP_ENVID_MAX = 100, /* RFC 3461 5.4 */
    SMTP_ORCPT_MAX = 500, /* RFC 3461 4.2 */
};

/* A line without its CRLF: the verb (letters, as written) and what follows the space, without white space at the end. The verb is
 * empty if the line does not begin with a letter. */
void smtp_command_split(struct str line, struct str *verb, struct str *arg);

enum smtp_fault { /* which reply the syntax error deserves */
                  SMTP_FAULT_NONE,
                  SMTP_FAULT_SYNTAX,    /* 501 5.5.2 */
                  SMTP_FAULT_ADDRESS,   /* 501 5.1.7 (sender) or 5.1.3 (recipient) */
                  SMTP_FAULT_PARAMETER, /* 501 5.5.4: a known parameter with a bad value, or twice */
                  SMTP_FAULT_UNKNOWN,   /* 555 5.5.4: a parameter that is not among those offered */
                  SMTP_FAULT_NOT_ASCII, /* 5.6.7: a good address that needs SMTPUTF8, which was not given (RFC 6531 3.5) */
};

enum smtp_param {
    SMTP_PARAM_SIZE = 1 << 0,     /* RFC 1870 */
    SMTP_PARAM_BODY = 1 << 1,     /* RFC 6152, 3030 */
    SMTP_PARAM_SMTPUTF8 = 1 << 2, /* RFC 6531 */
    SMTP_PARAM_AUTH = 1 << 3,     /* RFC 4954 5 */
    SMTP_PARAM_RET = 1 << 4,      /* RFC 3461 */
    SMTP_PARAM_ENVID = 1 << 5,
    SMTP_PARAM_NOTIFY = 1 << 6,
    SMTP_PARAM_ORCPT = 1 << 7,
    SMTP_PARAM_REQUIRETLS = 1 << 8,  /* RFC 8689 */
    SMTP_PARAM_MT_PRIORITY = 1 << 9, /* RFC 6710 */
    SMTP_PARAM_BY = 1 << 10,         /* RFC 2852 */
    SMTP_PARAM_HOLDFOR = 1 << 11,    /* RFC 4865 */
    SMTP_PARAM_HOLDUNTIL = 1 << 12,
    SMTP_PARAM_RRVS = 1 << 13, /* RFC 7293 */
};

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };
enum smtp_notify { SMTP_NOTIFY_NEVER = 1, SMTP_NOTIFY_SUCCESS = 2, SMTP_NOTIFY_FAILURE = 4, SMTP_NOTIFY_DELAY = 8 };

struct smtp_mail { /* MAIL FROM */
    enum smtp_fault fault;
    struct address from;
    unsigned given; /* enum smtp_param bits that were there */
    uint64_t size;
    enum smtp_body body;
    enum smtp_ret ret;
    struct str envid; /* xtext as received (checked) */
    struct str auth;  /* decoded: a mailbox, or a login name as some send it; empty for <> or when absent */
    int priority;     /* MT-PRIORITY -9 .. 9 */
    int64_t by_s;     /* BY seconds */
    char by_mode;     /* 'N' or 'R' */
    bool by_trace;
    uint64_t holdfor_s;   /* HOLDFOR */
    struct str holduntil; /* RFC 3339, not checked further */
};

struct smtp_rcpt { /* RCPT TO */
    enum smtp_fault fault;
    struct address to; /* domain empty: <Postmaster> */
    unsigned given;
    unsigned notify;  /* enum smtp_notify bits */
    struct str orcpt; /* "rfc822;xtext" as received (checked) */
    struct str rrvs;  /* date-time and optional action, not checked further */
};

/* arg is what follows "MAIL " or "RCPT ": "FROM:<...> ...". offered: the parameters that this session may use (enum smtp_param
 * bits); with SMTP_PARAM_SMTPUTF8 given in MAIL, before or behind others, the address may be UTF-8. One space after the colon is
 * tolerated. ST_PERM with out->fault and a public sentence; ST_LIMIT: the arena is used up. */
enum st smtp_mail_parse(struct arena *arena, struct str arg, unsigned offered, struct smtp_mail *out, struct err *e) MUST_USE;
/* utf8: the transaction is SMTPUTF8. */
enum st smtp_rcpt_parse(struct arena *arena, struct str arg, unsigned offered, bool utf8, struct smtp_rcpt *out,
                        struct err *e) MUST_USE;

struct smtp_helo {
    struct str name; /* as given, any bytes but white space and control characters; a literal with brackets */
    bool valid;      /* a domain name or address literal as 5321 has it; many clients send neither */
};
/* The argument of HELO, EHLO, LHLO. ST_PERM: empty, longer than 255, or with white space or control characters. */
enum st smtp_helo_parse(struct str arg, struct smtp_helo *out, struct err *e) MUST_USE;
/* BDAT size [LAST] (RFC 3030). */
enum st smtp_bdat_parse(struct str arg, uint64_t *size, bool *last, struct err *e) MUST_USE;
/* AUTH mechanism [initial-response] (RFC 4954): response.p NULL: none; "=" gives the empty one; still base64. */
enum st smtp_auth_parse(struct str arg, struct str *mechanism, struct str *response, struct err *e) MUST_USE;

/* ---- client side ---- */

struct smtp_enhanced {               /* RFC 3463 */
    uint16_t class, subject, detail; /* class 0: none */
};
/* "5.1.1 text": the code and the rest. False: none there. */
bool smtp_enhanced_take(struct str *text, struct smtp_enhanced *out);

enum smtp_reply_state { SMTP_REPLY_MORE, SMTP_REPLY_DONE, SMTP_REPLY_BAD };
enum { SMTP_REPLY_LINE_MAX = 4096, SMTP_REPLY_LINES_MAX = 500, SMTP_REPLY_TEXT_MAX = 32768 };

struct smtp_reply { /* owns text; init, then feed lines; release */
    int code;       /* 200 .. 599 */
    struct smtp_enhanced enhanced;
    struct buf text; /* the lines without codes, joined by LF; cut at the maximum */
    size_t lines;
};
void smtp_reply_init(struct smtp_reply *r);
void smtp_reply_clear(struct smtp_reply *r); /* for the next reply */
void smtp_reply_release(struct smtp_reply *r);
/* One line without its CRLF. BAD: no reply syntax, another code than the line before, too long or too many lines. */
enum smtp_reply_state smtp_reply_line(struct smtp_reply *r, struct str line);

enum smtp_extension {
    SMTP_EXT_PIPELINING = 1 << 0,
    SMTP_EXT_SIZE = 1 << 1,
    SMTP_EXT_8BITMIME = 1 << 2,
    SMTP_EXT_SMTPUTF8 = 1 << 3,
    SMTP_EXT_STARTTLS = 1 << 4,
    SMTP_EXT_AUTH = 1 << 5,
    SMTP_EXT_DSN = 1 << 6,
    SMTP_EXT_CHUNKING = 1 << 7,
    SMTP_EXT_BINARYMIME = 1 << 8,
    SMTP_EXT_ENHANCEDSTATUSCODES = 1 << 9,
    SMTP_EXT_REQUIRETLS = 1 << 10,
    SMTP_EXT_DELIVERBY = 1 << 11,
    SMTP_EXT_MT_PRIORITY = 1 << 12,
    SMTP_EXT_LIMITS = 1 << 13,
    SMTP_EXT_FUTURERELEASE = 1 << 14,
};
struct smtp_ehlo {
    unsigned extensions;
    uint64_t size_max;               /* 0: not stated */
    char auth[512];                  /* mechanisms, upper case, each with a space before and after; "" if none */
    uint64_t limit_rcpt, limit_mail; /* RFC 9422; 0: not stated */
};
/* Reads a whole EHLO reply text (smtp_reply.text: first line is the greeting). Unknown keywords are ignored. */
void smtp_ehlo_parse(struct str text, struct smtp_ehlo *out);
bool smtp_ehlo_has_auth(const struct smtp_ehlo *ehlo, struct str mechanism);

#endif
