/* Blobs of the rocksdb engine: facts and links in ROCKS_INFO, bytes in chunks in ROCKS_CHUNK. Called inside rocks_enter/leave. */
#ifndef KV_ROCKS_BLOB_H
#define KV_ROCKS_BLOB_H

#include "kv/rocks.h"
#include "kv/rocks_key.h"

/* ST_NOTFOUND without a text if there is no such blob. */
enum st rocks_blob_info(struct rocks *r, struct str id, struct rocks_info *info, struct err *e) MUST_USE;
void rocks_blob_put_info(struct rocks *r, rocksdb_writebatch_t *batch, struct str id, const struct rocks_info *info);
/* Adds the chunks and the facts of a blob to a batch. */
void rocks_blob_put(struct rocks *r, rocksdb_writebatch_t *batch, struct str id, struct str bytes, int64_t now_ms);
/* Writes a large blob in pieces, not synced: the next synced write makes it durable. A crash before that leaves chunks under an
 * upload record, which the collector removes. The stripe of the blob is held by the caller. */
enum st rocks_blob_upload(struct rocks *r, struct str id, struct str bytes, int64_t now_ms, struct err *e) MUST_USE;

enum st rocks_blob_size(struct kv *kv, const struct kv_blob_id *id, uint64_t *size, struct err *e) MUST_USE;
enum st rocks_blob_read(struct kv *kv, const struct kv_blob_id *id, uint64_t offset, size_t length, struct buf *out,
                        struct err *e) MUST_USE;
enum st rocks_blob_read_together(struct kv *kv, struct kv_blob_place *places, size_t count, struct buf *out,
                                 struct err *e) MUST_USE;
enum st rocks_blob_visit(struct kv *kv, const struct kv_blob_id *after, kv_visit_blob *visit, void *context,
                         struct err *e) MUST_USE;
enum st rocks_blob_visit_links(struct kv *kv, kv_visit_link *visit, void *context, struct err *e) MUST_USE;
enum st rocks_blob_collect(struct kv *kv, int64_t before_ms, size_t max_blobs, size_t *collected, struct err *e) MUST_USE;

#endif
