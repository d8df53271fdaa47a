/* Errors: a class, a sentence for the peer, a sentence for the operator. Held by the caller, never global.
 *
 * Every function that can fail returns `enum st` and is must-use. The class decides what the protocol answers (one function per
 * protocol maps it: ST_TEMP -> 4xx / NO [UNAVAILABLE] ...), `text` is what the peer may read, `detail` what the log gets.
 * In doubt a failure is ST_TEMP: nothing is lost by trying again. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum st {
    ST_OK = 0,
    ST_TEMP,     /* may work later: I/O, resources, a peer that does not answer */
    ST_PERM,     /* will not work: malformed, unsupported, refused by policy */
    ST_NOTFOUND, /* the object does not exist */
    ST_EXISTS,   /* it exists already */
    ST_CONFLICT, /* somebody changed it meanwhile; read again and retry */
    ST_LIMIT,    /* a named limit, quota or budget is reached */
    ST_DENIED,   /* the caller has no right to it */
    ST_CORRUPT,  /* stored bytes that do not decode or do not match their checksum */
    ST_BUG,      /* an invariant that was believed did not hold; handled like ST_TEMP */
};

/* Plain data on the caller's stack; `struct err e = {0}` is "no error". Functions take `struct err *` and accept NULL. */
struct err {
    enum st class;
    char text[192];   /* public: no secrets, no paths, one line, printable */
    char detail[320]; /* private: for the log */
    const char *where;
};

#define ERR_STR2_(x) #x
#define ERR_STR1_(x) ERR_STR2_(x)
#define ERR_HERE     __FILE__ ":" ERR_STR1_(__LINE__)

/* Fills *e (if not NULL) and returns class. `text` is a fixed public sentence; the private detail is formatted. Bytes that are
 * not printable ASCII or UTF-8 are replaced by '?', so that nothing remote can forge log lines. */
#define ERR(e, class, text, ...) ERR_IS_(err_set((e), (class), ERR_HERE, (text), __VA_ARGS__))
enum st err_set(struct err *e, enum st class, const char *where, const char *text, const char *detail, ...)
    __attribute__((format(printf, 5, 6)));

/* As ERR, but the public sentence is formatted too and the same as the detail. */
#define ERR_PUBLIC(e, class, ...) ERR_IS_(err_public((e), (class), ERR_HERE, __VA_ARGS__))
enum st err_public(struct err *e, enum st class, const char *where, const char *text, ...) __attribute__((format(printf, 4, 5)));

#ifdef __clang_analyzer__ /* it does not see err.c, and would go on with an error that is ST_OK */
static inline enum st ERR_IS_(enum st st)
{
    if (st == ST_OK)
        __builtin_trap();
    return st;
}
#else
#define ERR_IS_(st) (st)
#endif

const char *st_name(enum st s); /* "ok", "temp", ...; never NULL */

#define MUST_USE __attribute__((warn_unused_result))

/* The three control-flow macros, and no others. */
#define TRY(expr)                                                                                                                  \
    do {                                                                                                                           \
        enum st try_st_ = (expr);                                                                                                  \
        if (try_st_ != ST_OK)                                                                                                      \
            return try_st_;                                                                                                        \
    } while (0)

/* An ordinary condition of the input: if it does not hold, fail with class and a formatted public sentence. */
#define ENSURE(cond, e, class, ...)                                                                                                \
    do {                                                                                                                           \
        if (!(cond))                                                                                                               \
            return ERR_PUBLIC((e), (class), __VA_ARGS__);                                                                          \
    } while (0)

/* DEFER(buf_release) struct buf b: calls fn(&b) when b goes out of scope. */
#define DEFER(fn) __attribute__((cleanup(fn)))

#endif
