/* Trace fields: Received (RFC 5321 4.4, RFC 3848 and 6531 protocol names, RFC 8314 4.3 TLS clause) and Return-Path. Pure, any
 * thread. */
#ifndef FORMAT_TRACE_H
#define FORMAT_TRACE_H

#include "format/address.h"
#include "format/date.h"

struct trace_protocol {
    bool lmtp, ehlo, tls, auth, utf8;
};
/* "ESMTPSA", "UTF8LMTPS", ... */
struct str trace_with(const struct trace_protocol *p);

struct trace_received {
    struct str helo;        /* what the client called itself; odd bytes are replaced, cut at 255 */
    struct str client_name; /* verified name of the address, or empty ("unknown") */
    struct str client_ip;   /* "192.0.2.1" or "2001:db8::1"; empty: left out (RFC 8314 submission privacy, local) */
    struct str by;          /* this host */
    struct trace_protocol with;
    struct str tls_version, tls_cipher; /* "TLS1.3", "TLS_AES_256_GCM_SHA384"; empty: no clause */
    struct str id;
    struct str for_address; /* local@domain of the only recipient, or empty */
    struct date when;
};
/* Appends the whole field, folded, lines of at most 998 bytes, with its CRLF. */
void trace_received_print(const struct trace_received *t, struct buf *out);
/* "Return-Path: <...>" with CRLF; the null address prints <>. */
void trace_return_path_print(const struct address *from, struct buf *out);
/* The same for a printed address as the queue keeps it; empty: <>. */
void trace_return_path_print_text(struct str from, struct buf *out);
/* Received fields of a message, for loop detection (RFC 5321 6.3); counts at most max. */
size_t trace_received_count(struct str message, size_t max);

#endif
