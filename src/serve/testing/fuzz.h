/* Whole sessions from bytes, for the fuzz targets of the protocols.
 *
 * byte 0: bits 0-1 the profile of SMTP (3: of the demo), bit 2 TLS is there from the start, bit 3 the client is not on loopback,
 * bit 4 it has logged in already (other clients are soon refused by the throttle, or nothing but hashing would be tested).
 * Then what the client sends; 0xff and a letter is an event: T the TLS handshake succeeded, O timeout, S stopping, E end of input,
 * W wake-up.
 *
 * Each input runs twice, once all at once and once byte by byte; the replies must have the same codes. A breach of the session
 * contract aborts. The world is shared between runs and renewed now and then. */
#ifndef SERVE_TESTING_FUZZ_H
#define SERVE_TESTING_FUZZ_H

#include "net/session.h"
#include "serve/services.h"

void fuzz_session(struct session *(*make)(void *context, const struct session_peer *peer), bool pop3, const uint8_t *data,
                  size_t size);

#endif
