/* What training in several processes needs of MPI, loaded by lyra_mpi_load: Open MPI, or an implementation with MPICH's
 * ABI (MPICH, Intel MPI, MVAPICH). lyra is built without MPI's headers.
 *
 * After lyra_mpi_load, one thread makes all calls, from lyra_mpi_init to lyra_mpi_finalize. Functions return 0 or MPI's
 * error code, which lyra_mpi_message explains. All processes make the same calls in the same order. */
#pragma once

#include <stddef.h>
#include "lyra_loading.h"

/* Loads the library; does nothing if it is loaded.
 *
 * `wants_mpich`: which of the two ABIs to look for first. A program must use the library whose mpirun started it.
 * → LYRA_LOADED, or another status with a message in `reason`. */
int lyra_mpi_load(int wants_mpich, char *reason, size_t capacity);

/* The library's name and version, on one line. May be called before lyra_mpi_init. */
void lyra_mpi_version(char *text, size_t capacity);

/* Joins the other processes. Later failures are returned, not fatal. */
int lyra_mpi_init(int *rank, int *count);

/* Replaces each element by its sum or maximum over all processes. Waits busily for the other processes. */
int lyra_mpi_sum_doubles(double *values, size_t count);
int lyra_mpi_max_doubles(double *values, size_t count);
int lyra_mpi_sum_floats(float *values, size_t count);

/* A barrier without waiting: begins it, and tests whether all processes have begun it. One at a time. */
int lyra_mpi_begin_barrier(void);
int lyra_mpi_test_barrier(int *is_passed);

int lyra_mpi_finalize(void);

/* Ends all processes, this one too. */
void lyra_mpi_abort(int status);

void lyra_mpi_message(int error, char *text, size_t capacity);
