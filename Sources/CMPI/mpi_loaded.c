#include "lyra_mpi.h"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Elements of one call: MPI counts with int. */
#define MOST_ELEMENTS ((size_t)1 << 28)

/* Both ABIs number the levels of thread support alike. */
enum { THREAD_FUNNELED = 1 };

/* The longest texts of either ABI. */
enum { LONGEST_MESSAGE = 512, LONGEST_VERSION = 8192 };

typedef struct calls {
    const char *const *names;
    size_t count;
    void **addresses; /* where to put one for each name */
    int (*init)(int *rank, int *count);
    int (*reduce)(void *values, size_t count, size_t bytes, int is_float, int is_max);
    int (*begin_barrier)(void);
    int (*test_barrier)(int *is_passed);
    int (*finalize)(void);
    void (*abort)(int status);
    int (*error_string)(int error, char *text, int *length);
    int (*version)(char *text, int *length);
} calls;

/* Open MPI: handles are addresses of the library's variables (ompi/include/mpi.h.in). */
#define NAME(name) openmpi_##name
#define HANDLE void *
#define DATA_MEMBERS void *comm_world, *type_float, *type_double, *op_sum, *op_max, *errors_return;
#define DATA_NAMES                                                                                      \
    , "ompi_mpi_comm_world", "ompi_mpi_float", "ompi_mpi_double", "ompi_mpi_op_sum", "ompi_mpi_op_max", \
        "ompi_mpi_errors_return"
#define COMM_WORLD openmpi_mpi.comm_world
#define TYPE_FLOAT openmpi_mpi.type_float
#define TYPE_DOUBLE openmpi_mpi.type_double
#define OP_SUM openmpi_mpi.op_sum
#define OP_MAX openmpi_mpi.op_max
#define ERRORS_RETURN openmpi_mpi.errors_return
#define IN_PLACE ((void *)1)
#define STATUS_IGNORE NULL
#include "mpi_calls.h"

/* MPICH's ABI (mpich.org/abi): handles are numbers (src/include/mpi.h.in). */
#define NAME(name) mpich_##name
#define HANDLE int
#define DATA_MEMBERS
#define DATA_NAMES
#define COMM_WORLD 0x44000000
#define TYPE_FLOAT 0x4c00040a
#define TYPE_DOUBLE 0x4c00080b
#define OP_SUM 0x58000003
#define OP_MAX 0x58000001
#define ERRORS_RETURN 0x54000001
#define IN_PLACE ((void *)(intptr_t)-1)
#define STATUS_IGNORE ((void *)1)
#include "mpi_calls.h"

/* libmpi.so.12 can be either: an old Open MPI, which has Open MPI's variables, or a library with MPICH's ABI. */
static const struct candidate {
    lyra_library library;
    const calls *calls;
} candidates[] = {{{"libmpi.so.40", "libopenmpi3", NULL, 0}, &openmpi_calls},
                  {{"libmpi.so.12", "libopenmpi3", NULL, 0}, &openmpi_calls},
                  {{"libmpich.so.12", "libmpich12", NULL, 0}, &mpich_calls},
                  {{"libmpi.so.12", "libmpich12", NULL, 0}, &mpich_calls}};
enum { CANDIDATES = sizeof candidates / sizeof *candidates, FIRST_MPICH = 2 };

/* MPICH 4.0 maps 40 MiB on Debian 12. */
static const size_t room = (size_t)64 << 20;

static const calls *found;

/* The reason is that of the first candidate that cannot be loaded. */
static int load_first(int first, char *reason, size_t capacity) {
    int status = LYRA_LOADED;
    char others[1024] = "";
    for (int i = 0; i < CANDIDATES && !found; i++) {
        const struct candidate *candidate = &candidates[(first + i) % CANDIDATES];
        const calls *calls = candidate->calls;
        int result = lyra_load(&candidate->library, 1, calls->names, calls->addresses, calls->count, room,
                               i ? others : reason, i ? sizeof others : capacity);
        if (result == LYRA_LOADED) found = calls;
        if (i == 0) status = result;
    }
    return found ? LYRA_LOADED : status;
}

int lyra_mpi_load(int wants_mpich, char *reason, size_t capacity) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    int status = found ? LYRA_LOADED : load_first(wants_mpich ? FIRST_MPICH : 0, reason, capacity);
    pthread_mutex_unlock(&mutex);
    return status;
}

/* What the functions return until a library is loaded: any number but 0. */
static const int not_loaded = -1;

int lyra_mpi_init(int *rank, int *count) { return found ? found->init(rank, count) : not_loaded; }

int lyra_mpi_sum_doubles(double *values, size_t count) {
    return found ? found->reduce(values, count, sizeof *values, 0, 0) : not_loaded;
}

int lyra_mpi_max_doubles(double *values, size_t count) {
    return found ? found->reduce(values, count, sizeof *values, 0, 1) : not_loaded;
}

int lyra_mpi_sum_floats(float *values, size_t count) {
    return found ? found->reduce(values, count, sizeof *values, 1, 0) : not_loaded;
}

int lyra_mpi_begin_barrier(void) { return found ? found->begin_barrier() : not_loaded; }

int lyra_mpi_test_barrier(int *is_passed) { return found ? found->test_barrier(is_passed) : not_loaded; }

int lyra_mpi_finalize(void) { return found ? found->finalize() : not_loaded; }

void lyra_mpi_abort(int status) {
    if (found) found->abort(status);
}

void lyra_mpi_message(int error, char *text, size_t capacity) {
    char message[LONGEST_MESSAGE] = "MPI is not loaded";
    int length;
    if (found && found->error_string(error, message, &length)) snprintf(message, sizeof message, "error %d", error);
    snprintf(text, capacity, "%s", message);
}

void lyra_mpi_version(char *text, size_t capacity) {
    char version[LONGEST_VERSION] = "MPI is not loaded";
    int length;
    if (found && found->version(version, &length)) snprintf(version, sizeof version, "MPI of unknown version");
    version[strcspn(version, "\n,")] = 0;
    for (char *c = version; *c; c++)
        if (*c == '\t') *c = ' ';
    snprintf(text, capacity, "%s", version);
}
