/* A table of training's kernels for each instruction set. training.c chooses the table. */
#ifndef LYRA_TRAINING_TABLE_H
#define LYRA_TRAINING_TABLE_H

#include "../include/lyra_training.h"

/* As the functions of lyra_training.h, on one thread; `cross_entropy` is of one row and returns its loss. */
typedef struct lk_training_kernels {
    void (*adamw)(float *w, float *m, float *v, const float *g, size_t count, const lk_adamw_step *step);
    double (*square_sum)(const float *x, size_t count);
    double (*cross_entropy)(float *x, size_t columns, size_t target, float scale);
} lk_training_kernels;

extern const lk_training_kernels lk_training_generic;
#if defined(__x86_64__)
extern const lk_training_kernels lk_training_avx2, lk_training_avx512;
#endif

#endif
