/* A try: a process with a fault, and its verdict. */
#ifndef LYRA_INJECT_TRIES_H
#define LYRA_INJECT_TRIES_H

#include "fault.h"
#include "scenario.h"

/* How a try ended, the worst first. */
enum verdict {
    CRASHED, /* by a signal, abort included, or by exit */
    HUNG,
    WRONG,   /* every call succeeded, but this or a later answer differs */
    LOST,    /* a repeated call failed again, or a part of the model is missing */
    UNNAMED, /* an error message says nothing */
    LEAKED,  /* memory, a mapping, a descriptor or a file was left */
    STATUS,  /* a call failed with a status, and all later answers are the undisturbed ones */
    SAME,    /* no call failed, and the answer is the undisturbed one */
    MISSED,  /* the call was not reached */
    VERDICTS
};

extern const char *const verdict_names[VERDICTS];

/* Shared by the process with the fault and its parent. */
typedef struct try_record {
    fault_record fault;
    scenario_outcome disturbed; /* with the fault */
    scenario_outcome after;     /* the same once more, without */
    long live, mapped;          /* bytes after the second */
    int descriptors;
    int leftovers; /* files in the work directory that should not be there */
} try_record;

try_record *new_record(void);

/* Runs the scenario twice in a child, the first time with the record's fault. → the verdict against `reference`, which
 * may be null */
enum verdict try_fault(try_record *record, const scenario_paths *paths, const try_record *reference, int *signal);

/* Prints a try with the functions that led to the failed call. */
void print_try(const try_record *record, const try_record *reference, enum verdict verdict, int signal, long number);

/* Prints the functions of a backtrace, the innermost first. */
void print_frames(const fault_record *fault);

#endif
