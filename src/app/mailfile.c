#include "app/mailfile.h"

#include "format/date.h"
#include "format/header.h"

void mailfile_add_crlf(struct str text, struct buf *out)
{
    while (text.n) {
        const char *lf = memchr(text.p, '\n', text.n);
        size_t n = lf ? (size_t)(lf - text.p) : text.n;
        buf_add(out, str_upto(text, n));
        if (!lf)
            return;
        if (out->n == 0 || out->p[out->n - 1] != '\r')
            buf_add_c(out, '\r');
        buf_add_c(out, '\n');
        text = str_from(text, n + 1);
    }
}

void mailfile_add_lf(struct str text, struct buf *out)
{
    while (text.n) {
        const char *cr = memchr(text.p, '\r', text.n);
        size_t n = cr ? (size_t)(cr - text.p) : text.n;
        buf_add(out, str_upto(text, n));
        if (!cr)
            return;
        if (n + 1 >= text.n || text.p[n + 1] != '\n')
            buf_add_c(out, '\r');
        text = str_from(text, n + 1);
    }
}

int64_t mailfile_received_ms(struct str message)
{
    struct header_field f;
    struct date d;
    struct str header = str_upto(message, header_length(message));
    if (header_find(header, STR("Received"), &f)) {
        size_t semicolon = str_rfind_char(f.value, ';'); /* RFC 5322 3.6.7 */
        if (semicolon != STR_NPOS && date_parse(str_from(f.value, semicolon + 1), &d))
            return d.epoch_s * 1000;
    }
    return header_find(header, STR("Date"), &f) && date_parse(f.value, &d) ? d.epoch_s * 1000 : 0;
}
