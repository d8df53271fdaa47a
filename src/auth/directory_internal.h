/* What the files of the directory share: reading records through the cache, and changing one record with retries. */
#ifndef AUTH_DIRECTORY_INTERNAL_H
#define AUTH_DIRECTORY_INTERNAL_H

#include "auth/dircache.h"
#include "auth/dirrecord.h"
#include "format/address.h"
#include "kv/engine.h"

struct directory {
    struct kv *kv;
    struct dircache *cache;
    uint8_t secret[DIRECTORY_SECRET_SIZE];
};

/* Scratch for one parsed address. */
enum { DIRECTORY_ARENA_MAX = 16 << 10, DIRECTORY_KEY_MAX = KV_KEY_MAX };

/* ST_NOTFOUND if there is none. Appends to *value. */
enum st directory_get(struct directory *d, struct str partition, struct str key, struct buf *value, struct err *e) MUST_USE;

/* One record changed under the version of its partition: `edit` sees what is there and says what shall be; called again if
 * somebody else was faster. A text for `value` is built with buf_add. */
enum directory_action { DIRECTORY_KEEP, DIRECTORY_PUT, DIRECTORY_DELETE };
struct directory_edit {
    bool exists;
    struct str old;
    struct buf value;
    enum directory_action action;
};
typedef enum st directory_editor(void *context, struct directory_edit *edit, struct err *e);
enum st directory_change(struct directory *d, struct str partition, struct str key, directory_editor *editor, void *context,
                         struct err *e) MUST_USE;
/* The simple ones. */
enum st directory_write(struct directory *d, struct str partition, struct str key, struct str value, struct err *e) MUST_USE;
enum st directory_erase(struct directory *d, struct str partition, struct str key, struct err *e) MUST_USE;

/* A key and its partition. */
struct directory_place {
    struct dirrecord_partition partition;
    char key[DIRECTORY_KEY_MAX];
    size_t key_n;
};
static inline struct str place_partition(const struct directory_place *p) { return str_of(p->partition.name); }
static inline struct str place_key(const struct directory_place *p) { return (struct str){p->key, p->key_n}; }
/* Of an account or alias record of an address. */
enum st directory_place_address(enum dirrecord_kind kind, const struct address *a, struct directory_place *out,
                                struct err *e) MUST_USE;
enum st directory_place_id(account_id id, struct directory_place *out, struct err *e) MUST_USE;

enum st directory_parse(struct arena *arena, struct str text, struct address *out, struct err *e) MUST_USE;
/* The record of a domain in the arena; ST_NOTFOUND: not ours. */
enum st directory_domain_find(struct directory *d, struct str name, struct arena *arena, struct directory_domain *out,
                              struct err *e) MUST_USE;
/* The account record of a parsed address, texts in the arena; pending ones are not found unless asked for. */
enum st directory_account_get(struct directory *d, const struct address *a, bool pending_too, struct arena *arena,
                              struct dirrecord_account *out, struct err *e) MUST_USE;
enum st directory_alias_get(struct directory *d, const struct address *a, struct arena *arena, struct directory_alias *out,
                            struct err *e) MUST_USE;

#endif
