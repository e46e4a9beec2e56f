/* The kernels that compute in floats, written once over vectors of LK_WIDTH floats; float_*.c compile them for each
 * instruction set. */
#include "table.h"
#include "simd.h"
#include "peak_isa.h"
#include "convolution/conv1d_isa.h"
#include "elementwise/elementwise_isa.h"
#include "linear/dot_rows_isa.h"
#include "linear/product_isa.h"
#include "attention/few_queries_isa.h"
#include "attention/kv_store_isa.h"
#include "attention/softmax_isa.h"
#include "quantized/epilogue_isa.h"

/* Reads in order, eight vectors at a time, and prefetches later lines. Without prefetching, a core reaches two thirds
 * of the bandwidth. */
static uint32_t read_bytes(const void *data, size_t bytes) {
    enum { LINE = 64, AHEAD = 1024 };
    const char *p = data;
    vu sums[8] = {{0}};
    for (size_t i = 0; i + sizeof sums <= bytes; i += sizeof sums) {
        for (size_t line = 0; line < sizeof sums; line += LINE) __builtin_prefetch(p + i + AHEAD + line, 0, 3);
        LK_UNROLL for (int v = 0; v < 8; v++) sums[v] += vu_load(p + i + v * sizeof(vu));
    }
    uint32_t total = 0;
    for (int v = 0; v < 8; v++)
        for (int lane = 0; lane < LK_WIDTH; lane++) total += sums[v][lane];
    return total;
}

static double float_peak(size_t rounds) {
    vf factor = vf_set(0.5f);
    LK_IN_ORDER(factor); /* so that the compiler does not know its square */
    LK_PEAK_LOOP(rounds, 1, sum += factor * factor)
}

const lk_float_kernels LK_FLOAT_KERNELS = {
    .dequantize = dequantize,
    .dot_rows = dot_rows,
    .dot_keys = dot_keys,
    .mix_rows = mix_rows,
    .scale_columns = scale_columns,
    .dequantize_codes = dequantize_codes,
    .round_to_half = round_to_half,
    .quantize_codes = quantize_codes,
    .softmax_tile = softmax_tile,
    .softmax_columns = softmax_columns,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .silu_mul = silu_mul,
    .gelu = gelu,
    .quick_gelu = quick_gelu,
    .leaky_relu = leaky_relu,
    .tanh_ = tanh_,
    .add = add,
    .scale = scale,
    .rope = rope,
    .product = product,
    .product_floats = PRODUCT_FLOATS,
    .conv1d = conv1d,
    .finish = finish,
    .read_bytes = read_bytes,
    .peak = float_peak,
};
