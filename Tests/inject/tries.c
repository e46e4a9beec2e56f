#define _GNU_SOURCE
#include "tries.h"
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const verdict_names[VERDICTS] = {"crash", "hang",   "wrong", "lost", "no name",
                                             "leak",  "status", "same",  "missed"};

enum {
    SECONDS = 600,        /* a try that takes longer hangs; far more than it takes on a busy machine */
    LEAK_BYTES = 48 << 10 /* more than the Swift runtime keeps of the first error of a type */
};

try_record *new_record(void) {
    void *memory = mmap(NULL, sizeof(try_record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return memory;
}

static int open_descriptors(void) {
    int count = 0;
    for (int file = 0; file < 512; file++) count += fcntl(file, F_GETFD) >= 0;
    return count;
}

/* Removes the files in the work directory except the saved conversation. → how many */
static int sweep(const char *work) {
    int count = 0;
    DIR *directory = opendir(work);
    if (!directory) return 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[1400];
        if (entry->d_name[0] == '.' && (!entry->d_name[1] || entry->d_name[1] == '.')) continue;
        snprintf(path, sizeof path, "%s/%s", work, entry->d_name);
        if (strcmp(entry->d_name, "conversation.state") != 0 && strcmp(entry->d_name, "stderr") != 0) count++;
        unlink(path);
    }
    closedir(directory);
    return count;
}

/* `allowed`: bytes that may remain. Memory that another thread is about to free gets a moment. */
static void child(try_record *record, const scenario_paths *paths, long allowed) {
    char path[1200];
    long live = fault_live_bytes(), mapped = fault_mapped_bytes();
    int descriptors = open_descriptors();
    snprintf(path, sizeof path, "%s/stderr", paths->work);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file >= 0) dup2(file, 2);
    setenv("TMPDIR", paths->work, 1);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    alarm(SECONDS);
    fault_use(&record->fault);
    atomic_store(&record->fault.armed, 1);
    run_scenario(paths, &record->disturbed);
    atomic_store(&record->fault.armed, 0);
    run_scenario(paths, &record->after);
    for (int wait = 0; wait < 20; wait++) {
        record->live = fault_live_bytes() - live;
        record->mapped = fault_mapped_bytes() - mapped;
        if (record->live + record->mapped <= allowed) break;
        usleep(50000);
    }
    record->descriptors = open_descriptors() - descriptors;
    _exit(0);
}

static enum verdict judge(const try_record *record, const try_record *reference, int status) {
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGALRM ? HUNG : CRASHED;
    if (!record->after.finished) return CRASHED;
    if (!reference) return record->disturbed.failures + record->after.failures ? LOST : SAME;
    if (record->fault.fault_class >= 0 && record->fault.injected == 0) return MISSED;
    if (record->disturbed.losses > 0 && !record->fault.lasting) return LOST;
    if (record->after.failures > 0 || record->after.losses > 0) return LOST;
    if (record->after.hash != reference->after.hash) return WRONG;
    /* If all later calls fail, no answer is expected. */
    if (record->disturbed.hash != reference->after.hash && !record->fault.lasting) return WRONG;
    if (record->disturbed.poor_sentences > 0) return UNNAMED;
    /* The sum counts: if a mapping is refused, OpenBLAS takes its buffer from malloc. */
    long left = record->live + record->mapped - reference->live - reference->mapped;
    if (record->leftovers > 0 || left > LEAK_BYTES || record->descriptors > reference->descriptors) return LEAKED;
    return record->disturbed.failures > 0 ? STATUS : SAME;
}

enum verdict try_fault(try_record *record, const scenario_paths *paths, const try_record *reference, int *signal) {
    int status = 0;
    fflush(NULL);
    pid_t process = fork();
    if (process == 0) child(record, paths, reference ? reference->live + reference->mapped + LEAK_BYTES : 0);
    if (process < 0 || waitpid(process, &status, 0) != process) {
        perror("fork");
        exit(2);
    }
    record->leftovers = sweep(paths->work);
    *signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return judge(record, reference, status);
}

/* --------------------------------------------------------------------------------------------------------- printing */

/* Libraries have the same addresses in this process and in its children. Functions of this program are skipped. */
void print_frames(const fault_record *fault) {
    Dl_info module, own;
    if (!dladdr((void *)print_frames, &own)) return;
    for (int i = 1; i < fault->frame_count; i++) {
        char command[1400], line[600] = "";
        if (!dladdr(fault->frames[i], &module) || !module.dli_fname || module.dli_fbase == own.dli_fbase) continue;
        long offset = (char *)fault->frames[i] - (char *)module.dli_fbase - 1;
        snprintf(command, sizeof command, "addr2line -f -s -e '%s' %lx 2>&1 | paste -sd' '", module.dli_fname, offset);
        FILE *pipe = popen(command, "r");
        if (pipe && fgets(line, sizeof line, pipe)) printf("        %s", line);
        if (pipe) pclose(pipe);
    }
}

void print_try(const try_record *record, const try_record *reference, enum verdict verdict, int signal, long number) {
    const fault_record *fault = &record->fault;
    printf("    %s %ld: %s", fault_names[fault->fault_class], number, verdict_names[verdict]);
    if (signal) printf(" by signal %d", signal);
    if (fault->injected) printf("; %s", fault->call);
    if (fault->bytes) printf(" of %zu bytes", fault->bytes);
    const scenario_outcome *disturbed = &record->disturbed;
    if (disturbed->failures)
        printf("; %s: %d: %s", disturbed->call, disturbed->status, disturbed->sentence);
    if (disturbed->losses) printf("; LOST: %s", disturbed->loss);
    if (record->after.failures)
        printf("; AFTERWARDS: %s: %s", record->after.call, record->after.sentence);
    if (verdict == LEAKED)
        printf("; %+ld bytes, %+ld mapped, %+d descriptors, %d files", record->live - reference->live,
               record->mapped - reference->mapped, record->descriptors - reference->descriptors, record->leftovers);
    printf("\n");
}
