/* Mail addresses: the envelope's (RFC 5321, 6531) and the header's (RFC 5322, 6532).
 *
 * Strict where a server decides on them (envelope), lenient where it only shows them (header). Pure functions, any thread; all
 * output lives in the caller's arena or is a view into the input. */
#ifndef FORMAT_ADDRESS_H
#define FORMAT_ADDRESS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/rd.h"

/* RFC 5321 4.5.3.1: octets. */
enum { ADDRESS_LOCAL_MAX = 64, ADDRESS_DOMAIN_MAX = 255, ADDRESS_PATH_MAX = 256 };
/* The 64 of a local-part is what everybody must accept, not a maximum (4.5.3.1); signed and encoded sender addresses (VERP, SRS,
 * BATV) are often longer. So only the path counts, unless ADDRESS_LOCAL_64 asks for it: where accounts are made. */

enum address_flag {
    ADDRESS_UTF8 = 1 << 0,     /* RFC 6531: UTF-8 in the local-part, U-labels in the domain */
    ADDRESS_NULL = 1 << 1,     /* a path may be <>: local and domain are empty then */
    ADDRESS_BARE = 1 << 2,     /* the domain may be missing: <Postmaster> (5321 4.1.1.3), VRFY carolyn. domain is empty then */
    ADDRESS_LOCAL_64 = 1 << 3, /* refuse a local-part of more than ADDRESS_LOCAL_MAX bytes */
};

/* One envelope address. Only the parsers below make one (or code that copies one). Both texts live in the parser's arena. */
struct address {
    struct str local;  /* without quotes and backslashes; may hold spaces, '@', never a control character */
    struct str domain; /* canonical: lower case, A-labels ("xn--..."); of a literal with its brackets: "[192.0.2.1]",
                          "[IPv6:2001:db8::1]" */
    bool literal;      /* the domain is an address literal */
};

static inline bool address_is_null(const struct address *a) { return a->local.n == 0 && a->domain.n == 0; }

/* The whole of s is a Mailbox (5321 4.1.2), no brackets: carolyn@xyz.com. ST_PERM with a public sentence, ST_LIMIT if the arena is
 * used up. */
enum st address_parse(struct arena *arena, struct str s, unsigned flags, struct address *out, struct err *e) MUST_USE;
/* The whole of s is a Path: <carolyn@xyz.com>. A source route is accepted and dropped (5321 appendix C). */
enum st address_path_parse(struct arena *arena, struct str s, unsigned flags, struct address *out, struct err *e) MUST_USE;
/* Takes one Path off the cursor and stops behind its '>'. */
enum st address_path_take(struct arena *arena, struct rd *r, unsigned flags, struct address *out, struct err *e) MUST_USE;

/* local@domain with the least quoting that 5321 needs (parse of it gives the same address); nothing for the null address. */
void address_print(const struct address *a, struct buf *out);
/* The same in angle brackets; "<>" for the null address. */
void address_print_path(const struct address *a, struct buf *out);
struct str address_text(struct arena *arena, const struct address *a); /* address_print into the arena; p NULL: no memory */

/* Local-parts bytewise, but "postmaster" in any case (5321 4.5.1); domains are canonical already. */
bool address_equal(const struct address *a, const struct address *b);
bool address_needs_utf8(const struct address *a); /* the local-part is not ASCII, so the next hop must offer SMTPUTF8 */

/* What directories look up: lower case local-part (Unicode simple folding, NFC), '@', domain. Unquoted, so not for printing. */
void address_key(const struct address *a, struct buf *out);

/* "carolyn+lists" at separator '+': user "carolyn", detail "lists". Without a separator, or with an empty user: detail is empty and
 * user is all of it. The first separator counts. RFC 5233. */
void address_split_detail(struct str local, char separator, struct str *user, struct str *detail);

/* A domain name in any form to lower case A-labels, at most 255 bytes, appended. ST_PERM: not a domain name (LDH labels of 1 to
 * 63). U-labels (any non-ASCII byte) are accepted only with ADDRESS_UTF8. No trailing dot. */
enum st address_domain_canonical(struct str domain, unsigned flags, struct buf *out, struct err *e) MUST_USE;
/* For people: U-labels where they are valid, else as it is. */
void address_domain_unicode(struct str domain, struct buf *out);
bool address_domain_valid(struct str domain); /* LDH labels with dots, at most 255 bytes, ASCII */
/* "[192.0.2.1]", "[IPv6:...]" or "[tag:...]" as 5321 4.1.3 has it */
bool address_literal_valid(struct str s);

/* ---- header address lists ---- */

enum address_entry_kind { ADDRESS_MAILBOX, ADDRESS_GROUP_BEGIN, ADDRESS_GROUP_END };

/* One element of a list in the order of the text, groups flattened to begin, members, end (as IMAP ENVELOPE shows them). */
struct address_entry {
    struct address_entry *next;
    enum address_entry_kind kind;
    struct str name; /* display-name (group: its name); quotes, comments and folding removed, encoded-words still encoded. A mailbox
                        without one takes the last comment: carolyn@xyz.com (Carolyn) */
    struct str route;  /* obs-route "@a,@b" without the colon, or empty */
    struct str local;  /* unquoted */
    struct str domain; /* as written, without comments, spaces and folding; a literal with brackets; empty if there is none */
    size_t local_end;  /* offset in the parsed text behind the local-part: where "@domain" belongs if it is missing */
    bool broken;       /* not even RFC 5322's obsolete syntax: what is shown is a guess. Policy must not trust it */
};

struct address_list {
    struct address_entry *first;
    size_t count;     /* entries */
    size_t mailboxes; /* entries that are mailboxes */
    bool truncated;   /* more than the maximum, or the arena was used up: the rest is missing */
};

enum { ADDRESS_LIST_MAX = 1000 }; /* a sensible maximum of entries for one field */

/* Parses the value of From, To, Cc, ... (folded or not). Takes any bytes and never fails: junk yields `broken` entries. Handles
 * display names with dots, 8-bit bytes, unbalanced quotes and brackets, empty members, encoded-words that hold specials, ';' as
 * separator, missing commas. Linear time. */
void address_list_parse(struct arena *arena, struct str value, size_t max, struct address_list *out);
/* The first mailbox, or NULL. */
const struct address_entry *address_list_mailbox(const struct address_list *list);
/* local@domain quoted for a header, without the name; nothing if both are empty. */
void address_entry_print(const struct address_entry *a, struct buf *out);
/* name <local@domain>, the UTF-8 name as atom, quoted-string or encoded-words as needed. */
void address_mailbox_print(struct str name_utf8, const struct address *a, struct buf *out);

#endif
