/* `postrider demo`: the whole system on loopback in one command, with two accounts, no DNS, and a certificate of its own. Same code
 * and settings as production but for addresses, certificate, and that port 25 takes mail that names a local sender. */
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/command.h"
#include "app/supervisor.h"
#include "auth/credential.h"
#include "auth/directory.h"
#include "net/tls.h"
#include "serve/services.h"

enum { DEMO_ACCOUNTS_MAX = 1000000, DEMO_THREADS = 32, DEMO_PORT_BASE = 20000, DEMO_PASSWORD_MAX = 256 };
#define DEMO_PASSWORD "vegetables"

/* Ports are base + the well-known number. */
struct demo_port {
    const char *name, *protocol;
    unsigned offset;
    bool tls;
};
static const struct demo_port ports[] = {
    {"smtp", "smtp", 25, false},
    {"lmtp", "lmtp", 24, false},
    {"submission", "submission", 587, false},
    {"submissions", "submission", 465, true},
    {"pop3", "pop3", 110, false},
    {"pop3s", "pop3", 995, true},
    {"imap", "imap", 143, false},
    {"imaps", "imap", 993, true},
    {"http", "http", 8080, false},
    {"https", "http", 8443, true},
};
enum { PORTS = sizeof ports / sizeof *ports };

struct demo {
    const struct command_line *line;
    char dir[CONFIG_PATH_MAX];
    const char *host, *engine, *relay, *domain, *password, *hostname;
    char hostname_made[300];
    uint64_t base, accounts;
    bool json;
    pid_t pid;         /* the supervisor's, which is to be told to stop */
    atomic_bool *told; /* shared with the server process: it is ready, and said so */
    struct config config;
};

/* ---- options ---- */

static enum command_exit read_options(struct demo *d, const struct command_line *line)
{
    const char *dir = command_value(line, "dir");
    d->line = line;
    d->host = command_value(line, "host") ? command_value(line, "host") : "127.0.0.1";
    d->engine = command_value(line, "engine") ? command_value(line, "engine") : "rocksdb";
    d->relay = command_value(line, "relay");
    d->domain = command_value(line, "domain");
    d->password = command_value(line, "password") ? command_value(line, "password") : DEMO_PASSWORD;
    d->hostname = command_value(line, "hostname");
    d->json = command_flag(line, "json");
    if (!command_number(line, "port-base", DEMO_PORT_BASE, &d->base) ||
        !command_number(line, "accounts", d->domain ? 2 : 0, &d->accounts))
        return EXIT_USAGE;
    if (d->base > 65535 - 8443)
        return command_complain(EXIT_USAGE, "--port-base: at most %d", 65535 - 8443);
    if (d->accounts && !d->domain)
        return command_complain(EXIT_USAGE, "--accounts needs --domain");
    if (d->accounts > DEMO_ACCOUNTS_MAX)
        return command_complain(EXIT_USAGE, "--accounts: at most %d", DEMO_ACCOUNTS_MAX);
    if (strpbrk(d->engine, "\"\\\n") || strpbrk(d->host, "\"\\\n") || (d->hostname && strpbrk(d->hostname, "\"\\\n")))
        return command_complain(EXIT_USAGE, "quotes in an option");
    if (!dir) {
        const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
        if (state && *state)
            snprintf(d->dir, sizeof d->dir, "%s/postrider-demo", state);
        else
            snprintf(d->dir, sizeof d->dir, "%s/.local/state/postrider-demo", home && *home ? home : "/tmp");
    } else {
        snprintf(d->dir, sizeof d->dir, "%s", dir);
    }
    if (!d->hostname) {
        snprintf(d->hostname_made, sizeof d->hostname_made, "mail.%s", d->domain ? d->domain : "abcd.com");
        d->hostname = d->hostname_made;
    }
    return EXIT_DONE;
}

/* ---- the directory ---- */

static enum st write_configuration(struct demo *d, struct err *e)
{
    char path[CONFIG_PATH_MAX + 32];
    DEFER(buf_release) struct buf text = BUF_INIT(64 << 10);
    buf_printf(&text,
               "# Written by `postrider demo` at each start.\n\nglobal {\n  hostname = \"%s\"\n  directory = \"%s\"\n  user = "
               "\"\"\n  engine = "
               "\"%s\"\n}\n\n"
               "certificate \"%s\" {\n  chain = \"%s/tls/chain.pem\"\n  key = \"%s/tls/key.pem\"\n}\n",
               d->hostname, d->dir, d->engine, d->hostname, d->dir, d->dir);
    for (size_t i = 0; i < PORTS; i++)
        buf_printf(&text, "\nlisten \"%s\" {\n  protocol = \"%s\"\n  address = \"%s\"\n  port = %u\n  tls = %s\n}\n", ports[i].name,
                   ports[i].protocol, d->host, (unsigned)d->base + ports[i].offset, ports[i].tls ? "true" : "false");
    snprintf(path, sizeof path, "%s/postrider.conf", d->dir);
    ENSURE(buf_ok(&text), e, ST_LIMIT, "the configuration is too long");
    return config_write_file(path, buf_str(&text), 0600, e);
}

static enum st prepare_directory(struct demo *d, struct err *e)
{
    char full[CONFIG_PATH_MAX], conf[CONFIG_PATH_MAX + 32], tls[CONFIG_PATH_MAX + 32], chain[CONFIG_PATH_MAX + 48],
        key[CONFIG_PATH_MAX + 48];
    TRY(config_make_dir(d->dir, 0700, e));
    TRY(config_real_path(d->dir, full, e));
    ENSURE(!strpbrk(full, "\"\\\n"), e, ST_PERM, "the directory %s cannot be used", d->dir);
    memcpy(d->dir, full, sizeof d->dir);
    snprintf(tls, sizeof tls, "%s/tls", d->dir);
    snprintf(chain, sizeof chain, "%s/chain.pem", tls);
    snprintf(key, sizeof key, "%s/key.pem", tls);
    TRY(config_make_dir(tls, 0700, e));
    TRY(tls_self_signed(d->hostname, chain, key, e));
    TRY(write_configuration(d, e));
    snprintf(conf, sizeof conf, "%s/postrider.conf", d->dir);
    return config_load(conf, &d->config, e);
}

/* ---- accounts ---- */

struct making {
    struct demo *demo;
    const struct services *services;
    struct buf credential;
    atomic_uint next;
    _Atomic(int) failed; /* enum st of the first failure */
    pthread_mutex_t lock;
    struct err err;
};

static enum st add_account(struct making *m, const char *address, const char *name, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(64 << 10);
    struct directory_account found;
    account_id id;
    enum st st = directory_account_find(m->services->directory, str_of(address), &arena, &found, e);
    if (st != ST_NOTFOUND)
        return st;
    struct directory_account a = {.address = str_of(address),
                                  .name = str_of(name),
                                  .password = buf_str(&m->credential),
                                  .quota_bytes = UINT64_MAX,
                                  .quota_messages = UINT64_MAX};
    return directory_account_add(m->services->directory, m->services->store, &a, &id, e);
}

static void *make_accounts(void *context)
{
    struct making *m = context;
    for (;;) {
        char address[400];
        struct err e = {0};
        unsigned n = atomic_fetch_add(&m->next, 1);
        if (n > m->demo->accounts || m->failed)
            return NULL;
        snprintf(address, sizeof address, "user%u@%s", n, m->demo->domain);
        enum st st = add_account(m, address, "", &e);
        if (st != ST_OK) {
            pthread_mutex_lock(&m->lock);
            if (!m->failed)
                m->err = e;
            m->failed = (int)st;
            pthread_mutex_unlock(&m->lock);
        }
    }
}

/* Many commits at a time share their fsyncs, so the accounts are made by many threads. */
static enum st make_numbered(struct making *m, struct err *e)
{
    pthread_t threads[DEMO_THREADS];
    size_t n = 0;
    m->next = 1;
    while (n < DEMO_THREADS && n < m->demo->accounts && pthread_create(&threads[n], NULL, make_accounts, m) == 0)
        n++;
    if (n == 0)
        make_accounts(m);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    if (m->failed && e)
        *e = m->err;
    return (enum st)m->failed;
}

static enum st make_domain(struct making *m, const char *name, bool is_default, struct err *e)
{
    struct directory_domain d = {.name = str_of(name), .is_default = is_default};
    bool there = false;
    TRY(directory_domain_is_local(m->services->directory, d.name, &there, e));
    if (there)
        return ST_OK; /* and maybe changed since the first start */
    return directory_domain_put(m->services->directory, &d, e);
}

static enum st make_postmaster(struct making *m, const char *domain, const char *target, struct err *e)
{
    char address[400];
    snprintf(address, sizeof address, "postmaster@%s", domain);
    struct directory_alias alias = {str_of(address), str_of(target)}, found;
    DEFER(arena_release) struct arena arena = ARENA_INIT(1 << 20);
    enum st st = directory_alias_find(m->services->directory, alias.address, &arena, &found, e);
    if (st != ST_NOTFOUND)
        return st;
    return directory_alias_put(m->services->directory, &alias, e);
}

static enum st make_all(struct making *m, struct err *e)
{
    struct demo *d = m->demo;
    char first[400];
    TRY(credential_make(str_of(d->password), &m->credential, e)); /* one for all: hashing takes time */
    if (!d->domain) {
        TRY(make_domain(m, "abcd.com", true, e));
        TRY(make_domain(m, "xyz.com", false, e));
        TRY(add_account(m, "elinor@abcd.com", "Elinor", e));
        TRY(add_account(m, "carolyn@xyz.com", "Carolyn", e));
        return make_postmaster(m, "abcd.com", "elinor@abcd.com", e);
    }
    snprintf(first, sizeof first, "user1@%s", d->domain);
    TRY(make_domain(m, d->domain, true, e));
    TRY(make_numbered(m, e));
    return d->accounts ? make_postmaster(m, d->domain, first, e) : ST_OK;
}

static enum st prepare(void *context, const struct services *services, struct err *e)
{
    struct making m = {.demo = context, .services = services, .credential = BUF_INIT(CREDENTIAL_MAX)};
    pthread_mutex_init(&m.lock, NULL);
    enum st st = make_all(&m, e);
    pthread_mutex_destroy(&m.lock);
    buf_release(&m.credential);
    return st;
}

/* ---- what it says ---- */

static void print_json(const struct demo *d)
{
    json_t *by_name = json_object();
    for (size_t i = 0; i < PORTS; i++)
        json_object_set_new(by_name, ports[i].name, json_integer((json_int_t)d->base + (json_int_t)ports[i].offset));
    json_t *all = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o}", "pid", (int)d->pid, "version", POSTRIDER_VERSION, "host", d->host,
                            "hostname", d->hostname, "dir", d->dir, "ports", by_name);
    command_print_json(all);
    json_decref(all);
}

static void print_text(const struct demo *d)
{
    char sender[400], reader[400];
    snprintf(sender, sizeof sender, "%s%s", d->domain ? "user1@" : "elinor@abcd.com", d->domain ? d->domain : "");
    snprintf(reader, sizeof reader, "%s%s", d->domain ? d->accounts > 1 ? "user2@" : "user1@" : "carolyn@xyz.com",
             d->domain ? d->domain : "");
    printf("Postrider %s runs; stop it with Ctrl-C. Its mail is kept in %s\n\n", POSTRIDER_VERSION, d->dir);
    for (size_t i = 0; i < PORTS; i++)
        printf("  %-12s %s port %u%s\n", ports[i].name, d->host, (unsigned)d->base + ports[i].offset,
               ports[i].tls ? "  (TLS)" : "");
    printf("\nAccounts: %s and %s, password: %s\n", sender, reader, d->password);
    printf("\nSend a message:\n\n  curl smtp://%s:%u --mail-from %s --mail-rcpt %s -T - <<'END'\n  From: %s\n  To: %s\n"
           "  Subject: hello\n\n  Good morning.\n  END\n",
           d->host, (unsigned)d->base + 25, sender, reader, sender, reader);
    printf("\nRead it:\n\n  curl 'imap://%s:%u/INBOX;MAILINDEX=1' --user %s:%s\n  curl pop3://%s:%u/1 --user %s:%s\n", d->host,
           (unsigned)d->base + 143, reader, d->password, d->host, (unsigned)d->base + 110, reader, d->password);
    printf("\nAdminister it: postrider account list --dir %s\n", d->dir);
    fflush(stdout);
}

static void ready(void *context)
{
    const struct demo *d = context;
    if (atomic_exchange(d->told, true))
        return; /* the server died and was started again */
    if (d->json)
        print_json(d);
    else
        print_text(d);
}

enum command_exit cmd_demo(const struct command_line *line)
{
    struct demo *d = calloc(1, sizeof *d);
    struct err e = {0};
    void *shared = mmap(NULL, sizeof *d->told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!d || shared == MAP_FAILED) {
        free(d);
        return command_complain(EXIT_TEMPORARY, "out of memory");
    }
    d->told = shared;
    d->pid = getpid();
    enum command_exit code = read_options(d, line);
    if (code == EXIT_DONE) {
        enum st st = prepare_directory(d, &e);
        struct server_options options = {.config = &d->config,
                                         .demo = true,
                                         .relay = d->relay,
                                         .admin_fd = -1,
                                         .prepare = prepare,
                                         .ready = ready,
                                         .context = d};
        if (st == ST_OK)
            st = supervisor_run(&options, &e);
        if (st != ST_OK)
            code = command_fail(st, &e);
    }
    munmap(shared, sizeof *d->told);
    free(d);
    return code;
}
