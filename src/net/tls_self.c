#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

#include "net/tls.h"
#include "rt/random.h"

enum { YEARS = 10 };

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = extension && X509_add_ext(x, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool fill(X509 *x, EVP_PKEY *key, const char *host)
{
    unsigned char serial[16];
    random_bytes(serial, sizeof serial);
    serial[0] &= 0x7f;
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    char names[600];
    snprintf(names, sizeof names, "DNS:%.250s,DNS:localhost,IP:127.0.0.1,IP:::1", host);
    X509_NAME *name = X509_get_subject_name(x);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) && X509_set_version(x, X509_VERSION_3) &&
              X509_gmtime_adj(X509_getm_notBefore(x), -86400) && X509_gmtime_adj(X509_getm_notAfter(x), YEARS * 365 * 86400L) &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)host, (int)strnlen(host, 64), -1, 0) &&
              X509_set_issuer_name(x, name) && X509_set_pubkey(x, key) && add_extension(x, NID_subject_alt_name, names) &&
              add_extension(x, NID_basic_constraints, "critical,CA:TRUE") && X509_sign(x, key, EVP_sha256());
    BN_free(number);
    return ok;
}

/* Written under another name, synced and renamed, so that a crash leaves no half file. */
static bool save(const char *path, mode_t mode, X509 *x, EVP_PKEY *key)
{
    char temporary[4096];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.new", path) >= sizeof temporary)
        return false;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f)
        return false;
    bool ok = (x ? PEM_write_X509(f, x) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL)) == 1;
    ok = fflush(f) == 0 && fsync(fileno(f)) == 0 && ok;
    ok = fclose(f) == 0 && ok;
    return ok && rename(temporary, path) == 0;
}

enum st tls_self_signed(const char *host, const char *chain, const char *key_path, struct err *e)
{
    if (access(chain, R_OK) == 0 && access(key_path, R_OK) == 0)
        return ST_OK;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? X509_new() : NULL;
    bool ok = x && fill(x, key, host) && save(key_path, 0600, NULL, key) && save(chain, 0644, x, NULL);
    int code = errno;
    X509_free(x);
    EVP_PKEY_free(key);
    return ok ? ST_OK : ERR_PUBLIC(e, ST_TEMP, "a self-signed certificate could not be written to %s: %s", chain, strerror(code));
}
