/* Outgoing connections for code that reads like the protocol: blocking, with a deadline for every operation, TLS on demand, lines
 * with a limit.
 *
 * A stream belongs to one thread. Errors are ST_TEMP (the peer, the network, the deadline; text says which) and ST_LIMIT (a line
 * longer than allowed). After an error the stream is of no use but to be closed. */
#ifndef NET_CONNECT_H
#define NET_CONNECT_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/tls.h"

struct stream;

struct stream_address {
    struct sockaddr_storage address;
    socklen_t size;
};
/* From a numeric address ("192.0.2.1", "2001:db8::1") and a port; false if it is not one. */
bool stream_address_make(const char *numeric, uint16_t port, struct stream_address *out);
void stream_address_print(const struct stream_address *a, char out[64]); /* without the port */

/* Connects to the first of the list that answers: the next one is tried when one fails or is silent for 250 ms, while the earlier
 * ones still may answer (RFC 8305). *which: its index. All within timeout_ms. */
enum st stream_connect(const struct stream_address *list, size_t count, unsigned timeout_ms, struct stream **out, size_t *which,
                       struct err *e) MUST_USE;
/* The same, given up within a moment after *stop became true. */
enum st stream_connect_unless(const struct stream_address *list, size_t count, unsigned timeout_ms, const atomic_bool *stop,
                              struct stream **out, size_t *which, struct err *e) MUST_USE;
/* Every operation on it fails from now on, also one that waits. The only call that another thread may make, while the stream lives.
 */
void stream_break(struct stream *s);
void stream_close(struct stream *s); /* says goodbye to TLS without waiting; NULL is fine */

/* Handshake on the open stream. What was received in plain text before is thrown away. `host` for SNI and verification, or NULL. */
enum st stream_start_tls(struct stream *s, struct tls_client *tls, const char *host, unsigned timeout_ms, struct err *e) MUST_USE;
bool stream_is_tls(const struct stream *s);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384" for the log and the trace; "" without TLS. Valid while the stream lives. */
const char *stream_tls_text(const struct stream *s);
SSL *stream_ssl(struct stream *s); /* NULL without TLS; for channel bindings */

/* Appends to a buffer that is sent when it is large, or by stream_flush. */
enum st stream_write(struct stream *s, struct str bytes, unsigned timeout_ms, struct err *e) MUST_USE;
enum st stream_flush(struct stream *s, unsigned timeout_ms, struct err *e) MUST_USE;

/* One line without its LF or CRLF; a view until the next call. At most `max` bytes, or ST_LIMIT. Flushes first. */
enum st stream_read_line(struct stream *s, size_t max, unsigned timeout_ms, struct str *line, struct err *e) MUST_USE;

/* Between transactions: nothing is expected now. False if the peer closed or said something all the same (421, say). */
bool stream_is_quiet(struct stream *s);
/* The address of our side, textual; "" if unknown. */
const char *stream_local(const struct stream *s);

#endif
