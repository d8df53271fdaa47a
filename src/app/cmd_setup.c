/* setup HOST ADDRESS: writes a production configuration with a first domain, account and certificate, and prints what to publish in
 * DNS and how to have the system start it. Nothing that exists is overwritten. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"
#include "app/config.h"
#include "app/link.h"
#include "app/table.h"
#include "base/arena.h"
#include "format/address.h"
#include "net/tls.h"

#define DEFAULT_DIR "/var/lib/postrider"

struct setup {
    const struct command_line *line;
    struct arena arena;
    struct address address;
    char host[256], domain[256], text_address[400];
    char conf[CONFIG_PATH_MAX], dir[CONFIG_PATH_MAX];
    char chain[CONFIG_PATH_MAX], key[CONFIG_PATH_MAX];
    json_t *records;
};

/* ---- names and paths ---- */

static enum st read_names(struct setup *s, struct err *e)
{
    DEFER(buf_release) struct buf host = BUF_INIT(sizeof s->host - 1);
    DEFER(buf_release) struct buf text = BUF_INIT(sizeof s->text_address - 1);
    TRY(address_domain_canonical(str_of(s->line->args[0]), ADDRESS_UTF8, &host, e));
    ENSURE(str_find_char(buf_str(&host), '.') != STR_NPOS, e, ST_PERM, "%s is not a full host name such as mail.example.org",
           s->line->args[0]);
    TRY(address_parse(&s->arena, str_of(s->line->args[1]), ADDRESS_UTF8, &s->address, e));
    ENSURE(!s->address.literal, e, ST_PERM, "the address needs a domain");
    address_print(&s->address, &text);
    ENSURE(buf_ok(&text), e, ST_PERM, "the address is too long");
    memcpy(s->host, host.p, host.n);
    memcpy(s->domain, s->address.domain.p, s->address.domain.n);
    memcpy(s->text_address, text.p, text.n);
    return ST_OK;
}

static enum st put_path(char out[CONFIG_PATH_MAX], const char *a, const char *b, struct err *e)
{
    int n = snprintf(out, CONFIG_PATH_MAX, "%s%s", a, b);
    ENSURE(n > 0 && n < CONFIG_PATH_MAX && !strpbrk(out, "\"\\\n"), e, ST_PERM, "the path %.80s cannot be used", a);
    return ST_OK;
}

static enum st read_paths(struct setup *s, struct err *e)
{
    const char *conf = command_value(s->line, "config"), *dir = command_value(s->line, "data");
    char folder[CONFIG_PATH_MAX], tls[CONFIG_PATH_MAX];
    TRY(put_path(s->conf, conf ? conf : CONFIG_DEFAULT_PATH, "", e));
    TRY(put_path(s->dir, dir ? dir : DEFAULT_DIR, "", e));
    ENSURE(s->conf[0] == '/' && s->dir[0] == '/', e, ST_PERM, "paths must begin with /");
    ENSURE(access(s->conf, F_OK) != 0, e, ST_EXISTS, "%s is there already", s->conf);
    TRY(put_path(folder, s->conf, "", e));
    *strrchr(folder, '/') = '\0';
    TRY(put_path(tls, folder, "/tls", e));
    TRY(put_path(s->chain, tls, "/chain.pem", e));
    TRY(put_path(s->key, tls, "/key.pem", e));
    TRY(config_make_dir(folder, 0755, e));
    return config_make_dir(tls, 0700, e);
}

/* ---- the configuration ---- */

static void print_listen(struct buf *out, const char *name, const char *protocol, const char *address, unsigned port, bool tls)
{
    buf_printf(out, "listen \"%s\" {\n  protocol = \"%s\"\n  address = \"%s\"\n  port = %u\n%s}\n", name, protocol, address, port,
               tls ? "  tls = true\n" : "");
}

static enum st write_configuration(const struct setup *s, struct err *e)
{
    static const struct {
        const char *name, *protocol;
        unsigned port;
        bool tls;
    } services[] = {{"mx", "smtp", 25, false},
                    {"submissions", "submission", 465, true},
                    {"submission", "submission", 587, false},
                    {"imaps", "imap", 993, true},
                    {"imap", "imap", 143, false},
                    {"pop3s", "pop3", 995, true}};
    DEFER(buf_release) struct buf text = BUF_INIT(64 << 10);
    buf_printf(&text,
               "# Postrider's configuration. `postrider help settings` lists all settings, `postrider check` checks this file.\n\n"
               "global {\n  hostname = \"%s\"\n  directory = \"%s\"\n  user = \"%s\"\n  postmaster = \"%s\"\n}\n\n",
               s->host, s->dir, geteuid() == 0 ? "postrider" : "", s->text_address);
    buf_printf(
        &text,
        "# Self-signed to begin with: good enough for other mail servers, not for mail programs. Put the paths of a certificate\n"
        "# for %s here, for example of Let's Encrypt; it is read again by itself when the files change.\n"
        "certificate \"%s\" {\n  chain = \"%s\"\n  key = \"%s\"\n}\n\n",
        s->host, s->host, s->chain, s->key);
    buf_add_z(&text, "# Clear-text passwords are refused without TLS. POP3 is served with TLS only.\n");
    for (size_t i = 0; i < sizeof services / sizeof *services; i++) {
        char six[32];
        snprintf(six, sizeof six, "%s-ipv6", services[i].name);
        print_listen(&text, services[i].name, services[i].protocol, "0.0.0.0", services[i].port, services[i].tls);
        print_listen(&text, six, services[i].protocol, "::", services[i].port, services[i].tls);
    }
    buf_add_z(&text, "\n# Metrics for Prometheus and /health, for this machine only.\n");
    print_listen(&text, "http", "http", "127.0.0.1", 8080, false);
    ENSURE(buf_ok(&text), e, ST_LIMIT, "the configuration is too long");
    return config_write_file(s->conf, buf_str(&text), 0644, e);
}

/* ---- the first domain and account, by the same requests as the commands ---- */

static enum st make_account(struct setup *s, const char *password, struct err *e)
{
    struct link *l = NULL;
    char postmaster[300];
    snprintf(postmaster, sizeof postmaster, "postmaster@%.256s", s->domain);
    TRY(link_open(s->line, &l, e));
    enum st st =
        link_ask(l, json_pack("{s:s, s:s, s:b}", "do", "domain.put", "name", s->domain, "default", 1), NULL, NULL, NULL, e);
    if (st == ST_OK)
        st = link_ask(l, json_pack("{s:s, s:s, s:s}", "do", "account.add", "address", s->text_address, "password", password), NULL,
                      NULL, NULL, e);
    if (st == ST_OK && strcmp(postmaster, s->text_address) != 0)
        st = link_ask(l, json_pack("{s:s, s:s, s:[s]}", "do", "alias.put", "address", postmaster, "targets", s->text_address), NULL,
                      NULL, NULL, e);
    link_close(l);
    return st;
}

/* ---- DNS ---- */

static void add_record(struct setup *s, const char *name, const char *type, const char *value, const char *why)
{
    json_array_append_new(s->records, json_pack("{s:s, s:s, s:s, s:s}", "name", name, "type", type, "value", value, "why", why));
}

/* RFC 6698 usage 3 (this certificate), selector 1 (its key), matching 1 (SHA-256). */
static bool tlsa_of(const char *chain, char out[96])
{
    uint8_t digest[EVP_MAX_MD_SIZE], *der = NULL;
    unsigned n = 0;
    FILE *f = fopen(chain, "re");
    X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    int size = x ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : 0;
    bool ok = size > 0 && EVP_Digest(der, (size_t)size, digest, &n, EVP_sha256(), NULL) == 1;
    int at = snprintf(out, 96, "3 1 1 ");
    for (unsigned i = 0; ok && i < n; i++)
        at += snprintf(out + at, 96 - (size_t)at, "%02x", digest[i]);
    OPENSSL_free(der);
    X509_free(x);
    if (f)
        fclose(f);
    return ok;
}

static void make_records(struct setup *s)
{
    char name[400], value[900], tlsa[96];
    static const struct {
        const char *service;
        unsigned port;
    } srv[] = {{"_submissions", 465}, {"_submission", 587}, {"_imaps", 993}, {"_imap", 143}, {"_pop3s", 995}};
    add_record(s, s->host, "A", "<the IPv4 address of this machine>",
               "and AAAA, if it has IPv6; both need PTR records that lead back");
    snprintf(value, sizeof value, "10 %s.", s->host);
    add_record(s, s->domain, "MX", value, "mail for the domain comes here");
    add_record(s, s->domain, "TXT", "v=spf1 mx -all", "SPF (RFC 7208): only this host sends for the domain");
    if (strcmp(s->host, s->domain) != 0)
        add_record(s, s->host, "TXT", "v=spf1 a -all", "SPF of the host's own name, for bounces");
    snprintf(name, sizeof name, "_dmarc.%s", s->domain);
    snprintf(value, sizeof value, "v=DMARC1; p=none; rua=mailto:%s", s->text_address);
    add_record(s, name, "TXT", value, "DMARC (RFC 9989); raise p to quarantine, then reject, when the reports are clean");
    snprintf(name, sizeof name, "_smtp._tls.%s", s->domain);
    snprintf(value, sizeof value, "v=TLSRPTv1; rua=mailto:%s", s->text_address);
    add_record(s, name, "TXT", value, "TLS reports (RFC 8460)");
    snprintf(name, sizeof name, "_mta-sts.%s", s->domain);
    add_record(s, name, "TXT", "v=STSv1; id=1",
               "MTA-STS (RFC 8461), once https://mta-sts.DOMAIN/.well-known/mta-sts.txt is published (below)");
    for (size_t i = 0; i < sizeof srv / sizeof *srv; i++) {
        snprintf(name, sizeof name, "%s._tcp.%s", srv[i].service, s->domain);
        snprintf(value, sizeof value, "0 1 %u %s.", srv[i].port, s->host);
        add_record(s, name, "SRV", value, "mail programs find the server (RFC 6186, 8314)");
    }
    snprintf(name, sizeof name, "_25._tcp.%s", s->host);
    if (tlsa_of(s->chain, tlsa))
        add_record(s, name, "TLSA", tlsa, "DANE (RFC 7672), only where the zone is signed with DNSSEC; changes with the key");
}

static void print_result(struct setup *s)
{
    static const struct table_column columns[] = {
        {"NAME", "name", TABLE_TEXT}, {"TYPE", "type", TABLE_TEXT}, {"VALUE", "value", TABLE_TEXT}, {0}};
    struct table t;
    size_t i;
    json_t *record;
    table_init(&t, columns, false);
    json_array_foreach(s->records, i, record) table_add(&t, record);
    printf("Configuration: %s\nData:          %s\nCertificate:   %s (self-signed)\nAccount:       %s\n\nPublish in DNS:\n\n",
           s->conf, s->dir, s->chain, s->text_address);
    table_print(&t);
    table_release(&t);
    putchar('\n');
    json_array_foreach(s->records, i, record)
        printf("%-4s %s: %s\n", json_string_value(json_object_get(record, "type")),
               json_string_value(json_object_get(record, "name")), json_string_value(json_object_get(record, "why")));
    printf("\nhttps://mta-sts.%s/.well-known/mta-sts.txt:\n\n  version: STSv1\n  mode: testing\n  mx: %s\n  max_age: 86400\n",
           s->domain, s->host);
    if (geteuid() == 0)
        puts("\nMake the user, and have systemd start the server:\n\n  useradd --system --home-dir /nonexistent --shell "
             "/usr/sbin/nologin postrider");
    printf("\n  /etc/systemd/system/postrider.service:\n\n"
           "  [Unit]\n  Description=Postrider mail server\n  After=network-online.target\n  Wants=network-online.target\n\n"
           "  [Service]\n  Type=notify\n  ExecStart=/usr/local/sbin/postrider serve --config %s\n  ExecReload=/bin/kill -HUP "
           "$MAINPID\n"
           "  Restart=on-failure\n  LimitNOFILE=1048576\n  ProtectHome=yes\n  PrivateTmp=yes\n  ProtectKernelTunables=yes\n"
           "  ProtectKernelModules=yes\n\n  [Install]\n  WantedBy=multi-user.target\n\n  systemctl enable --now postrider\n",
           s->conf);
}

static enum st run(struct setup *s, const char *password, struct err *e)
{
    TRY(read_names(s, e));
    TRY(read_paths(s, e));
    TRY(tls_self_signed(s->host, s->chain, s->key, e));
    TRY(write_configuration(s, e));
    TRY(config_make_dir(s->dir, 0700, e));
    TRY(make_account(s, password, e));
    make_records(s);
    return ST_OK;
}

enum command_exit cmd_setup(const struct command_line *line)
{
    struct err e = {0};
    char password[COMMAND_PASSWORD_MAX];
    struct setup s = {.line = line, .arena = ARENA_INIT(64 << 10), .records = json_array()};
    if (!command_password(line, password)) {
        json_decref(s.records);
        return EXIT_USAGE;
    }
    enum st st = run(&s, password, &e);
    explicit_bzero(password, sizeof password);
    if (st == ST_OK && command_flag(line, "json"))
        command_print_json(s.records);
    else if (st == ST_OK)
        print_result(&s);
    json_decref(s.records);
    arena_release(&s.arena);
    return st == ST_OK ? EXIT_DONE : command_fail(st, &e);
}
