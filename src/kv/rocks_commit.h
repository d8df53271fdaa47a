/* Commits and the dropping of partitions in the rocksdb engine. The crash states are in doc/formats/rocksdb.md. */
#ifndef KV_ROCKS_COMMIT_H
#define KV_ROCKS_COMMIT_H

#include "kv/rocks.h"

enum st rocks_commit(struct kv *kv, struct str partition, const struct kv_batch *b, uint64_t expected, unsigned steps,
                     struct err *e) MUST_USE;
enum st rocks_commit_drop(struct kv *kv, struct str partition, struct err *e) MUST_USE;
/* At the opening: goes on with drops that a crash interrupted. */
enum st rocks_commit_finish_drops(struct rocks *r, struct err *e) MUST_USE;
enum st rocks_commit_version(struct rocks *r, struct str partition, uint64_t *version, struct err *e) MUST_USE; /* inside enter */

#endif
