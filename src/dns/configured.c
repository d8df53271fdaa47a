/* The resolver that the settings ask for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "dns/resolver.h"
#include "rt/settings.h"

enum { ZONE_FILE_MAX = 1 << 20 };

static enum st read_file(const char *path, struct buf *out, struct err *e)
{
    FILE *f = fopen(path, "re");
    ENSURE(f, e, ST_PERM, "dns.zone: cannot open %s: %s", path, strerror(errno));
    char *to = buf_reserve(out, ZONE_FILE_MAX);
    size_t n = to ? fread(to, 1, ZONE_FILE_MAX, f) : 0;
    bool bad = !to || ferror(f) || n == ZONE_FILE_MAX;
    fclose(f);
    ENSURE(!bad, e, ST_PERM, "dns.zone: cannot read %s, or it is larger than 1 MB", path);
    buf_grew(out, n);
    return ST_OK;
}

static enum st open_with(const struct settings *settings, struct resolver **out, struct err *e)
{
    if (settings->dns_zone[0]) {
        DEFER(buf_release) struct buf text = BUF_INIT(ZONE_FILE_MAX);
        TRY(read_file(settings->dns_zone, &text, e));
        return resolver_static(buf_str(&text), out, e);
    }
    struct resolver_config config = {.forwarders = settings->dns_forwarders, .timeout_ms = (unsigned)settings->dns_timeout_ms};
    return resolver_open(&config, out, e);
}

enum st resolver_configured(struct resolver **out, struct err *e)
{
    const struct settings *settings = settings_current();
    *out = NULL;
    enum st st = open_with(settings, out, e);
    settings_unref(settings);
    return st;
}
