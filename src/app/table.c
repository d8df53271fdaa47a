#include "app/table.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/command.h"

enum { COLUMNS_MAX = 16, CELL_MAX = 400 };

void table_init(struct table *t, const struct table_column *columns, bool json)
{
    *t = (struct table){columns, json, json_array()};
}

void table_add(struct table *t, json_t *row) { json_array_append(t->rows, row); }

void table_release(struct table *t)
{
    json_decref(t->rows);
    t->rows = NULL;
}

struct sort_row {
    json_t *row;
    const char *key;
};

static int compare_rows(const void *a, const void *b)
{
    const struct sort_row *one = a, *two = b;
    const char *x = json_string_value(json_object_get(one->row, one->key)),
               *y = json_string_value(json_object_get(two->row, two->key));
    return str_cmp(str_of(x ? x : ""), str_of(y ? y : ""));
}

void table_sort(struct table *t, const char *key)
{
    size_t n = json_array_size(t->rows);
    struct sort_row *rows = calloc(n + 1, sizeof *rows);
    json_t *sorted = json_array();
    if (!rows || !sorted) {
        free(rows);
        json_decref(sorted);
        return;
    }
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct sort_row){json_array_get(t->rows, i), key};
    qsort(rows, n, sizeof *rows, compare_rows);
    for (size_t i = 0; i < n; i++)
        json_array_append(sorted, rows[i].row);
    free(rows);
    json_decref(t->rows);
    t->rows = sorted;
}

void table_bytes(uint64_t bytes, char out[16])
{
    static const char units[] = " kMGTPE";
    double v = (double)bytes;
    unsigned u = 0;
    while (v >= 1024 && u < sizeof units - 2) {
        v /= 1024;
        u++;
    }
    if (u == 0)
        snprintf(out, 16, "%llu", (unsigned long long)bytes);
    else
        snprintf(out, 16, v < 10 ? "%.1f%c" : "%.0f%c", v, units[u]);
}

static void cell_list(const json_t *value, char out[CELL_MAX])
{
    size_t i, at = 0;
    json_t *one;
    out[0] = '\0';
    json_array_foreach(value, i, one)
    {
        const char *text = json_string_value(one);
        int n = snprintf(out + at, CELL_MAX - at, "%s%s", i ? ", " : "", text ? text : "?");
        if (n < 0 || (size_t)n >= CELL_MAX - at)
            return;
        at += (size_t)n;
    }
}

static void cell(const struct table_column *c, const json_t *row, char out[CELL_MAX])
{
    const json_t *value = json_object_get(row, c->key);
    out[0] = '\0';
    if (!value || json_is_null(value))
        snprintf(out, CELL_MAX, "-");
    else if (json_is_array(value))
        cell_list(value, out);
    else if (json_is_integer(value) && c->kind == TABLE_BYTES)
        table_bytes((uint64_t)json_integer_value(value), out);
    else if (json_is_integer(value))
        snprintf(out, CELL_MAX, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        snprintf(out, CELL_MAX, "%s", json_is_true(value) ? "yes" : "");
    else if (json_is_string(value))
        snprintf(out, CELL_MAX, "%s", json_string_value(value));
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?'; /* nothing stored may steer the terminal */
}

/* Columns on the screen: characters, not bytes. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_cell(const char *text, int width, bool right, bool last)
{
    int pad = width - width_of(text);
    pad = pad > 0 ? pad : 0;
    if (right)
        printf("%*s%s", pad, "", text);
    else if (last)
        fputs(text, stdout);
    else
        printf("%s%*s", text, pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

void table_print(struct table *t)
{
    int width[COLUMNS_MAX] = {0};
    char text[CELL_MAX];
    size_t columns = 0, i;
    json_t *row;
    if (t->json) {
        command_print_json(t->rows);
        return;
    }
    while (columns < COLUMNS_MAX && t->columns[columns].title) {
        width[columns] = width_of(t->columns[columns].title);
        columns++;
    }
    json_array_foreach(t->rows, i, row)
    {
        for (size_t c = 0; c < columns; c++) {
            cell(&t->columns[c], row, text);
            width[c] = width_of(text) > width[c] ? width_of(text) : width[c];
        }
    }
    if (json_array_size(t->rows))
        for (size_t c = 0; c < columns; c++)
            print_cell(t->columns[c].title, width[c], t->columns[c].kind == TABLE_NUMBER || t->columns[c].kind == TABLE_BYTES,
                       c + 1 == columns);
    json_array_foreach(t->rows, i, row)
    {
        for (size_t c = 0; c < columns; c++) {
            cell(&t->columns[c], row, text);
            print_cell(text, width[c], t->columns[c].kind == TABLE_NUMBER || t->columns[c].kind == TABLE_BYTES, c + 1 == columns);
        }
    }
}
