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

static int get_half(const char *line, size_t row, size_t k) {
    return ((uint8_t)line[line_offset(row) + k] >> half_shift(row)) & 15;
}

/* ------------------------------------------------ quantization blocks to and from their slice: of one row, or of rows
 * `row` and 16 + row, whose four-bit weights share bytes. Four bytes are moved at a time: four k of a row. */

static uint32_t four_at(const void *from, size_t i) {
    uint32_t four;
    memcpy(&four, (const char *)from + 4 * i, 4);
    return four;
}

static void put_four(char *line, size_t row, uint32_t four) { memcpy(line + 4 * row, &four, 4); }

/* The half bytes of four k of two rows. */
static uint32_t halves_of(uint32_t low, uint32_t high) { return (low & 0x0f0f0f0fu) | (high & 0x0f0f0f0fu) << 4; }

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

static void put_q4_0(char *slice, size_t row, const void *low_row, const void *high_row) {
    lk_q4_0 low, high;
    memcpy(&low, low_row, sizeof low);
    memcpy(&high, high_row, sizeof high);
    for (size_t i = 0; i < 4; i++) {
        const uint32_t a = four_at(low.q, i), b = four_at(high.q, i);
        put_four(slice + i * LK_HALF_LINE, row, halves_of(a, b));
        put_four(slice + (4 + i) * LK_HALF_LINE, row, halves_of(a >> 4, b >> 4));
    }
    memcpy(slice + LK_HALVES + 2 * row, &low.scale, 2);
    memcpy(slice + LK_HALVES + 2 * (16 + row), &high.scale, 2);
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

static void put_q4_k_scales(char *slice, size_t row, const lk_q4_k *block) {
    uint8_t scale[8], minimum[8];
    lk_q4_k_unpack_scales(block->scales, scale, minimum);
    memcpy(slice + 2 * row, &block->scale, 2);
    memcpy(slice + LK_MINIMUMS + 2 * row, &block->minimum, 2);
    for (size_t p = 0; p < 8; p++) {
        char *sub_block = slice + LK_Q4_K_HEADER + LK_Q4_BLOCK * p;
        sub_block[LK_HALVES + row] = (char)scale[p];
        sub_block[LK_Q4_K_MINIMUMS + row] = (char)minimum[p];
    }
}

static void put_q4_k(char *slice, size_t row, const void *low_row, const void *high_row) {
    lk_q4_k low, high;
    memcpy(&low, low_row, sizeof low);
    memcpy(&high, high_row, sizeof high);
    put_q4_k_scales(slice, row, &low);
    put_q4_k_scales(slice, 16 + row, &high);
    char *even = slice + LK_Q4_K_HEADER;
    for (size_t p = 0; p < 8; p += 2, even += 2 * LK_Q4_BLOCK)
        for (size_t i = 0; i < 8; i++) {
            const uint32_t a = four_at(low.q, 4 * p + i), b = four_at(high.q, 4 * p + i);
            put_four(even + i * LK_HALF_LINE, row, halves_of(a, b));
            put_four(even + LK_Q4_BLOCK + i * LK_HALF_LINE, row, halves_of(a >> 4, b >> 4));
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

static void put_q6_k_scales(char *slice, size_t row, const lk_q6_k *block) {
    memcpy(slice + 2 * row, &block->scale, 2);
    for (size_t p = 0; p < 8; p++) {
        char *scales = slice + LK_Q6_K_HEADER + LK_Q6_K_BLOCK * p + LK_Q6_K_SCALES;
        scales[row] = (char)block->scales[2 * p];
        scales[LK_PANEL + row] = (char)block->scales[2 * p + 1];
    }
}

/* The upper two bits of four k: of block `p`, group `i`. */
static uint32_t upper_of(const lk_q6_k *block, size_t p, size_t i) {
    return four_at(block->high, p / 4 * 8 + i) >> (2 * (p % 4)) & 0x03030303u;
}

static void put_q6_k(char *slice, size_t row, const void *low_row, const void *high_row) {
    lk_q6_k low, high;
    memcpy(&low, low_row, sizeof low);
    memcpy(&high, high_row, sizeof high);
    put_q6_k_scales(slice, row, &low);
    put_q6_k_scales(slice, 16 + row, &high);
    for (size_t p = 0; p < 8; p++) {
        char *block = slice + LK_Q6_K_HEADER + LK_Q6_K_BLOCK * p;
        const size_t from = p / 4 * 16 + p % 2 * 8;
        const int shift = p % 4 < 2 ? 0 : 4;
        for (size_t i = 0; i < 8; i++)
            put_four(block + i * LK_HALF_LINE, row,
                     halves_of(four_at(low.low, from + i) >> shift, four_at(high.low, from + i) >> shift));
        for (size_t i = 0; i < 8; i += 2)
            put_four(block + LK_HALVES + i / 2 * LK_HALF_LINE, row,
                     upper_of(&low, p, i) | upper_of(&high, p, i) << 2 | upper_of(&low, p, i + 1) << 4 |
                         upper_of(&high, p, i + 1) << 6);
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

typedef struct pack_job {
    char *packed;
    const char *w;
    lk_type type;
    size_t n, k;
} pack_job;

/* Rows first … of a panel, in blocks of k that stay in the cache. */
static void pack_bf16(const pack_job *j, char *panel, size_t first, size_t rows) {
    enum { PAIRS = 32 };
    const size_t pairs = divided_up(j->k, 2);
    if (rows < LK_PANEL || j->k % 2) memset(panel, 0, pairs * LK_BF16_SLICE);
    for (size_t start = 0; start < pairs; start += PAIRS)
        for (size_t row = 0; row < rows; row++) {
            const char *w = j->w + ((first + row) * j->k + 2 * start) * 2;
            const size_t here = smaller(PAIRS, j->k / 2 - start);
            char *to = panel + start * LK_BF16_SLICE + 4 * row;
            for (size_t p = 0; p < here; p++) memcpy(to + p * LK_BF16_SLICE, w + 4 * p, 4);
            if (start + PAIRS >= pairs && j->k % 2) memcpy(to + here * LK_BF16_SLICE, w + 4 * here, 2);
        }
}

/* A slice of rows whose blocks are `apart` bytes apart. Zeros take the place of missing rows. */
static void pack_slice(char *slice, const char *w, size_t apart, size_t rows, lk_type type) {
    static const char zeros[sizeof(lk_q6_k)]; /* the largest block */
    if (type == LK_Q8_0) {
        if (rows < LK_PANEL) memset(slice, 0, LK_Q8_0_SLICE);
        for (size_t row = 0; row < rows; row++) put_q8_0(slice, row, w + row * apart);
        return;
    }
    for (size_t row = 0; row < 16; row++) {
        const void *low = row < rows ? w + row * apart : zeros;
        const void *high = 16 + row < rows ? w + (16 + row) * apart : zeros;
        switch (type) {
        case LK_Q4_0: put_q4_0(slice, row, low, high); break;
        case LK_Q4_K: put_q4_k(slice, row, low, high); break;
        default: put_q6_k(slice, row, low, high); break;
        }
    }
}

static void pack_panel(void *context, size_t index) {
    const pack_job *j = context;
    const size_t first = index * LK_PANEL, rows = smaller(LK_PANEL, j->n - first);
    const size_t slices = lk_slices(j->type, j->k), bytes = lk_slice_bytes(j->type);
    char *panel = j->packed + index * slices * bytes;
    if (j->type == LK_BF16) {
        pack_bf16(j, panel, first, rows);
        return;
    }
    const size_t block = lk_block_bytes(j->type), apart = slices * block;
    const char *w = j->w + first * apart;
    for (size_t u = 0; u < slices; u++) pack_slice(panel + u * bytes, w + u * block, apart, rows, j->type);
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
