/* Background work of one account. */
#ifndef STORE_CARE_H
#define STORE_CARE_H

#include "store/account.h"

/* One commit's worth; *more says whether to call again. */
enum st account_care(struct account *a, bool *more, struct err *e) MUST_USE;

enum st garbage_decode(struct str value, struct uidset *into, struct err *e) MUST_USE; /* KEY_GARBAGE */

#endif
