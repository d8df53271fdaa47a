#include "kv/rocks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "kv/rocks_crc32c.h"
#include "kv/rocks_key.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "rt/metrics.h"
#include "rt/waiting.h"

enum {
    REOPEN_AFTER_MS = 15000, /* RocksDB tries by itself every 5 s when a disk was full */
    REOPEN_EVERY_MS = 5000,
    REOPEN_WAIT_MS = 2000,        /* for the calls that are inside */
    BLOCK_CACHE_BYTES = 32 << 20, /* unless configured */
    UNPACKED_BYTES = 8 << 20,     /* the same, of chunks */
    UNPACKED_SHARD_BITS = 2,
    SPARE_BATCH_BYTES = 256 << 10,
    CHUNK_BUCKETS = 16 << 10, /* of a memtable of 32 MB; a bucket has the chunks of one blob, rarely of two */
    CHUNK_HEIGHT = 4,
    CHUNK_BRANCHING = 4,
    DISK_CHECK_EVERY_MS = 1000,
    DISK_CHECK_EVERY_BYTES = 4 << 20,
    DISK_RESERVE_BYTES = 256 << 20, /* or a twentieth of the disk: what a recovery may have to write (max_total_wal_size) */
};

/* Filters of memtables, as a part of the size of these: most keys that are asked for were never written. */
static const double META_FILTER = 0.02, INFO_FILTER = 0.02;

static const char *const family_names[ROCKS_FAMILIES] = {"default", "meta", "info", "chunk"};

static int64_t now_ms(void) { return clock_mono_ms() + 1; } /* 0 means never */

static bool error_is(const char *error, const char *part) { return strstr(error, part) != NULL; }

enum st rocks_error(const char *doing, char *error, struct err *e)
{
    if (!error)
        return ST_OK;
    bool corrupt = strncmp(error, "Corruption", 10) == 0;
    enum st s = corrupt ? ERR(e, ST_CORRUPT, "stored data is damaged", "%s: %s", doing, error)
                        : ERR(e, ST_TEMP, "storage is temporarily not available", "%s: %s", doing, error);
    rocksdb_free(error);
    return s;
}

/* ---- options ---- */

/* The prefix of a META key is the name of its partition with the NUL. */
static char *partition_prefix(void *state, const char *key, size_t n, size_t *prefix_n)
{
    (void)state;
    const char *nul = memchr(key, '\0', n);
    *prefix_n = nul ? (size_t)(nul - key) + 1 : n;
    return (char *)(uintptr_t)key;
}
static unsigned char partition_in_domain(void *state, const char *key, size_t n)
{
    (void)state;
    return memchr(key, '\0', n) != NULL;
}
static unsigned char partition_in_range(void *state, const char *key, size_t n)
{
    (void)state;
    return n > 0 && key[n - 1] == '\0';
}
static const char *partition_name(void *state)
{
    (void)state;
    return "postrider.partition";
}
static void partition_destroy(void *state) { (void)state; }

/* whole_keys: filters know keys, and prefixes where the family has an extractor; else prefixes only. */
static void set_table(struct rocks *r, rocksdb_options_t *o, size_t block_bytes, bool whole_keys)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(t, r->cache);
    rocksdb_block_based_options_set_block_size(t, block_bytes);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_whole_key_filtering(t, whole_keys);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1); /* so that the cache bounds them too */
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    /* In pieces: the index or filter of a large file as one block does not fit into a shard of a small cache, and was read from the
     * file again for every single key. */
    rocksdb_block_based_options_set_index_type(t, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(t, 1);
    rocksdb_block_based_options_set_metadata_block_size(t, 8 << 10);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
}

static void set_database(struct rocks *r, rocksdb_options_t *o, unsigned threads)
{
    (void)r;
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_create_missing_column_families(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_point_in_time_recovery);
    rocksdb_options_set_max_background_jobs(o, threads ? (int)threads : 2);
    rocksdb_options_set_max_open_files(o, 256);
    rocksdb_options_set_max_file_opening_threads(o, 1);
    rocksdb_options_set_db_write_buffer_size(o, 48 << 20); /* all families together */
    rocksdb_options_set_max_total_wal_size(o, 128 << 20);
    rocksdb_options_set_allow_concurrent_memtable_write(o, 0);    /* the leader of a group does it: fewer wake-ups */
    rocksdb_options_set_enable_write_thread_adaptive_yield(o, 0); /* waiting writers sleep: the wait is an fsync long */
    rocksdb_options_set_bytes_per_sync(o, 1 << 20);               /* table files reach the disk bit by bit, not in one burst */
    rocksdb_options_set_info_log_level(o, 2);                     /* warnings */
    rocksdb_options_set_max_log_file_size(o, 1 << 20);
    rocksdb_options_set_keep_log_file_num(o, 4);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
}

static void set_memtable_filter(rocksdb_options_t *o, double part)
{
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, part);
    rocksdb_options_set_memtable_whole_key_filtering(o, 1);
}

static void set_meta(struct rocks *r, rocksdb_options_t *o)
{
    set_table(r, o, 8 << 10, true);
    rocksdb_options_set_write_buffer_size(o, 16 << 20);
    rocksdb_options_set_max_write_buffer_number(o, 3);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_bottommost_compression(o, rocksdb_zstd_compression);
    set_memtable_filter(o, META_FILTER);
    rocksdb_options_add_compact_on_deletion_collector_factory(o, 4096, 2048); /* journals: delete as much as they write */
    rocksdb_options_set_prefix_extractor(o, rocksdb_slicetransform_create(NULL, partition_destroy, partition_prefix,
                                                                          partition_in_domain, partition_in_range, partition_name));
}

static void set_info(struct rocks *r, rocksdb_options_t *o)
{
    set_table(r, o, 4 << 10, true);
    rocksdb_options_set_write_buffer_size(o, 8 << 20);
    rocksdb_options_set_max_write_buffer_number(o, 2);
    set_memtable_filter(o, INFO_FILTER);
    rocksdb_options_set_compression(o, rocksdb_no_compression); /* digests */
    rocksdb_options_set_prefix_extractor(o, rocksdb_slicetransform_create_fixed_prefix(KV_BLOB_ID_SIZE));
}

/* Bytes of mail are written to blob files once, when a memtable is flushed; compaction moves only keys. */
static void set_chunk(struct rocks *r, rocksdb_options_t *o)
{
    set_table(r, o, 4 << 10, false);
    rocksdb_options_set_write_buffer_size(o, 32 << 20);
    rocksdb_options_set_max_write_buffer_number(o, 3);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_enable_blob_files(o, 1);
    rocksdb_options_set_min_blob_size(o, 1024);
    rocksdb_options_set_blob_file_size(o, 256 << 20);
    rocksdb_options_set_blob_compression_type(o, rocksdb_lz4_compression);
    rocksdb_options_add_compact_on_deletion_collector_factory(o, 1024, 512); /* so that deleted mail frees its blob files */
    rocksdb_options_set_enable_blob_gc(o, 1);
    rocksdb_options_set_blob_gc_age_cutoff(o, 0.25);
    rocksdb_options_set_blob_gc_force_threshold(o, 0.5);
    rocksdb_options_set_blob_cache(o, r->unpacked);
    /* Only single keys are asked for, and new mail is what is read most: the memtable is a hash table by digest. Put in order when
     * it is flushed. */
    rocksdb_options_set_prefix_extractor(o, rocksdb_slicetransform_create_fixed_prefix(KV_BLOB_ID_SIZE));
    rocksdb_options_set_hash_skip_list_rep(o, CHUNK_BUCKETS, CHUNK_HEIGHT, CHUNK_BRANCHING);
}

/* Large blobs are read in pieces, many to a chunk: without this each piece would read, check and unpack its chunk again. Small ones
 * are read by several clients, or again. */
static rocksdb_cache_t *make_unpacked(size_t bytes)
{
    rocksdb_lru_cache_options_t *o = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(o, bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(o, UNPACKED_SHARD_BITS);
    rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(o);
    rocksdb_lru_cache_options_destroy(o);
    return cache;
}

static void make_options(struct rocks *r, const struct kv_config *config)
{
    r->unpacked = make_unpacked(config->blob_cache_bytes ? config->blob_cache_bytes : UNPACKED_BYTES);
    r->cache = rocksdb_cache_create_lru(config->cache_bytes ? config->cache_bytes : BLOCK_CACHE_BYTES);
    for (size_t i = 0; i < ROCKS_FAMILIES; i++)
        r->options[i] = rocksdb_options_create();
    set_database(r, r->options[ROCKS_DEFAULT], config->background_threads);
    set_table(r, r->options[ROCKS_DEFAULT], 4 << 10, true);
    rocksdb_options_set_write_buffer_size(r->options[ROCKS_DEFAULT], 1 << 20);
    set_meta(r, r->options[ROCKS_META]);
    set_info(r, r->options[ROCKS_INFO]);
    set_chunk(r, r->options[ROCKS_CHUNK]);
    r->read = rocksdb_readoptions_create();
    r->write_sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(r->write_sync, 1);
    r->write_nosync = rocksdb_writeoptions_create();
}

/* ---- room on the disk ---- */

static uint64_t disk_free(struct rocks *r)
{
    int64_t now = now_ms(), due = atomic_load(&r->next_disk_check_ms);
    if (atomic_load(&r->written_since_check) >= DISK_CHECK_EVERY_BYTES)
        due = now;
    if (now >= due) { /* twice at the same time does no harm */
        struct statvfs v;
        atomic_store(&r->next_disk_check_ms, now + DISK_CHECK_EVERY_MS);
        atomic_store(&r->written_since_check, 0);
        if (statvfs(r->path, &v) == 0)
            atomic_store(&r->disk_free, (uint64_t)v.f_bavail * v.f_frsize + 1);
    }
    uint64_t known = atomic_load(&r->disk_free);
    return known ? known - 1 : UINT64_MAX;
}

static uint64_t default_reserve(const char *path)
{
    struct statvfs v;
    uint64_t part = statvfs(path, &v) == 0 ? (uint64_t)v.f_blocks * v.f_frsize / 20 : DISK_RESERVE_BYTES;
    return part < DISK_RESERVE_BYTES ? part : DISK_RESERVE_BYTES;
}

enum st rocks_room(struct rocks *r, bool adds_mail, struct err *e)
{
    uint64_t free_bytes = disk_free(r);
    if (free_bytes >= (adds_mail ? r->disk_reserve : r->disk_reserve / 4))
        return ST_OK;
    return ERR(e, ST_TEMP, "the mail store is full", "%s: %llu bytes are free, the reserve is %llu", r->path,
               (unsigned long long)free_bytes, (unsigned long long)r->disk_reserve);
}

/* ---- spare batches ---- */

rocksdb_writebatch_t *rocks_batch_take(struct rocks *r)
{
    pthread_mutex_lock(&r->spare_lock);
    rocksdb_writebatch_t *batch = r->spare_count ? r->spare[--r->spare_count] : NULL;
    pthread_mutex_unlock(&r->spare_lock);
    return batch ? batch : rocksdb_writebatch_create();
}

void rocks_batch_give(struct rocks *r, rocksdb_writebatch_t *batch)
{
    size_t bytes;
    rocksdb_writebatch_data(batch, &bytes);
    rocksdb_writebatch_clear(batch);
    pthread_mutex_lock(&r->spare_lock);
    if (r->spare_count < ROCKS_SPARE_BATCHES && bytes <= SPARE_BATCH_BYTES) {
        r->spare[r->spare_count++] = batch;
        batch = NULL;
    }
    pthread_mutex_unlock(&r->spare_lock);
    if (batch)
        rocksdb_writebatch_destroy(batch);
}

/* ---- opening and closing ---- */

static enum st open_error(struct rocks *r, char *error, struct err *e)
{
    enum st s;
    if (error_is(error, "lock ") && error_is(error, "LOCK"))
        s = ERR(e, ST_TEMP, "the mail store is in use by another process", "%s is in use by another process: %s", r->path, error);
    else if (error_is(error, "Column families not opened"))
        s = ERR(e, ST_PERM, "the mail store was written by a newer version", "%s was written by a newer version of Postrider: %s",
                r->path, error);
    else if (strncmp(error, "Corruption", 10) == 0)
        s = ERR(e, ST_CORRUPT, "the mail store is damaged", "opening %s: %s", r->path, error);
    else
        s = ERR(e, ST_TEMP, "the mail store cannot be opened", "opening %s: %s", r->path, error);
    rocksdb_free(error);
    return s;
}

static void close_database(struct rocks *r)
{
    if (!r->db)
        return;
    rocksdb_cancel_all_background_work(r->db, 1);
    for (size_t i = 0; i < ROCKS_FAMILIES; i++)
        rocksdb_column_family_handle_destroy(r->family[i]);
    rocksdb_close(r->db);
    r->db = NULL;
}

static enum st put_format(struct rocks *r, struct err *e)
{
    char *error = NULL;
    char value[4];
    le32_put(value, ROCKS_FORMAT);
    rocksdb_put_cf(r->db, r->write_sync, r->family[ROCKS_DEFAULT], "format", 6, value, sizeof value, &error);
    return rocks_error("writing the format", error, e);
}

static enum st check_format(struct rocks *r, struct err *e)
{
    rocksdb_pinnableslice_t *v;
    enum st s = rocks_get(r, ROCKS_DEFAULT, STR("format"), &v, e);
    if (s == ST_NOTFOUND)
        return put_format(r, e);
    TRY(s);
    struct str value = rocks_value(v);
    uint32_t format = value.n == 4 ? le32_get(value.p) : 0;
    rocksdb_pinnableslice_destroy(v);
    if (format > ROCKS_FORMAT)
        return ERR(e, ST_PERM, "the mail store was written by a newer version",
                   "%s has format %u; this version of Postrider knows %d", r->path, format, ROCKS_FORMAT);
    if (format != ROCKS_FORMAT)
        return ERR(e, ST_CORRUPT, "the mail store is damaged", "%s: the format key is malformed", r->path);
    return ST_OK;
}

static enum st open_database(struct rocks *r, struct err *e)
{
    if (mkdir(r->path, 0700) < 0 && errno != EEXIST)
        return ERR(e, ST_TEMP, "the mail store cannot be opened", "creating %s: %s", r->path, strerror(errno));
    char *error = NULL;
    const rocksdb_options_t *options[ROCKS_FAMILIES];
    for (size_t i = 0; i < ROCKS_FAMILIES; i++)
        options[i] = r->options[i];
    r->db =
        rocksdb_open_column_families(r->options[ROCKS_DEFAULT], r->path, ROCKS_FAMILIES, family_names, options, r->family, &error);
    if (error) {
        r->db = NULL;
        return open_error(r, error, e);
    }
    enum st s = check_format(r, e);
    if (s != ST_OK)
        close_database(r);
    return s;
}

enum st rocks_new(const struct kv_config *config, const struct kv_engine *engine, struct rocks **out, struct err *e)
{
    ENSURE(config->path && *config->path, e, ST_PERM, "the rocksdb engine needs a path");
    ENSURE(rocks_crc32c_is_right(), e, ST_PERM, "libisal computes a wrong CRC32C on this processor");
    struct rocks *r = calloc(1, sizeof *r);
    ENSURE(r, e, ST_TEMP, "out of memory");
    kv_init(&r->kv, engine);
    kv_leases_init(&r->leases);
    pthread_mutex_init(&r->reopen_lock, NULL);
    pthread_mutex_init(&r->collect_lock, NULL);
    pthread_mutex_init(&r->spare_lock, NULL);
    for (size_t i = 0; i < ROCKS_PARTITION_STRIPES; i++)
        pthread_mutex_init(&r->partition_stripe[i], NULL);
    for (size_t i = 0; i < ROCKS_BLOB_STRIPES; i++)
        pthread_rwlock_init(&r->blob_stripe[i], NULL);
    r->path = strdup(config->path);
    make_options(r, config);
    enum st s = r->path ? open_database(r, e) : ERR_PUBLIC(e, ST_TEMP, "out of memory");
    if (s != ST_OK) {
        rocks_free(r);
        return s;
    }
    r->disk_reserve = config->disk_reserve_bytes ? config->disk_reserve_bytes : default_reserve(r->path);
    r->reopen_after_ms = REOPEN_AFTER_MS;
    *out = r;
    return ST_OK;
}

void rocks_free(struct rocks *r)
{
    close_database(r);
    for (size_t i = 0; i < ROCKS_FAMILIES; i++)
        rocksdb_options_destroy(r->options[i]);
    rocksdb_cache_destroy(r->cache);
    rocksdb_cache_destroy(r->unpacked);
    rocksdb_readoptions_destroy(r->read);
    rocksdb_writeoptions_destroy(r->write_sync);
    rocksdb_writeoptions_destroy(r->write_nosync);
    for (size_t i = 0; i < ROCKS_PARTITION_STRIPES; i++)
        pthread_mutex_destroy(&r->partition_stripe[i]);
    for (size_t i = 0; i < ROCKS_BLOB_STRIPES; i++)
        pthread_rwlock_destroy(&r->blob_stripe[i]);
    pthread_mutex_destroy(&r->reopen_lock);
    pthread_mutex_destroy(&r->collect_lock);
    while (r->spare_count)
        rocksdb_writebatch_destroy(r->spare[--r->spare_count]);
    pthread_mutex_destroy(&r->spare_lock);
    kv_leases_release(&r->leases);
    kv_release(&r->kv);
    free(r->path);
    free(r);
}

/* ---- the gate, and the way back after a write error ---- */

/* Shut means that an earlier attempt failed or that one is under way, which reopen_lock tells apart. */
static bool must_reopen(struct rocks *r, enum rocks_intent intent)
{
    int64_t since = intent == ROCKS_WRITE ? atomic_load_explicit(&r->failing_since_ms, memory_order_relaxed) : 0;
    if (!since && !atomic_load(&r->shut))
        return false;
    int64_t now = now_ms();
    bool failing = since && (atomic_load(&r->broken) || now - since >= r->reopen_after_ms);
    return (failing || atomic_load(&r->shut)) && now >= atomic_load(&r->next_reopen_ms);
}

/* The write-ahead logs that are on the disk. */
static uint64_t log_bytes(struct rocks *r)
{
    uint64_t sum = 0;
    struct dirent *entry;
    DIR *dir = opendir(r->path);
    while (dir && (entry = readdir(dir))) {
        struct stat st;
        if (str_ends(str_of(entry->d_name), STR(".log")) && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
            sum += (uint64_t)st.st_size;
    }
    if (dir)
        closedir(dir);
    return sum;
}

/* Whether the disk takes writes again. If not, a database that can still be read is better than none. */
static bool disk_writable(struct rocks *r)
{
    char path[PATH_MAX], block[4096] = {0};
    int n = snprintf(path, sizeof path, "%s/probe", r->path);
    int fd = n < (int)sizeof path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return false;
    bool ok = write(fd, block, sizeof block) == (ssize_t)sizeof block && fdatasync(fd) == 0;
    close(fd);
    unlink(path);
    return ok;
}

static void reopened(struct rocks *r)
{
    for (size_t i = 0; i < ROCKS_PARTITION_STRIPES; i++)
        atomic_store(&r->doubtful[i], false);
    atomic_store(&r->broken, false);
    atomic_store(&r->failing_since_ms, 0);
    atomic_store(&r->next_reopen_ms, 0); /* only attempts that fail are rationed */
    atomic_store(&r->shut, false);
    log_event(LOG_WARN, "kv.reopened", LOG_Z("path", r->path));
}

static void reopen_locked(struct rocks *r, enum rocks_intent intent)
{
    struct err ignored = {0};
    if (!must_reopen(r, intent))
        return;
    atomic_store(&r->next_reopen_ms, now_ms() + REOPEN_EVERY_MS);
    if (r->db && !disk_writable(r))
        return;
    if (r->db && disk_free(r) < r->disk_reserve + 2 * log_bytes(r))
        return; /* recovery writes the logs into tables: if it ran out of room, reading would be lost, too */
    atomic_store(&r->shut, true);
    for (int ms = 0; atomic_load(&r->inside) > 0 && ms < REOPEN_WAIT_MS; ms++) /* real time: it waits for threads */
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    if (atomic_load(&r->inside) > 0) { /* a slow scan, maybe one that waits for us: another time */
        atomic_store(&r->shut, false);
        return;
    }
    close_database(r);
    if (open_database(r, &ignored) == ST_OK)
        reopened(r);
}

void rocks_recover(struct rocks *r)
{
    if (!atomic_load(&r->broken))
        return;
    waiting_lock(&r->reopen_lock); /* the first one reopens, the others learn the outcome */
    if (atomic_load(&r->broken))
        reopen_locked(r, ROCKS_WRITE);
    pthread_mutex_unlock(&r->reopen_lock);
}

/* A call that finds the gate shut waits for the one that reopens: that takes a moment, and the clients see no error. If the call
 * comes from within a scan, the other one waits for it, too, and gives up first. */
static bool gate_opened(struct rocks *r)
{
    waiting_lock(&r->reopen_lock);
    pthread_mutex_unlock(&r->reopen_lock);
    atomic_fetch_add(&r->inside, 1);
    if (!atomic_load(&r->shut))
        return true;
    atomic_fetch_sub(&r->inside, 1);
    return false;
}

enum st rocks_enter(struct rocks *r, enum rocks_intent intent, struct err *e)
{
    /* Of this thread. By default RocksDB counts every comparison of keys in a thread-local structure, for a profile nobody reads.
     */
    rocksdb_set_perf_level(rocksdb_disable);
    if (must_reopen(r, intent) && pthread_mutex_trylock(&r->reopen_lock) == 0) {
        reopen_locked(r, intent);
        pthread_mutex_unlock(&r->reopen_lock);
    }
    atomic_fetch_add(&r->inside, 1);
    if (!atomic_load(&r->shut))
        return ST_OK;
    atomic_fetch_sub(&r->inside, 1);
    return gate_opened(r) ? ST_OK : ERR_PUBLIC(e, ST_TEMP, "the mail store is being reopened after an error");
}

void rocks_leave(struct rocks *r) { atomic_fetch_sub(&r->inside, 1); }

static size_t partition_stripe(struct str partition) { return str_hash(partition) % ROCKS_PARTITION_STRIPES; }

enum st rocks_enter_partition(struct rocks *r, enum rocks_intent intent, struct str partition, struct err *e)
{
    TRY(rocks_enter(r, intent, e));
    if (!atomic_load_explicit(&r->broken, memory_order_acquire) || !atomic_load(&r->doubtful[partition_stripe(partition)]))
        return ST_OK;
    rocks_leave(r);
    return ERR(e, ST_TEMP, "storage is temporarily not available",
               "%.*s: whether its last commit happened is known after the store was reopened", STR_FMT(partition));
}

/* ---- reading and writing ---- */

enum st rocks_write(struct rocks *r, rocksdb_writebatch_t *batch, bool sync, struct err *e)
{
    char *error = NULL;
    size_t bytes = 0;
    rocksdb_writebatch_data(batch, &bytes);
    atomic_fetch_add_explicit(&r->written_since_check, bytes, memory_order_relaxed);
    int64_t begun_us = clock_mono_us();
    waiting_begin();
    rocksdb_write(r->db, sync ? r->write_sync : r->write_nosync, batch, &error);
    waiting_end();
    if (sync)
        metrics_took(METRIC_TIME_COMMIT, clock_mono_us() - begun_us);
    if (!error) {
        if (atomic_load_explicit(&r->failing_since_ms, memory_order_relaxed))
            atomic_store(&r->failing_since_ms, 0);
        return ST_OK;
    }
    int64_t none = 0;
    /* A full disk leaves a record that is cut off, which never comes back; not so if the room was missing when it was synced. */
    bool full = error_is(error, "No space left") && !error_is(error, "sync");
    if (!full && !atomic_exchange(&r->broken, true))
        log_event(LOG_ERROR, "kv.write_failed", LOG_Z("path", r->path), LOG_Z("error", error));
    atomic_compare_exchange_strong(&r->failing_since_ms, &none, now_ms());
    enum st s = ERR(e, ST_TEMP, full ? "the mail store is full" : "storage is temporarily not available", "writing: %s", error);
    rocksdb_free(error);
    return s;
}

enum st rocks_write_partition(struct rocks *r, rocksdb_writebatch_t *batch, struct str partition, struct err *e)
{
    /* Once broken, RocksDB refuses before it writes anything: only what was under way when it broke is in doubt. That is said
     * before the write, because readers look as soon as `broken` is set; whoever writes has the stripe for himself. */
    atomic_bool *doubtful = &r->doubtful[partition_stripe(partition)];
    if (atomic_load(&r->broken))
        return rocks_write(r, batch, true, e);
    atomic_store(doubtful, true);
    enum st s = rocks_write(r, batch, true, e);
    if (s == ST_OK || !atomic_load(&r->broken))
        atomic_store(doubtful, false);
    return s;
}

enum st rocks_get(struct rocks *r, enum rocks_family family, struct str key, rocksdb_pinnableslice_t **value, struct err *e)
{
    char *error = NULL;
    *value = rocksdb_get_pinned_cf(r->db, r->read, r->family[family], key.p, key.n, &error);
    if (error)
        return rocks_error("reading", error, e);
    return *value ? ST_OK : ST_NOTFOUND;
}

struct rocks_iterator rocks_iterate(struct rocks *r, enum rocks_family family, struct str from, struct str to, bool prefix)
{
    struct rocks_iterator i = {.options = rocksdb_readoptions_create()};
    if (to.n > 0)
        rocksdb_readoptions_set_iterate_upper_bound(i.options, to.p, to.n);
    rocksdb_readoptions_set_total_order_seek(i.options, !prefix);
    i.it = rocksdb_create_iterator_cf(r->db, i.options, r->family[family]);
    if (from.n > 0)
        rocksdb_iter_seek(i.it, from.p, from.n);
    else
        rocksdb_iter_seek_to_first(i.it);
    return i;
}

void rocks_iterator_release(struct rocks_iterator *i)
{
    rocksdb_iter_destroy(i->it);
    rocksdb_readoptions_destroy(i->options);
}

enum st rocks_iterator_error(const struct rocks_iterator *i, struct err *e)
{
    char *error = NULL;
    rocksdb_iter_get_error(i->it, &error);
    return rocks_error("scanning", error, e);
}

void rocks_stripes_lock(struct rocks *r, const struct rocks_stripes *s)
{
    for (unsigned i = 0; i < ROCKS_BLOB_STRIPES; i++)
        if (s->bits[i / 64] >> i % 64 & 1)
            pthread_rwlock_rdlock(&r->blob_stripe[i]);
}

void rocks_stripes_unlock(struct rocks *r, const struct rocks_stripes *s)
{
    for (unsigned i = 0; i < ROCKS_BLOB_STRIPES; i++)
        if (s->bits[i / 64] >> i % 64 & 1)
            pthread_rwlock_unlock(&r->blob_stripe[i]);
}
