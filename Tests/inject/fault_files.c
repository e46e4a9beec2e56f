/* Functions for files. A call that is not to fail is passed to the system. */
#define _GNU_SOURCE
#include "fault.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Leaves the function with -1 if the call is to fail. */
#define FAIL_IF(class_of_call, bytes, call, error) \
    do { \
        if (fault_hits(class_of_call, bytes, call)) { \
            errno = error; \
            return -1; \
        } \
    } while (0)

/* ------------------------------------------------------------------------------------------------------------- open */

static int open_file(int directory, const char *path, int flags, mode_t mode) {
    FAIL_IF(FAULT_OPEN, 0, "open", EIO);
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

/* The mode follows the flags only if a file can be created. */
#define OPEN(directory, path, flags) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    } \
    return open_file(directory, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags); }
int openat(int directory, const char *path, int flags, ...) { OPEN(directory, path, flags); }
int openat64(int directory, const char *path, int flags, ...) { OPEN(directory, path, flags); }

int close(int file) {
    int fails = fault_hits(FAULT_CLOSE, 0, "close");
    int result = (int)syscall(SYS_close, file);
    if (!fails) return result;
    errno = EIO; /* Linux closes the file nevertheless */
    return -1;
}

/* --------------------------------------------------------------------------------------------------- read and write */

/* A third of the requested bytes, but at least one. */
static size_t shortened(size_t bytes) { return bytes > 1 ? bytes / 3 + 1 : bytes; }

static int read_fails(size_t *bytes) {
    FAIL_IF(FAULT_READ, *bytes, "read", EIO);
    FAIL_IF(FAULT_READ_INTERRUPTED, *bytes, "read", EINTR);
    if (fault_hits(FAULT_READ_SHORT, *bytes, "read")) *bytes = shortened(*bytes);
    return 0;
}

ssize_t read(int file, void *buffer, size_t bytes) {
    return read_fails(&bytes) ? -1 : syscall(SYS_read, file, buffer, bytes);
}

ssize_t pread(int file, void *buffer, size_t bytes, off_t offset) {
    return read_fails(&bytes) ? -1 : syscall(SYS_pread64, file, buffer, bytes, offset);
}

ssize_t pread64(int file, void *buffer, size_t bytes, off_t offset) { return pread(file, buffer, bytes, offset); }

static int write_fails(size_t *bytes) {
    FAIL_IF(FAULT_WRITE, *bytes, "write", ENOSPC);
    if (fault_hits(FAULT_WRITE_SHORT, *bytes, "write")) *bytes = shortened(*bytes);
    return 0;
}

ssize_t write(int file, const void *buffer, size_t bytes) {
    return write_fails(&bytes) ? -1 : syscall(SYS_write, file, buffer, bytes);
}

ssize_t pwrite(int file, const void *buffer, size_t bytes, off_t offset) {
    return write_fails(&bytes) ? -1 : syscall(SYS_pwrite64, file, buffer, bytes, offset);
}

ssize_t pwrite64(int file, const void *buffer, size_t bytes, off_t offset) {
    return pwrite(file, buffer, bytes, offset);
}

off_t lseek(int file, off_t offset, int origin) {
    FAIL_IF(FAULT_SEEK, 0, "lseek", EIO);
    return syscall(SYS_lseek, file, offset, origin);
}

off_t lseek64(int file, off_t offset, int origin) { return lseek(file, offset, origin); }

int fsync(int file) {
    FAIL_IF(FAULT_SYNC, 0, "fsync", EIO);
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    FAIL_IF(FAULT_SYNC, 0, "fdatasync", EIO);
    return (int)syscall(SYS_fdatasync, file);
}

/* ------------------------------------------------------------------------------------------------------------- stat */

static int stat_at(int directory, const char *path, struct stat *result, int flags, const char *call) {
    FAIL_IF(FAULT_STAT, 0, call, EIO);
    return (int)syscall(SYS_newfstatat, directory, path, result, flags);
}

int stat(const char *path, struct stat *result) { return stat_at(AT_FDCWD, path, result, 0, "stat"); }
int lstat(const char *path, struct stat *result) {
    return stat_at(AT_FDCWD, path, result, AT_SYMLINK_NOFOLLOW, "lstat");
}
int fstat(int file, struct stat *result) { return stat_at(file, "", result, AT_EMPTY_PATH, "fstat"); }
int fstatat(int directory, const char *path, struct stat *result, int flags) {
    return stat_at(directory, path, result, flags, "fstatat");
}

/* On 64-bit systems both names have the same struct. */
int stat64(const char *path, struct stat64 *result) { return stat(path, (struct stat *)result); }
int lstat64(const char *path, struct stat64 *result) { return lstat(path, (struct stat *)result); }
int fstat64(int file, struct stat64 *result) { return fstat(file, (struct stat *)result); }
int fstatat64(int directory, const char *path, struct stat64 *result, int flags) {
    return fstatat(directory, path, (struct stat *)result, flags);
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *result) {
    FAIL_IF(FAULT_STAT, 0, "statx", EIO);
    return (int)syscall(SYS_statx, directory, path, flags, mask, result);
}

int access(const char *path, int mode) {
    FAIL_IF(FAULT_STAT, 0, "access", EIO);
    return (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
}

/* ---------------------------------------------------------------------------------------- directories and new names */

#define ORIGINAL(name) \
    static _Atomic(__typeof__(&name)) original; \
    if (!original) original = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

DIR *opendir(const char *path) {
    ORIGINAL(opendir);
    if (!fault_hits(FAULT_DIRECTORY, 0, "opendir")) return original(path);
    errno = EMFILE;
    return NULL;
}

struct dirent *readdir(DIR *directory) {
    ORIGINAL(readdir);
    if (!fault_hits(FAULT_DIRECTORY, 0, "readdir")) return original(directory);
    errno = EIO;
    return NULL;
}

struct dirent64 *readdir64(DIR *directory) { return (struct dirent64 *)readdir(directory); }

int rename(const char *from, const char *to) {
    FAIL_IF(FAULT_RENAME, 0, "rename", EIO);
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    FAIL_IF(FAULT_RENAME, 0, "renameat", EIO);
    return (int)syscall(SYS_renameat, from_directory, from, to_directory, to);
}

int mkdir(const char *path, mode_t mode) {
    FAIL_IF(FAULT_RENAME, 0, "mkdir", ENOSPC);
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
