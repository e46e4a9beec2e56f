/* usage: library [OPTION]… MODEL MEDIA WORK
 *
 * Runs the scenario once for each fault, in a process for each, and prints a table: the calls of each kind, how many
 * were made to fail, and the verdicts. The exit status is 0 only if all verdicts are `status` or `same`. Small
 * allocations are tried only with --only; those that end the process do not count. */
#define _GNU_SOURCE
#include "tries.h"
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct settings {
    scenario_paths paths;
    long sample;          /* tries of each class at most; 0: all */
    long sites;           /* tries of each call site at most; 0: all */
    const char *only;     /* one class */
    long number;          /* one call */
    const char *progress; /* the file of finished tries */
    int again;            /* whether tries that did not pass are repeated */
    int lasting, shows_all, shows_frames, jobs;
    size_t large_bytes;
} settings;

/* The tries of one class; shared by the processes that make them. */
typedef struct figures {
    long calls, sites, planned;
    long verdicts[VERDICTS];
    long numbers[FAULT_SITES]; /* of the calls to fail */
    char done[FAULT_SITES];    /* whether an earlier run finished the try */
} figures;

static void prepare(try_record *record, const settings *use, int fault_class, long number) {
    memset(record, 0, offsetof(try_record, fault.sites));
    memset(&record->disturbed, 0, sizeof *record - offsetof(try_record, disturbed));
    record->fault.fault_class = fault_class;
    record->fault.target = number;
    record->fault.lasting = use->lasting;
    record->fault.large_bytes = use->large_bytes;
}

/* Whether the verdict passes. The Swift runtime cannot refuse a small allocation. */
static int is_fine(int fault_class, enum verdict verdict) {
    return verdict >= STATUS || (fault_class == FAULT_SMALL && verdict == CRASHED);
}

/* --------------------------------------------------------------------------------------------------------- planning */

/* Whether a call is the first of its site, or among the `most` that are spread over all of its calls. */
static int is_chosen(const uint64_t *sites, long count, long index, long most) {
    long before = 0, all = 0;
    for (long i = 0; i < count; i++)
        if (sites[i] == sites[index]) {
            all++;
            before += i < index;
        }
    /* The first, the last, and calls at equal distances between them. */
    for (long i = 0; i < most; i++)
        if (before == (most > 1 ? i * (all - 1) / (most - 1) : 0)) return 1;
    return 0;
}

static long count_sites(const uint64_t *sites, long count) {
    long different = 0;
    for (long i = 0; i < count; i++) different += is_chosen(sites, count, i, 1);
    return different;
}

/* Chooses the calls of a class that are to fail. */
static void plan(const settings *use, const fault_record *calls, int fault_class, figures *row) {
    row->calls = calls->count[fault_class];
    long count = row->calls < FAULT_SITES ? row->calls : FAULT_SITES;
    const uint64_t *sites = fault_class == FAULT_SMALL ? NULL : calls->sites[fault_class];
    if (sites) row->sites = count_sites(sites, count);
    if (use->number) {
        row->numbers[row->planned++] = use->number;
        return;
    }
    for (long i = 0; i < count; i++)
        if (!use->sites || !sites || is_chosen(sites, count, i, use->sites)) row->numbers[row->planned++] = i + 1;
    if (!use->sample || row->planned <= use->sample) return;
    long whole = row->planned, last = fault_class == FAULT_SMALL ? row->calls : 0;
    row->planned = use->sample;
    for (long i = 0; i < use->sample; i++)
        row->numbers[i] = last ? 1 + i * (last - 1) / use->sample : row->numbers[i * whole / use->sample];
}

/* Lines "CLASS NUMBER VERDICT" of an earlier run. */
static void read_progress(const settings *use, figures *rows) {
    FILE *file = use->progress ? fopen(use->progress, "re") : NULL;
    int fault_class, verdict;
    long number;
    while (file && fscanf(file, "%d %ld %d", &fault_class, &number, &verdict) == 3) {
        if (fault_class < 0 || fault_class >= FAULT_CLASSES || verdict < 0 || verdict >= VERDICTS) continue;
        if (use->again && !is_fine(fault_class, (enum verdict)verdict)) continue;
        figures *row = &rows[fault_class];
        for (long i = 0; i < row->planned; i++)
            if (row->numbers[i] == number && !row->done[i]) {
                row->done[i] = 1;
                row->verdicts[verdict]++;
            }
    }
    if (file) fclose(file);
}

static void note_progress(const settings *use, int fault_class, long number, enum verdict verdict) {
    char line[80];
    int file = use->progress ? open(use->progress, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    if (file < 0) return;
    int length = snprintf(line, sizeof line, "%d %ld %d\n", fault_class, number, (int)verdict);
    if (write(file, line, (size_t)length) != length) perror(use->progress);
    close(file);
}

/* ---------------------------------------------------------------------------------------------------------- running */

/* Runs the tries `job`, `job` + jobs, … of a class in a child, which adds to the shared figures. */
static void run_job(const settings *use, const try_record *reference, int fault_class, int job, figures *row) {
    char work[1100];
    settings own = *use;
    snprintf(work, sizeof work, "%s/%d", use->paths.work, job);
    own.paths.work = work;
    try_record *record = new_record();
    for (long i = job; i < row->planned; i += use->jobs) {
        int signal;
        if (row->done[i]) continue;
        prepare(record, use, fault_class, row->numbers[i]);
        enum verdict verdict = try_fault(record, &own.paths, reference, &signal);
        __atomic_fetch_add(&row->verdicts[verdict], 1, __ATOMIC_RELAXED);
        note_progress(use, fault_class, row->numbers[i], verdict);
        if (!is_fine(fault_class, verdict) || use->shows_all || use->number) {
            print_try(record, reference, verdict, signal, row->numbers[i]);
            if (use->shows_frames) print_frames(&record->fault);
            fflush(stdout);
        }
    }
    exit(0);
}

static void run_class(const settings *use, const try_record *reference, int fault_class, figures *row) {
    fflush(NULL);
    for (int job = 0; job < use->jobs; job++)
        if (fork() == 0) run_job(use, reference, fault_class, job, row);
    for (int status; wait(&status) > 0;)
        if (status != 0) fprintf(stderr, "a process that makes tries ended with %d\n", status);
}

static long tries(const figures *row) {
    long all = 0;
    for (int verdict = 0; verdict < VERDICTS; verdict++) all += verdict == MISSED ? 0 : row->verdicts[verdict];
    return all;
}

static void print_row(const char *name, const figures *row) {
    printf("| %-16s | %6ld | %5ld | %5ld |", name, row->calls, row->sites, tries(row));
    const int order[] = {STATUS, SAME, CRASHED, HUNG, WRONG, LOST, UNNAMED, LEAKED};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) printf(" %5ld |", row->verdicts[order[i]]);
    printf("\n");
}

/* Prints the table and the totals. → whether all tries passed */
static int print_figures(const figures *rows) {
    long passed = 0, failed = 0;
    printf("| calls            | in all | sites | tries | status | same "
           "| crash | hang | wrong | lost | no name | leak |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (int fault_class = 0; fault_class < FAULT_CLASSES; fault_class++) {
        /* Tries that were not made because their process ended have not passed. */
        long lost = rows[fault_class].planned - tries(&rows[fault_class]) - rows[fault_class].verdicts[MISSED];
        if (rows[fault_class].planned > 0 && rows[fault_class].verdicts[MISSED] == rows[fault_class].planned) lost++;
        if (lost > 0) {
            printf("%s: %ld tries were not made\n", fault_names[fault_class], lost);
            failed += lost;
        }
        if (tries(&rows[fault_class]) == 0) continue;
        print_row(fault_names[fault_class], &rows[fault_class]);
        for (int verdict = 0; verdict < MISSED; verdict++)
            *(is_fine(fault_class, (enum verdict)verdict) ? &passed : &failed) += rows[fault_class].verdicts[verdict];
    }
    printf("inject: %ld passed, %ld failed\n", passed, failed);
    return failed == 0 && passed > 0;
}

/* -------------------------------------------------------------------------------------------------------- arguments */

static settings parse(int count, char **arguments) {
    settings use = {.large_bytes = 64 << 10, .jobs = 2, .paths.threads = 2};
    static const struct option options[] = {
        {"sample", required_argument, 0, 's'}, {"sites", required_argument, 0, 'S'},
        {"only", required_argument, 0, 'o'},   {"number", required_argument, 0, 'n'},
        {"lasting", no_argument, 0, 'l'},      {"large", required_argument, 0, 'b'},
        {"threads", required_argument, 0, 't'}, {"all", no_argument, 0, 'a'},
        {"frames", no_argument, 0, 'f'},       {"jobs", required_argument, 0, 'j'},
        {"progress", required_argument, 0, 'p'}, {"again", no_argument, 0, 'g'}, {0, 0, 0, 0}};
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) >= 0;) switch (option) {
        case 's': use.sample = atol(optarg); break;
        case 'S': use.sites = atol(optarg); break;
        case 'o': use.only = optarg; break;
        case 'n': use.number = atol(optarg); break;
        case 'l': use.lasting = 1; break;
        case 'b': use.large_bytes = (size_t)atol(optarg); break;
        case 't': use.paths.threads = atoi(optarg); break;
        case 'a': use.shows_all = 1; break;
        case 'f': use.shows_frames = 1; break;
        case 'j': use.jobs = atoi(optarg); break;
        case 'p': use.progress = optarg; break;
        case 'g': use.again = 1; break;
        default: exit(64);
        }
    if (count - optind != 3 || use.jobs < 1) {
        fprintf(stderr, "usage: library [--sample N] [--sites N] [--only CLASS] [--number N] [--lasting]\n"
                        "               [--large BYTES] [--threads N] [--jobs N] [--progress FILE] [--again]\n"
                        "               [--all] [--frames] MODEL MEDIA WORK\n");
        exit(64);
    }
    use.paths.model = arguments[optind];
    use.paths.media = arguments[optind + 1];
    use.paths.work = arguments[optind + 2];
    return use;
}

static figures *new_figures(void) {
    void *memory =
        mmap(NULL, FAULT_CLASSES * sizeof(figures), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(2);
    return memory;
}

int main(int count, char **arguments) {
    settings use = parse(count, arguments);
    for (int job = 0; job < use.jobs; job++) {
        char command[1200];
        snprintf(command, sizeof command, "mkdir -p '%s/%d'", use.paths.work, job);
        if (system(command)) return 2;
    }
    if (load_media(use.paths.media)) {
        fprintf(stderr, "%s: there is no picture.tiff or speech.m4a\n", use.paths.media);
        return 2;
    }
    try_record *reference = new_record();
    int signal;
    char work[1100];
    snprintf(work, sizeof work, "%s/0", use.paths.work);
    settings first = use;
    first.paths.work = work;
    prepare(reference, &use, -1, 0);
    reference->fault.keeps_sites = 1;
    enum verdict verdict = try_fault(reference, &first.paths, NULL, &signal);
    if (verdict != SAME || reference->disturbed.hash != reference->after.hash || reference->leftovers) {
        printf("the undisturbed scenario does not pass: %s, signal %d: %s: %s %s\n", verdict_names[verdict], signal,
               reference->disturbed.call, reference->disturbed.sentence, reference->disturbed.loss);
        return 1;
    }
    /* The memory that pools keep depends on the timing of threads. The most of three undisturbed runs is not a leak. */
    try_record *other = new_record();
    for (int i = 0; i < 2; i++) {
        prepare(other, &use, -1, 0);
        try_fault(other, &first.paths, NULL, &signal);
        if (other->live + other->mapped <= reference->live + reference->mapped) continue;
        reference->live = other->live;
        reference->mapped = other->mapped;
    }
    figures *rows = new_figures();
    for (int fault_class = 0; fault_class < FAULT_CLASSES; fault_class++) {
        if (use.only ? strcmp(use.only, fault_names[fault_class]) != 0 : fault_class == FAULT_SMALL) continue;
        plan(&use, &reference->fault, fault_class, &rows[fault_class]);
    }
    read_progress(&use, rows);
    for (int fault_class = 0; fault_class < FAULT_CLASSES; fault_class++)
        run_class(&use, reference, fault_class, &rows[fault_class]);
    return !print_figures(rows);
}
