/* The loop that measures the peak of one core. */
#ifndef LK_PEAK_LOOP

/* The number of independent sums: enough to hide the latency of one operation. */
enum { LK_CHAINS = 12 };

/* The body of a function that runs `step` on LK_CHAINS vectors of sums, each named `sum` in turn, `rounds` times. Each
 * lane of a step does `products` multiplications and as many additions. Returns the number of operations. */
#define LK_PEAK_LOOP(rounds, products, step)                                                                           \
    vf sums_[LK_CHAINS];                                                                                               \
    LK_UNROLL for (int i_ = 0; i_ < LK_CHAINS; i_++) sums_[i_] = vf_set(0);                                            \
    for (size_t round_ = 0; round_ < (rounds); round_++)                                                               \
        LK_UNROLL for (int i_ = 0; i_ < LK_CHAINS; i_++) {                                                             \
            vf sum = sums_[i_];                                                                                        \
            step;                                                                                                      \
            LK_IN_ORDER(sum);                                                                                          \
            sums_[i_] = sum;                                                                                           \
        }                                                                                                              \
    return 2.0 * (products) * LK_WIDTH * LK_CHAINS * (double)(rounds);

#endif
