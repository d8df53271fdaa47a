/* What rt/settings.c (snapshots) and rt/settings_file.c (the file) share. */
#ifndef RT_SETTINGS_INTERNAL_H
#define RT_SETTINGS_INTERNAL_H

#include "base/arena.h"
#include "rt/settings.h"

struct arena *settings_arena(struct settings *s); /* lives as long as s */
void settings_set_number(const struct settings_row *row, struct settings *s, int64_t v);
void settings_set_text(const struct settings_row *row, struct settings *s, struct str text); /* copies */
void settings_print_number(const struct settings_row *row, int64_t v, struct buf *out);      /* with the largest unit that fits */

#endif
