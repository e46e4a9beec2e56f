/* Decides which call fails, and replaces the functions for memory and threads. fault_files.c has those of files. */
#define _GNU_SOURCE
#include "fault.h"
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const fault_names[FAULT_CLASSES] = {
    [FAULT_LARGE] = "large allocation", [FAULT_MAP] = "mmap",
    [FAULT_OPEN] = "open",              [FAULT_READ] = "read",
    [FAULT_READ_SHORT] = "short read",  [FAULT_READ_INTERRUPTED] = "interrupted read",
    [FAULT_STAT] = "stat",              [FAULT_DIRECTORY] = "opendir, readdir",
    [FAULT_SEEK] = "lseek",             [FAULT_THREAD] = "pthread_create",
    [FAULT_WRITE] = "write",            [FAULT_WRITE_SHORT] = "short write",
    [FAULT_SYNC] = "fsync",             [FAULT_RENAME] = "rename, mkdir",
    [FAULT_CLOSE] = "close",            [FAULT_SMALL] = "small allocation",
};

static fault_record *record;
static atomic_long live, mapped;
static __thread int inside; /* this file's own calls are not counted */

void fault_use(fault_record *used) {
    void *warm[4];
    inside = 1;
    backtrace(warm, 4); /* its first call loads a library */
    inside = 0;
    record = used;
}

long fault_live_bytes(void) { return atomic_load(&live); }
long fault_mapped_bytes(void) { return atomic_load(&mapped); }

/* FNV-1a of the return addresses of a call. */
static uint64_t site(void) {
    void *frames[FAULT_FRAMES];
    uint64_t hash = 0xcbf29ce484222325ull;
    inside = 1;
    int count = backtrace(frames, FAULT_FRAMES);
    inside = 0;
    for (int i = 2; i < count; i++) hash = (hash ^ (uintptr_t)frames[i]) * 0x100000001b3ull;
    return hash;
}

int fault_hits(enum fault_class which, size_t bytes, const char *call) {
    if (!record || inside || !atomic_load_explicit(&record->armed, memory_order_relaxed)) return 0;
    long number = atomic_fetch_add(&record->count[which], 1) + 1;
    if (record->keeps_sites && which != FAULT_SMALL && number <= FAULT_SITES) record->sites[which][number - 1] = site();
    if ((int)which != record->fault_class) return 0;
    if (record->lasting ? number < record->target : number != record->target) return 0;
    if (atomic_fetch_add(&record->injected, 1) == 0) {
        inside = 1;
        record->bytes = bytes;
        snprintf(record->call, sizeof record->call, "%s", call);
        record->frame_count = backtrace(record->frames, FAULT_FRAMES);
        inside = 0;
    }
    return 1;
}

static int allocation_hits(size_t bytes, const char *call) {
    int is_large = record && bytes > record->large_bytes;
    return fault_hits(is_large ? FAULT_LARGE : FAULT_SMALL, bytes, call);
}

/* ----------------------------------------------------------------------------------------------------------- memory */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static void *counted(void *block) {
    if (block) atomic_fetch_add_explicit(&live, (long)malloc_usable_size(block), memory_order_relaxed);
    return block;
}

static void *refused(void) {
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t bytes) { return allocation_hits(bytes, "malloc") ? refused() : counted(__libc_malloc(bytes)); }

void *calloc(size_t count, size_t bytes) {
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all)) return refused();
    return allocation_hits(all, "calloc") ? refused() : counted(__libc_calloc(count, bytes));
}

void *realloc(void *block, size_t bytes) {
    if (bytes && allocation_hits(bytes, "realloc")) return refused();
    long old = block ? (long)malloc_usable_size(block) : 0;
    void *moved = __libc_realloc(block, bytes);
    if (moved || !bytes) atomic_fetch_sub_explicit(&live, old, memory_order_relaxed);
    return counted(moved);
}

void *reallocarray(void *block, size_t count, size_t bytes) {
    size_t all;
    return __builtin_mul_overflow(count, bytes, &all) ? refused() : realloc(block, all);
}

void free(void *block) {
    if (block) atomic_fetch_sub_explicit(&live, (long)malloc_usable_size(block), memory_order_relaxed);
    __libc_free(block);
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
    void *block = allocation_hits(bytes, "posix_memalign") ? NULL : counted(__libc_memalign(alignment, bytes));
    if (block) *out = block;
    return block ? 0 : ENOMEM;
}

void *memalign(size_t alignment, size_t bytes) {
    return allocation_hits(bytes, "memalign") ? refused() : counted(__libc_memalign(alignment, bytes));
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return allocation_hits(bytes, "aligned_alloc") ? refused() : counted(__libc_memalign(alignment, bytes));
}

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    if (fault_hits(FAULT_MAP, bytes, "mmap")) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *memory = (void *)syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
    if (memory != MAP_FAILED) atomic_fetch_add(&mapped, (long)bytes);
    return memory;
}

void *mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    return mmap(address, bytes, protection, flags, file, offset);
}

int munmap(void *address, size_t bytes) {
    int result = (int)syscall(SYS_munmap, address, bytes);
    if (result == 0) atomic_fetch_sub(&mapped, (long)bytes);
    return result;
}

/* ---------------------------------------------------------------------------------------------------------- threads */

typedef int (*create_function)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    static _Atomic(create_function) original;
    if (fault_hits(FAULT_THREAD, 0, "pthread_create")) return EAGAIN;
    if (!original) original = (create_function)dlsym(RTLD_NEXT, "pthread_create");
    return original(thread, attributes, run, argument);
}
