/* A file in memory as a lyra_reader that counts its closes and can fail. */
#ifndef MEMORY_FILE_H
#define MEMORY_FILE_H

#include "check.h"

#include <errno.h>

typedef struct {
    unsigned char *bytes;
    size_t count;
    size_t offset;
    size_t fail_after; /* reads that succeed before one fails; SIZE_MAX: none does */
    int closes;
} memory_file;

static inline int64_t memory_read(void *user, void *buffer, size_t bytes) {
    memory_file *file = user;
    if (file->fail_after != SIZE_MAX && file->fail_after-- == 0) {
        file->fail_after = 0;
        return -1;
    }
    const size_t left = file->count - file->offset;
    const size_t given = bytes < left ? bytes : left;
    memcpy(buffer, file->bytes + file->offset, given);
    file->offset += given;
    return (int64_t)given;
}

static inline int64_t memory_seek(void *user, int64_t offset) {
    memory_file *file = user;
    if (offset < 0 || (uint64_t)offset > file->count) return -1;
    file->offset = (size_t)offset;
    return offset;
}

static inline int64_t memory_length(void *user) { return (int64_t)((memory_file *)user)->count; }

static inline void memory_close(void *user) { ((memory_file *)user)->closes++; }

static inline lyra_reader reader_over(memory_file *file) {
    lyra_reader reader;
    memset(&reader, 0, sizeof reader);
    reader.size = sizeof reader;
    reader.user = file;
    reader.read = memory_read;
    reader.seek = memory_seek;
    reader.length = memory_length;
    reader.close = memory_close;
    file->offset = 0;
    file->fail_after = SIZE_MAX;
    file->closes = 0;
    return reader;
}

static inline memory_file load(const char *path) {
    memory_file file;
    memset(&file, 0, sizeof file);
    FILE *from = fopen(path, "rb");
    if (from == NULL || fseek(from, 0, SEEK_END) != 0) {
        printf("not ok - %s: %s\n", path, strerror(errno));
        exit(1);
    }
    file.count = (size_t)ftell(from);
    file.bytes = malloc(file.count);
    rewind(from);
    if (file.bytes == NULL || fread(file.bytes, 1, file.count, from) != file.count) {
        printf("not ok - %s is read\n", path);
        exit(1);
    }
    fclose(from);
    return file;
}

#endif
