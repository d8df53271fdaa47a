#include "auth/access.h"

bool access_allowed(const struct identity *who, enum access_right right, account_id account, uint32_t mailbox)
{
    (void)right, (void)mailbox;
    /* Everybody has every right in the own account, and none in another's: sharing (RFC 4314) is not there yet, and what is not
     * granted is denied. */
    return who && who->account != 0 && who->account == account;
}
