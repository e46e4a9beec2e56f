/* Packs weights, and unpacks rows of them. packed.h describes the layout. */
#include "blocks.h"
#include "packed_layout.h"
#include "../table.h"
#include <string.h>

int lk_can_pack(lk_type type, size_t k) {
    return type == LK_BF16 || (lk_block_elements(type) > 1 && k % lk_block_elements(type) == 0);
}

size_t lk_packed_bytes(lk_type type, size_t n, size_t k) {
    return (n + LK_PANEL - 1) / LK_PANEL * lk_panel_bytes(type, k);
}

/* The place of a row's four-bit weights: the offset of its bytes within a line, and the shift of its half of a byte. */
static size_t line_offset(size_t row) { return row % 16 * 4; }
static int half_shift(size_t row) { return row < 16 ? 0 : 4; }

static void put_half(char *line, size_t row, size_t k, int value) {
    line[line_offset(row) + k] = (char)(line[line_offset(row) + k] | value << half_shift(row));
}

static int get_half(const char *line, size_t row, size_t k) {
    return ((uint8_t)line[line_offset(row) + k] >> half_shift(row)) & 15;
}

/* ---------------------------------------------------------- one quantization block of one row to and from its slice */

static void put_q8_0(char *slice, size_t row, const void *src) {
    lk_q8_0 block;
    memcpy(&block, src, sizeof block);
    for (size_t i = 0; i < 8; i++) {
        uint32_t four;
        memcpy(&four, block.q + 4 * i, 4);
        four ^= 0x80808080u;
        memcpy(slice + LK_Q8_0_LINE * i + 4 * row, &four, 4);
    }
    memcpy(slice + LK_Q8_0_SCALES + 2 * row, &block.scale, 2);
}

static void get_q8_0(void *dst, const char *slice, size_t row) {
    lk_q8_0 block;
    for (size_t i = 0; i < 8; i++) {
        uint32_t four;
        memcpy(&four, slice + LK_Q8_0_LINE * i + 4 * row, 4);
        four ^= 0x80808080u;
        memcpy(block.q + 4 * i, &four, 4);
    }
    memcpy(&block.scale, slice + LK_Q8_0_SCALES + 2 * row, 2);
    memcpy(dst, &block, sizeof block);
}

static void put_q4_0(char *slice, size_t row, const void *src) {
    lk_q4_0 block;
    memcpy(&block, src, sizeof block);
    for (size_t e = 0; e < LK_BLOCK; e++)
        put_half(slice + e / 4 * LK_HALF_LINE, row, e % 4, e < 16 ? block.q[e] & 15 : block.q[e - 16] >> 4);
    memcpy(slice + LK_HALVES + 2 * row, &block.scale, 2);
}

static void get_q4_0(void *dst, const char *slice, size_t row) {
    lk_q4_0 block;
    for (size_t e = 0; e < 16; e++) {
        const char *line = slice + e / 4 * LK_HALF_LINE;
        int low = get_half(line, row, e % 4), high = get_half(line + LK_HALVES / 2, row, e % 4);
        block.q[e] = (uint8_t)(low | high << 4);
    }
    memcpy(&block.scale, slice + LK_HALVES + 2 * row, 2);
    memcpy(dst, &block, sizeof block);
}

static void put_q4_k(char *slice, size_t row, const void *src) {
    lk_q4_k block;
    uint8_t q[LK_SUPER], scale[8], minimum[8];
    memcpy(&block, src, sizeof block);
    lk_q4_k_values(&block, q);
    lk_q4_k_unpack_scales(block.scales, scale, minimum);
    memcpy(slice + 2 * row, &block.scale, 2);
    memcpy(slice + LK_MINIMUMS + 2 * row, &block.minimum, 2);
    for (size_t p = 0; p < 8; p++) {
        char *sub_block = slice + LK_Q4_K_HEADER + LK_Q4_BLOCK * p;
        for (size_t e = 0; e < 32; e++) put_half(sub_block + e / 4 * LK_HALF_LINE, row, e % 4, q[32 * p + e]);
        sub_block[LK_HALVES + row] = (char)scale[p];
        sub_block[LK_Q4_K_MINIMUMS + row] = (char)minimum[p];
    }
}

static void get_q4_k(void *dst, const char *slice, size_t row) {
    lk_q4_k block;
    uint8_t q[LK_SUPER], scale[8], minimum[8];
    memcpy(&block.scale, slice + 2 * row, 2);
    memcpy(&block.minimum, slice + LK_MINIMUMS + 2 * row, 2);
    for (size_t p = 0; p < 8; p++) {
        const char *sub_block = slice + LK_Q4_K_HEADER + LK_Q4_BLOCK * p;
        for (size_t e = 0; e < 32; e++) q[32 * p + e] = (uint8_t)get_half(sub_block + e / 4 * LK_HALF_LINE, row, e % 4);
        scale[p] = (uint8_t)sub_block[LK_HALVES + row];
        minimum[p] = (uint8_t)sub_block[LK_Q4_K_MINIMUMS + row];
    }
    lk_q4_k_pack_scales(block.scales, scale, minimum);
    lk_q4_k_set_values(&block, q);
    memcpy(dst, &block, sizeof block);
}

/* The offset, in a block of 32 k, of the byte with the upper two bits of element e; *shift is their place in it. */
static size_t upper_at(size_t row, size_t e, int *shift) {
    size_t vector = e / 4 * 2 + row / 16;
    *shift = (int)(vector % 4 * 2);
    return LK_HALVES + LK_HALF_LINE * (vector / 4) + line_offset(row) + e % 4;
}

static void put_q6_k(char *slice, size_t row, const void *src) {
    lk_q6_k block;
    uint8_t q[LK_SUPER];
    memcpy(&block, src, sizeof block);
    lk_q6_k_values(&block, q);
    memcpy(slice + 2 * row, &block.scale, 2);
    for (size_t p = 0; p < 8; p++) {
        char *sub_block = slice + LK_Q6_K_HEADER + LK_Q6_K_BLOCK * p;
        for (size_t e = 0; e < 32; e++) {
            int shift;
            size_t at = upper_at(row, e, &shift);
            put_half(sub_block + e / 4 * LK_HALF_LINE, row, e % 4, q[32 * p + e] & 15);
            sub_block[at] = (char)(sub_block[at] | q[32 * p + e] >> 4 << shift);
        }
        sub_block[LK_Q6_K_SCALES + row] = (char)block.scales[2 * p];
        sub_block[LK_Q6_K_SCALES + LK_PANEL + row] = (char)block.scales[2 * p + 1];
    }
}

static void get_q6_k(void *dst, const char *slice, size_t row) {
    lk_q6_k block;
    uint8_t q[LK_SUPER];
    memcpy(&block.scale, slice + 2 * row, 2);
    for (size_t p = 0; p < 8; p++) {
        const char *sub_block = slice + LK_Q6_K_HEADER + LK_Q6_K_BLOCK * p;
        for (size_t e = 0; e < 32; e++) {
            int shift;
            size_t at = upper_at(row, e, &shift);
            int high = ((uint8_t)sub_block[at] >> shift) & 3;
            q[32 * p + e] = (uint8_t)(get_half(sub_block + e / 4 * LK_HALF_LINE, row, e % 4) | high << 4);
        }
        block.scales[2 * p] = (int8_t)sub_block[LK_Q6_K_SCALES + row];
        block.scales[2 * p + 1] = (int8_t)sub_block[LK_Q6_K_SCALES + LK_PANEL + row];
    }
    lk_q6_k_set_values(&block, q);
    memcpy(dst, &block, sizeof block);
}

/* --------------------------------------------------------------------------------------------------- whole matrices */

static void put_block(char *slice, size_t row, const char *src, lk_type type) {
    switch (type) {
    case LK_Q8_0: put_q8_0(slice, row, src); break;
    case LK_Q4_0: put_q4_0(slice, row, src); break;
    case LK_Q4_K: put_q4_k(slice, row, src); break;
    default: put_q6_k(slice, row, src); break;
    }
}

typedef struct pack_job {
    char *packed;
    const char *w;
    lk_type type;
    size_t n, k;
} pack_job;

static void pack_bf16_row(char *panel, size_t row, const char *w, size_t k) {
    for (size_t i = 0; i < k; i += 2) memcpy(panel + i / 2 * LK_BF16_SLICE + 4 * row, w + 2 * i, k - i < 2 ? 2 : 4);
}

static void pack_panel(void *context, size_t index) {
    const pack_job *j = context;
    size_t slices = lk_slices(j->type, j->k), slice_bytes = lk_slice_bytes(j->type);
    size_t block_bytes = lk_block_bytes(j->type);
    size_t row_bytes = j->k / lk_block_elements(j->type) * block_bytes, first = index * LK_PANEL;
    char *panel = j->packed + index * slices * slice_bytes;
    memset(panel, 0, slices * slice_bytes);
    for (size_t row = 0; row < LK_PANEL && first + row < j->n; row++) {
        const char *w = j->w + (first + row) * row_bytes;
        if (j->type == LK_BF16) {
            pack_bf16_row(panel, row, w, j->k);
            continue;
        }
        for (size_t u = 0; u < slices; u++) put_block(panel + u * slice_bytes, row, w + u * block_bytes, j->type);
    }
}

void lk_pack(void *packed, const void *w, lk_type type, size_t n, size_t k) {
    pack_job job = {packed, w, type, n, k};
    lk_parallel((n + LK_PANEL - 1) / LK_PANEL, pack_panel, &job);
}

void lk_unpack_row(float *dst, const void *packed, lk_type type, size_t k, size_t row) {
    size_t slices = lk_slices(type, k), slice_bytes = lk_slice_bytes(type), depth = lk_slice_depth(type);
    const char *slice = (const char *)packed + row / LK_PANEL * slices * slice_bytes;
    union {
        lk_q8_0 q8_0;
        lk_q4_0 q4_0;
        lk_q4_k q4_k;
        lk_q6_k q6_k;
    } block;
    row %= LK_PANEL;
    if (type == LK_BF16) {
        for (size_t i = 0; i < k; i++) {
            uint16_t upper;
            memcpy(&upper, slice + i / 2 * slice_bytes + 4 * row + i % 2 * sizeof upper, sizeof upper);
            const uint32_t bits = (uint32_t)upper << 16;
            memcpy(dst + i, &bits, sizeof bits);
        }
        return;
    }
    for (size_t i = 0; i < k; i += depth, slice += slice_bytes) {
        switch (type) {
        case LK_Q8_0: get_q8_0(&block, slice, row); break;
        case LK_Q4_0: get_q4_0(&block, slice, row); break;
        case LK_Q4_K: get_q4_k(&block, slice, row); break;
        default: get_q6_k(&block, slice, row); break;
        }
        lk_dequantize_block(dst + i, &block, type);
    }
}

typedef struct gather_job {
    float *dst;
    const char *w;
    lk_type type;
    size_t k, count, each;
    const lk_rows *rows;
} gather_job;

static void gather_task(void *context, size_t index) {
    const gather_job *j = context;
    const size_t last = smaller(j->count, (index + 1) * j->each);
    for (size_t i = index * j->each; i < last && !lk_interrupted(); i++) {
        const size_t row = j->rows->first + (j->rows->indices ? (size_t)j->rows->indices[i] : i);
        float *dst = j->dst + i * j->k;
        if (j->rows->packed) lk_unpack_row(dst, j->w, j->type, j->k, row);
        else
            lk_dequantize(dst, j->w + row * (j->k / lk_block_elements(j->type)) * lk_block_bytes(j->type), j->type,
                          j->k);
    }
}

void lk_gather_rows(float *dst, const void *w, lk_type type, size_t k, const lk_rows *rows, size_t count) {
    enum { ELEMENTS = 32768 }; /* of a task */
    const size_t each = k < ELEMENTS ? ELEMENTS / (k + 1) + 1 : 1;
    gather_job j = {dst, w, type, k, count, each, rows};
    lk_parallel(divided_up(count, each), gather_task, &j);
}
