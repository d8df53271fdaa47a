/* The one authorisation function below all protocols: (who, right, object), asked at the time of use, deny by default. RFC 4314
 * names the rights. */
#ifndef AUTH_ACCESS_H
#define AUTH_ACCESS_H

#include "auth/login.h"

enum access_right {
    ACCESS_LOOKUP,         /* l */
    ACCESS_READ,           /* r */
    ACCESS_SEEN,           /* s */
    ACCESS_WRITE,          /* w: flags but \Seen and \Deleted */
    ACCESS_INSERT,         /* i */
    ACCESS_CREATE,         /* k */
    ACCESS_DELETE_MAILBOX, /* x */
    ACCESS_DELETE_MESSAGE, /* t */
    ACCESS_EXPUNGE,        /* e */
    ACCESS_ADMIN,          /* a */
};
/* Object: a mailbox of an account; mailbox 0 is the account itself (listing, creating at the top). */
bool access_allowed(const struct identity *who, enum access_right right, account_id account, uint32_t mailbox);

#endif
