/* DNS look-ups with DNSSEC status, blocking (each with a deadline) or not: by libunbound, or from a small static zone (tests,
 * demo). CNAMEs are followed. Threads: any.
 *
 * Errors: ST_TEMP (no answer within the time, SERVFAIL, bogus signatures: nothing is known), ST_PERM (not a name), ST_LIMIT
 * (arena). That a name or type does not exist is an answer. */
#ifndef DNS_RESOLVER_H
#define DNS_RESOLVER_H

#include "base/arena.h"
#include "base/err.h"

struct resolver;

enum resolver_type { RESOLVER_A, RESOLVER_AAAA, RESOLVER_MX, RESOLVER_TXT, RESOLVER_TLSA, RESOLVER_PTR };
enum resolver_outcome {
    RESOLVER_FOUND,
    RESOLVER_NO_DATA, /* the name exists, without this type */
    RESOLVER_NO_NAME, /* NXDOMAIN */
};
enum {
    RESOLVER_RECORDS_MAX = 256,
    RESOLVER_NAME_MAX = 255, /* bytes of a printed name */
};

struct resolver_record {
    uint16_t preference;               /* MX */
    uint8_t address[16];               /* A: the first 4 bytes; AAAA */
    struct str name;                   /* MX, PTR: printed, lower case, no dot at the end; the root is "" (RFC 7505 null MX) */
    struct str data;                   /* TXT: the character-strings joined; TLSA: the certificate association data */
    uint8_t usage, selector, matching; /* TLSA */
};
struct resolver_answer {
    enum resolver_outcome outcome;
    bool secure; /* DNSSEC-validated, absence included */
    uint32_t ttl_s;
    struct str name; /* after CNAMEs; in the arena, like the records */
    struct resolver_record *records;
    size_t count;
};

struct resolver_config {
    const char *forwarders;  /* addresses separated by spaces; "" or NULL: those of /etc/resolv.conf; "none": asks the authoritative
                                servers itself */
    const char *anchor_file; /* DNSSEC root keys; NULL: the system's if there are any, otherwise nothing is `secure` */
    unsigned timeout_ms;     /* for one look-up; 0: 10 s */
};
enum st resolver_open(const struct resolver_config *config, struct resolver **out, struct err *e) MUST_USE;
/* A zone as text, one record a line ('#' begins a comment):
 *
 *   example.net   MX    10 mx1.example.net
 *   mx1.example.net A   192.0.2.1            secure
 *   www.example.net CNAME mx1.example.net
 *   txt.example.net TXT "v=spf1 -all"
 *   null.example.net MX 0 .
 *   down.example.net TEMP                    (every look-up fails)
 *   mute.example.net SILENT                  (fails too; one that does not wait gets no answer before resolver_close)
 *
 * Names without a record do not exist. ST_PERM with the number of the bad line. */
enum st resolver_static(struct str zone, struct resolver **out, struct err *e) MUST_USE;
/* As the settings say (dns.zone, dns.forwarders). */
enum st resolver_configured(struct resolver **out, struct err *e) MUST_USE;
void resolver_close(struct resolver *r); /* NULL is fine */

/* name: ASCII (A-labels), with or without a dot at the end. Everything of the answer lies in the arena. */
enum st resolver_lookup(struct resolver *r, enum resolver_type type, struct str name, struct arena *arena,
                        struct resolver_answer *out, struct err *e) MUST_USE;
/* The same without waiting. ST_OK: done is called exactly once, perhaps before the return, in any thread, at the latest by
 * resolver_close; answer is borrowed for the call; NULL: nothing is known. Otherwise it is not called. */
typedef void resolver_done(void *context, const struct resolver_answer *answer);
enum st resolver_start(struct resolver *r, enum resolver_type type, struct str name, resolver_done *done, void *context) MUST_USE;
/* The name to ask for the PTR of a numeric address: "1.2.0.192.in-addr.arpa"; false: not an address. */
bool resolver_reverse_name(const char *numeric, char out[80]);

#endif
