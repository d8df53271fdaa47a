/* Which engines the tests of all layers can run on in this build. */
#ifndef KV_TESTING_ENGINES_H
#define KV_TESTING_ENGINES_H

/* librocksdb is not built with the thread sanitizer, which then cannot see how it synchronises. */
#if defined(__SANITIZE_THREAD__)
enum { ROCKSDB_CAN_RUN = 0 };
#elif defined(__has_feature)
enum { ROCKSDB_CAN_RUN = !__has_feature(thread_sanitizer) };
#else
enum { ROCKSDB_CAN_RUN = 1 };
#endif

#endif
