/* Faults on demand: malloc, open, read and other functions, of which the Nth call can be made to fail.
 *
 * These functions replace libc's, because the program is linked with them (-rdynamic). A record in shared memory states
 * which call fails, and receives the result, which a parent reads after the process has ended. */
#ifndef LYRA_INJECT_FAULT_H
#define LYRA_INJECT_FAULT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum fault_class {
    FAULT_LARGE,  /* an allocation above fault_record.large_bytes */
    FAULT_MAP,
    FAULT_OPEN,
    FAULT_READ,
    FAULT_READ_SHORT,
    FAULT_READ_INTERRUPTED,
    FAULT_STAT,
    FAULT_DIRECTORY,
    FAULT_SEEK,
    FAULT_THREAD,
    FAULT_WRITE,
    FAULT_WRITE_SHORT,
    FAULT_SYNC,
    FAULT_RENAME,
    FAULT_CLOSE,
    FAULT_SMALL, /* all other allocations; those of the Swift runtime cannot fail */
    FAULT_CLASSES
};

extern const char *const fault_names[FAULT_CLASSES];

enum {
    FAULT_FRAMES = 48,
    FAULT_SITES = 1 << 15 /* calls of a kind whose sites are kept */
};

typedef struct fault_record {
    /* Set by the caller of fault_use. */
    int fault_class; /* -1: none, calls are only counted */
    long target;     /* the number of the call that fails, from 1 */
    int lasting;     /* all later calls fail, too */
    int keeps_sites; /* the functions that lead to each call are hashed, small allocations excepted */
    size_t large_bytes;
    atomic_int armed;
    /* Filled while the record is in use. */
    atomic_long count[FAULT_CLASSES];
    atomic_int injected; /* calls that failed */
    size_t bytes;        /* of the first of them */
    char call[32];
    int frame_count;
    void *frames[FAULT_FRAMES];
    uint64_t sites[FAULT_SMALL][FAULT_SITES]; /* of call number i + 1: a hash of the functions that led to it */
} fault_record;

/* Starts counting, and failing, calls by this record. */
void fault_use(fault_record *record);

/* Whether this call is to fail. */
int fault_hits(enum fault_class which, size_t bytes, const char *call);

/* Bytes that are allocated, and mapped by mmap, at this moment. */
long fault_live_bytes(void);
long fault_mapped_bytes(void);

#endif
