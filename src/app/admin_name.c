/* domain.*, alias.*: the names for which mail is taken. */
#include "app/admin.h"
#include "auth/directory.h"

static enum st domain_put(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct directory_domain d = {0};
    TRY(admin_text(c, "name", true, &d.name, e));
    TRY(admin_text(c, "catch_all", false, &d.catch_all, e));
    TRY(admin_text(c, "alias_of", false, &d.alias_of, e));
    d.is_default = admin_flag(c, "default");
    TRY(directory_domain_put(c->context->services->directory, &d, e));
    admin_done(c, NULL);
    return ST_OK;
}

static bool emit_domain(void *context, const struct directory_domain *d)
{
    admin_row(context, json_pack("{s:o, s:b, s:o, s:o}", "name", admin_json(d->name), "default", d->is_default, "catch_all",
                                 admin_json(d->catch_all), "alias_of", admin_json(d->alias_of)));
    return true;
}

static enum st domain_list(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    TRY(directory_domains(c->context->services->directory, emit_domain, c, e));
    admin_done(c, NULL);
    return ST_OK;
}

static enum st domain_remove(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct str name;
    TRY(admin_text(c, "name", true, &name, e));
    TRY(directory_domain_remove(c->context->services->directory, name, e));
    admin_done(c, NULL);
    return ST_OK;
}

static enum st alias_put(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct directory_alias a = {0};
    DEFER(buf_release) struct buf targets = BUF_INIT(ADMIN_LINE_MAX);
    json_t *list = json_object_get(c->args, "targets"), *one;
    size_t i;
    TRY(admin_text(c, "address", true, &a.address, e));
    ENSURE(json_is_array(list), e, ST_PERM, "targets is not a list");
    json_array_foreach(list, i, one)
    {
        ENSURE(json_is_string(one), e, ST_PERM, "a target is not a text");
        if (i)
            buf_add_c(&targets, '\n');
        buf_add(&targets, str_make(json_string_value(one), json_string_length(one)));
    }
    ENSURE(buf_ok(&targets), e, ST_LIMIT, "too many targets");
    a.targets = buf_str(&targets);
    TRY(directory_alias_put(c->context->services->directory, &a, e));
    admin_done(c, NULL);
    return ST_OK;
}

static bool emit_alias(void *context, const struct directory_alias *a)
{
    json_t *targets = json_array();
    struct str rest = a->targets, line;
    while (str_split(&rest, '\n', &line))
        json_array_append_new(targets, admin_json(line));
    admin_row(context, json_pack("{s:o, s:o}", "address", admin_json(a->address), "targets", targets));
    return true;
}

static enum st alias_list(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct str domain;
    TRY(admin_text(c, "domain", false, &domain, e));
    TRY(directory_aliases(c->context->services->directory, domain, emit_alias, c, e));
    admin_done(c, NULL);
    return ST_OK;
}

static enum st alias_remove(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct str address;
    TRY(admin_text(c, "address", true, &address, e));
    TRY(directory_alias_remove(c->context->services->directory, address, e));
    admin_done(c, NULL);
    return ST_OK;
}

const struct admin_request admin_names[] = {
    {"domain.put", domain_put},
    {"domain.list", domain_list},
    {"domain.remove", domain_remove},
    {"alias.put", alias_put},
    {"alias.list", alias_list},
    {"alias.remove", alias_remove},
    {0},
};
