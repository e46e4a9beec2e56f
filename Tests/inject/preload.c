/* The faults for a program that is not linked with them: LD_PRELOAD it, with the record's file in FAULT_RECORD. */
#define _GNU_SOURCE
#include "fault.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULT_RECORD");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    fault_record *record = mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    unsetenv("LD_PRELOAD"); /* of what the program starts in turn, nothing fails */
    if (record == MAP_FAILED) return;
    fault_use(record);
    atomic_store(&record->armed, 1);
}
