/* One process with a fault in it, and what became of it. */
#ifndef LYRA_INJECT_TRIES_H
#define LYRA_INJECT_TRIES_H

#include "fault.h"
#include "scenario.h"

/* How a try ended, the worst first. */
enum verdict {
    CRASHED, /* by a signal, abort included, or by exit */
    HUNG,
    WRONG,   /* every call succeeded, and the answer is another; or a later answer is */
    LOST,    /* a call that was made again failed again, or a part of the model is gone */
    UNNAMED, /* a failure whose sentence says nothing */
    LEAKED,  /* memory, a mapping, a descriptor or a file was left */
    STATUS,  /* a call failed with a status, and all went on as undisturbed after that */
    SAME,    /* the answer is the undisturbed one, and nothing failed */
    MISSED,  /* the call was not reached */
    VERDICTS
};

extern const char *const verdict_names[VERDICTS];

/* Shared by the process that tries and the one that waits for it. */
typedef struct try_record {
    fault_record fault;
    scenario_outcome disturbed; /* with the fault */
    scenario_outcome after;     /* the same once more, without */
    long live, mapped;          /* bytes after the second */
    int descriptors;
    int leftovers; /* files in the work directory that should not be there */
} try_record;

try_record *new_record(void);

/* Runs the scenario twice in a child, with the record's fault in the first. → the verdict against `reference`, which may
 * be null */
enum verdict try_fault(try_record *record, const scenario_paths *paths, const try_record *reference, int *signal);

/* Prints what there is to know of a try, with the functions that led to the call that failed. */
void print_try(const try_record *record, const try_record *reference, enum verdict verdict, int signal, long number);

/* Prints the functions of a backtrace, the innermost first. */
void print_frames(const fault_record *fault);

#endif
