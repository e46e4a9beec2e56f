/* Quantized weights: GGUF's block types, and weights packed for the kernels. Included by lyra_kernels.h.
 *
 * A row of a block type is a sequence of quantization blocks; its length is a multiple of a block's elements.
 */
#ifndef LYRA_PACKED_H
#define LYRA_PACKED_H

/* Elements, and bytes in a file, of one quantization block of `type`; for other types, of one element. */
size_t lk_block_elements(lk_type type);
size_t lk_block_bytes(lk_type type);

/* dst = src in `type`, with the pool's threads. `count` is a multiple of the elements of a quantization block. Q8_0 and
 * Q4_0 equal gguf-py bit for bit; Q4_K and Q6_K search for the scales that fit best. F16 and BF16 round to nearest
 * even. */
void lk_quantize(void *dst, lk_type type, const float *src, size_t count);

/* Whether weights w[n, k] can be packed into the order in which the kernels read them: BF16 and the block types. */
int lk_can_pack(lk_type type, size_t k);
/* Bytes of the packed form. */
size_t lk_packed_bytes(lk_type type, size_t n, size_t k);
/* Packs w, as a file stores it, with the pool's threads. `packed` is aligned to 64 bytes; w may lie at any byte. */
void lk_pack(void *packed, const void *w, lk_type type, size_t n, size_t k);
/* dst[k] = row `row` of the weights in floats, as lk_dequantize gives it for unpacked weights. */
void lk_unpack_row(float *dst, const void *packed, lk_type type, size_t k, size_t row);

/* Rows of weights: row `first` + indices[i], or `first` + i if `indices` is null. */
typedef struct lk_rows {
    int packed; /* or as a file stores them */
    size_t first;
    const int32_t *indices;
} lk_rows;
/* dst[count, k] = these rows in floats, with the pool's threads. */
void lk_gather_rows(float *dst, const void *w, lk_type type, size_t k, const lk_rows *rows, size_t count);

/* y[m, n] = epilogue(x[m, k] · weights[n, k]ᵀ + bias[n]). `bias` may be null. BF16 weights round x to BF16; with
 * LK_FEW_ROWS rows or fewer, where precision costs nothing, x keeps 16 bits of its mantissa or more. On tiles, many
 * rows round x to BF16 for every type of weights. */
enum { LK_FEW_ROWS = 6 };

/* Rows first … first + n - 1 of packed weights. */
typedef struct lk_packed_weights {
    const void *panels;
    lk_type type;
    size_t first, n;
} lk_packed_weights;

typedef struct lk_packed_product {
    float *y;
    size_t ldy;
    lk_packed_weights weights;
    const float *bias;
    lk_epilogue epilogue;
} lk_packed_product;

/* Runs several products of the same x[m, k] in parallel. Their outputs must not overlap. x is rounded once; block types
 * round x to 8 bits, with a scale for every 32 values of a row. Results do not depend on the number of threads. A row
 * of y does not depend on the other rows; with BF16 weights, and on tiles, only on whether there are more than
 * LK_FEW_ROWS. */
int lk_packed_linear(const lk_packed_product *products, size_t count, const float *x, size_t ldx, size_t m, size_t k);
/* The same for rows that do not belong together, such as those of different conversations: x is rounded as if each row
 * were alone, however many there are. */
int lk_packed_linear_apart(const lk_packed_product *products, size_t count, const float *x, size_t ldx, size_t m,
                           size_t k);

#endif
