/* Tables for people: rows of texts, columns as wide as their widest text, numbers to the right. With --json the same rows are
 * printed as one JSON array. */
#ifndef APP_TABLE_H
#define APP_TABLE_H

#include <jansson.h>

#include "base/buf.h"

enum table_kind { TABLE_TEXT, TABLE_NUMBER, TABLE_BYTES, TABLE_LIST };
struct table_column {
    const char *title; /* NULL ends the list */
    const char *key;   /* in the row's JSON object */
    enum table_kind kind;
};

struct table {
    const struct table_column *columns;
    bool json;
    json_t *rows; /* an array */
};

void table_init(struct table *t, const struct table_column *columns, bool json);
void table_add(struct table *t, json_t *row); /* keeps a reference */
void table_sort(struct table *t, const char *key);
void table_print(struct table *t); /* to standard output */
void table_release(struct table *t);

/* "1.5G" */
void table_bytes(uint64_t bytes, char out[16]);

#endif
