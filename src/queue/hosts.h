/* What is known of other hosts: those that did not answer are left alone for a while, so that not every message tries them (RFC
 * 5321 4.5.4.1). A table of fixed size; the oldest knowledge goes first. Threads: any. */
#ifndef QUEUE_HOSTS_H
#define QUEUE_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct hosts;

struct hosts *hosts_new(size_t entries); /* NULL without memory */
void hosts_free(struct hosts *h);

/* "192.0.2.1:25": may it be tried now? *until_ms (may be NULL): monotonic clock, when it may be. */
bool hosts_usable(struct hosts *h, struct str host, int64_t *until_ms);
void hosts_failed(struct hosts *h, struct str host); /* each failure in a row doubles the pause: 1 minute up to 30 */
void hosts_worked(struct hosts *h, struct str host);
void hosts_forget(struct hosts *h); /* all */

#endif
