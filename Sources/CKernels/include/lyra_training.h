/* Kernels that only training needs. They are a family of their own that nothing else refers to, so that a library that
 * never trains links none of them. The rules of lyra_kernels.h hold. */
#ifndef LYRA_TRAINING_H
#define LYRA_TRAINING_H

#include <stddef.h>
#include <stdint.h>

/* One step of AdamW (Loshchilov and Hutter, arXiv 1711.05101), with what is the same for all elements computed ahead.
 * For the rate η, weight decay λ and step t:
 *     g ← gradient_scale · g
 *     m ← m + first_share · (g - m)                     first_share = 1 - β1
 *     v ← second_keep · v + second_share · g²           second_keep = β2, second_share = 1 - β2
 *     w ← keep · w - size · m / (root_scale · √v + epsilon)
 * where keep = 1 - η λ, size = η / (1 - β1ᵗ) and root_scale = 1 / √(1 - β2ᵗ). */
typedef struct lk_adamw_step {
    float gradient_scale, first_share, second_keep, second_share, keep, size, root_scale, epsilon;
} lk_adamw_step;

/* Updates the weights w and their moments m and v in place from the gradient g; all [count]. An element's result does
 * not depend on its place nor on the number of threads. */
void lk_adamw(float *w, float *m, float *v, const float *g, size_t count, const lk_adamw_step *step);

/* Σ x², in double precision. The order of the sum depends on `count` only. */
double lk_square_sum(const float *x, size_t count);

/* Cross-entropy of rows of logits x[rows, columns], in place: row r becomes scale · (softmax x - onehot(target)), and
 * losses[r] = log Σ exp x - x[target]. A row whose target is negative becomes 0 with a loss of 0. A row with NaN, +∞ or
 * nothing but -∞ becomes NaN, as does its loss. Targets are below `columns`. */
void lk_cross_entropy(float *x, size_t ldx, size_t rows, size_t columns, const int32_t *targets, float scale,
                      double *losses);

#endif
