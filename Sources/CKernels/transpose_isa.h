/* Transposes a square of LK_WIDTH vectors of LK_WIDTH lanes. */

#if LK_WIDTH == 16
#define LK_LOW_LANES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define LK_HIGH_LANES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LK_WIDTH == 8
#define LK_LOW_LANES 0, 8, 1, 9, 2, 10, 3, 11
#define LK_HIGH_LANES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LK_LOW_LANES 0, 4, 1, 5
#define LK_HIGH_LANES 2, 6, 3, 7
#endif

/* A square of vectors: interleaving the halves as often as a lane's number has bits transposes it. */
LK_INLINE void transpose_square(vf square[LK_WIDTH]) {
    LK_UNROLL for (int distance = 1; distance < LK_WIDTH; distance *= 2) {
        vf next[LK_WIDTH];
        LK_UNROLL for (int i = 0; i < LK_WIDTH / 2; i++) {
            const vf a = square[i], b = square[i + LK_WIDTH / 2];
            next[2 * i] = __builtin_shufflevector(a, b, LK_LOW_LANES);
            next[2 * i + 1] = __builtin_shufflevector(a, b, LK_HIGH_LANES);
        }
        LK_UNROLL for (int i = 0; i < LK_WIDTH; i++) square[i] = next[i];
    }
}
