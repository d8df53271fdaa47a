/* The client's name, looked up before the greeting (dns/client_name.h). The session waits in SMTP_LOOKUP, and only the session: no
 * thread does. */
#ifndef SERVE_SMTP_CLIENT_H
#define SERVE_SMTP_CLIENT_H

#include "serve/smtp/smtp.h"

/* True: the name is on its way, the session is woken when it is there. False: there is nothing to wait for. */
bool smtp_client_begin(struct smtp_session *s);
bool smtp_client_ready(const struct smtp_session *s);
/* Keeps what is known by now; no wake-up comes after this. */
void smtp_client_end(struct smtp_session *s);
/* Empty: not known. */
struct str smtp_client_name(const struct smtp_session *s);

#endif
