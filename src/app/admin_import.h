/* mailbox.import: {"do": "mailbox.import", "user": ..., "again": false}, then messages {"append": {"mailbox", "flags", "keywords",
 * "date_ms", "size"}}. They are appended in batches of one commit each, so that a crash or a broken connection leaves whole
 * batches. To go on after that, the same import is started again: messages whose exact bytes the mailbox had when the import began
 * are skipped, each as often as it was there ("again": true takes them once more). The answer is {"imported": N, "skipped": N}.
 * One import at a time for an account: a second one waits up to 30 s for the first to end, then ST_CONFLICT. Quotas do not hold it
 * up. */
#ifndef APP_ADMIN_IMPORT_H
#define APP_ADMIN_IMPORT_H

#include "app/admin.h"

admin_handler admin_import;

#endif
