/* The calls of one ABI. mpi_loaded.c includes this file for each, with these macros:
 *   NAME(name)                      the name with the ABI's prefix
 *   HANDLE                          the type of communicators, types, operations, requests and error handlers
 *   COMM_WORLD, TYPE_FLOAT, TYPE_DOUBLE, OP_SUM, OP_MAX, ERRORS_RETURN    handles
 *   IN_PLACE, STATUS_IGNORE         pointers with a special meaning
 *   DATA_MEMBERS, DATA_NAMES        addresses of the library's variables that the handles need; may be empty
 * The file undefines them. */

typedef struct NAME(library) {
    int (*init_thread)(int *, char ***, int, int *);
    int (*comm_rank)(HANDLE, int *);
    int (*comm_size)(HANDLE, int *);
    int (*comm_set_errhandler)(HANDLE, HANDLE);
    int (*allreduce)(const void *, void *, int, HANDLE, HANDLE, HANDLE);
    int (*ibarrier)(HANDLE, HANDLE *);
    int (*test)(HANDLE *, int *, void *);
    int (*finalize)(void);
    int (*abort)(HANDLE, int);
    int (*error_string)(int, char *, int *);
    int (*get_library_version)(char *, int *);
    DATA_MEMBERS
} NAME(library);

static const char *const NAME(names)[] = {
    "MPI_Init_thread", "MPI_Comm_rank", "MPI_Comm_size", "MPI_Comm_set_errhandler", "MPI_Allreduce", "MPI_Ibarrier",
    "MPI_Test", "MPI_Finalize", "MPI_Abort", "MPI_Error_string", "MPI_Get_library_version" DATA_NAMES};

_Static_assert(sizeof(NAME(library)) == sizeof NAME(names) / sizeof *NAME(names) * sizeof(void *),
               "one member for each name");

static NAME(library) NAME(mpi);
static HANDLE NAME(barrier);

static int NAME(init)(int *rank, int *count) {
    int level;
    int error = NAME(mpi).init_thread(NULL, NULL, THREAD_FUNNELED, &level);
    if (!error) error = NAME(mpi).comm_set_errhandler(COMM_WORLD, ERRORS_RETURN);
    if (!error) error = NAME(mpi).comm_rank(COMM_WORLD, rank);
    return error ? error : NAME(mpi).comm_size(COMM_WORLD, count);
}

static int NAME(reduce)(void *values, size_t count, size_t bytes, int is_float, int is_max) {
    HANDLE type = is_float ? TYPE_FLOAT : TYPE_DOUBLE;
    HANDLE operation = is_max ? OP_MAX : OP_SUM;
    for (size_t first = 0; first < count; first += MOST_ELEMENTS) {
        size_t rest = count - first;
        int elements = (int)(rest < MOST_ELEMENTS ? rest : MOST_ELEMENTS);
        int error = NAME(mpi).allreduce(IN_PLACE, (char *)values + first * bytes, elements, type, operation, COMM_WORLD);
        if (error) return error;
    }
    return 0;
}

static int NAME(begin_barrier)(void) { return NAME(mpi).ibarrier(COMM_WORLD, &NAME(barrier)); }

static int NAME(test_barrier)(int *is_passed) { return NAME(mpi).test(&NAME(barrier), is_passed, STATUS_IGNORE); }

static int NAME(finalize)(void) { return NAME(mpi).finalize(); }

static void NAME(abort)(int status) { NAME(mpi).abort(COMM_WORLD, status); }

static int NAME(error_string)(int error, char *text, int *length) {
    return NAME(mpi).error_string(error, text, length);
}

static int NAME(version)(char *text, int *length) { return NAME(mpi).get_library_version(text, length); }

static const calls NAME(calls) = {
    NAME(names),        sizeof NAME(names) / sizeof *NAME(names),
    (void **)&NAME(mpi), NAME(init),
    NAME(reduce),       NAME(begin_barrier),
    NAME(test_barrier), NAME(finalize),
    NAME(abort),        NAME(error_string),
    NAME(version)};

#undef NAME
#undef HANDLE
#undef DATA_MEMBERS
#undef DATA_NAMES
#undef COMM_WORLD
#undef TYPE_FLOAT
#undef TYPE_DOUBLE
#undef OP_SUM
#undef OP_MAX
#undef ERRORS_RETURN
#undef IN_PLACE
#undef STATUS_IGNORE
