/* The gradient of softmax attention, tile by tile: the attention weights P of a tile are computed again from the
 * log-sum-exps of the forward pass. With dP = dO · Vᵀ and D = rowsum(dO ∘ O),
 *     dV = Pᵀ · dO,  dS = P ∘ (dP - D) · scale,  dQ = dS · K,  dK = dSᵀ · Q
 * (arXiv 2205.14135, appendix B). A task owns a key/value head within a segment, and so all it adds to. */
#include "../linear/sgemm.h"
#include "gradients.h"
#include <stdatomic.h>
#include <string.h>

enum { TILE_QUERIES = 128, TILE_KEYS = 256 };

typedef struct gradient_job {
    const lk_attention_gradients *gradients;
    const lk_attention_forward *forward;
    atomic_int status;
} gradient_job;

/* One query head within a segment: pointers to the segment's first row. */
typedef struct head_pointers {
    const float *q, *k, *v, *o, *dout, *log_sum_exp;
    float *dq, *dk, *dv;
    size_t rows, keys; /* of the segment */
} head_pointers;

/* The number of keys that query `row` of the segment sees. */
static size_t keys_seen(const lk_attention_forward *f, const head_pointers *h, size_t row) {
    return f->causal ? h->keys - h->rows + row + 1 : h->keys;
}

static lk_factor factor(const float *data, size_t ld, int transposed) {
    return (lk_factor){data, ld, transposed};
}

/* Queries first … first + m - 1 with keys start … start + n - 1. */
static int add_tile(const gradient_job *j, const head_pointers *h, size_t first, size_t m, size_t start, size_t n,
                    const float *means, float *scores, float *dscores) {
    const lk_attention_forward *f = j->forward;
    const lk_attention_gradients *g = j->gradients;
    const size_t dim = f->dim;
    const lk_factor q = factor(h->q + first * f->ld_queries, f->ld_queries, 0);
    const lk_factor dout = factor(h->dout + first * f->ld_doutput, f->ld_doutput, 0);
    const lk_factor k = factor(h->k + start * f->ld_keys, f->ld_keys, 0);
    const lk_factor v = factor(h->v + start * f->ld_values, f->ld_values, 0);
    const lk_factor k_t = {k.data, k.ld, 1}, v_t = {v.data, v.ld, 1};
    int status = lk_sgemm_factors(scores, TILE_KEYS, q, k_t, m, n, dim, 0);
    if (status == LK_OK) status = lk_sgemm_factors(dscores, TILE_KEYS, dout, v_t, m, n, dim, 0);
    if (status != LK_OK) return status;
    for (size_t r = 0; r < m; r++) {
        const size_t sees = keys_seen(f, h, first + r);
        const size_t seen = sees > start ? smaller(n, sees - start) : 0;
        lk_gradients()->attention_row(scores + r * TILE_KEYS, dscores + r * TILE_KEYS, n, seen, f->scale,
                                      h->log_sum_exp[(first + r) * f->heads], means[r]);
    }
    const lk_factor p_t = factor(scores, TILE_KEYS, 1), ds = factor(dscores, TILE_KEYS, 0);
    status = lk_sgemm_factors(h->dv + start * g->ld_dvalues, g->ld_dvalues, p_t, dout, n, dim, m, 1);
    if (status == LK_OK)
        status = lk_sgemm_factors(h->dq + first * g->ld_dqueries, g->ld_dqueries, ds, k, m, dim, n, 1);
    if (status == LK_OK)
        status = lk_sgemm_factors(h->dk + start * g->ld_dkeys, g->ld_dkeys, factor(dscores, TILE_KEYS, 1), q, n, dim, m,
                                  1);
    return status;
}

static int add_head(const gradient_job *j, const head_pointers *h, float *scores) {
    const lk_attention_forward *f = j->forward;
    float *dscores = scores + TILE_QUERIES * TILE_KEYS, means[TILE_QUERIES];
    for (size_t first = 0; first < h->rows && !lk_interrupted(); first += TILE_QUERIES) {
        const size_t m = smaller(TILE_QUERIES, h->rows - first), limit = keys_seen(f, h, first + m - 1);
        for (size_t r = 0; r < m; r++)
            means[r] = lk_gradients()->dot(h->dout + (first + r) * f->ld_doutput, h->o + (first + r) * f->ld_output,
                                           f->dim);
        for (size_t start = 0; start < limit; start += TILE_KEYS) {
            int status = add_tile(j, h, first, m, start, smaller(TILE_KEYS, limit - start), means, scores, dscores);
            if (status != LK_OK) return status;
        }
    }
    return LK_OK;
}

static void clear(float *x, size_t ld, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++) memset(x + r * ld, 0, columns * sizeof(float));
}

static void head_task(void *context, size_t index) {
    gradient_job *j = context;
    const lk_attention_forward *f = j->forward;
    const lk_attention_gradients *g = j->gradients;
    const size_t kv_head = index % f->kv_heads, group = f->heads / f->kv_heads, dim = f->dim;
    const size_t segment = index / f->kv_heads, row = f->starts[segment], key = f->key_starts[segment];
    const size_t rows = f->starts[segment + 1] - row, keys = f->key_starts[segment + 1] - key;
    float *scores = lk_scratch(1, 2 * TILE_QUERIES * TILE_KEYS);
    if (!scores) {
        atomic_store(&j->status, LK_NO_MEMORY);
        return;
    }
    float *dk = g->dkeys + key * g->ld_dkeys + kv_head * dim, *dv = g->dvalues + key * g->ld_dvalues + kv_head * dim;
    clear(dk, g->ld_dkeys, keys, dim);
    clear(dv, g->ld_dvalues, keys, dim);
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
        head_pointers h = {
            f->queries + row * f->ld_queries + head * dim, f->keys + key * f->ld_keys + kv_head * dim,
            f->values + key * f->ld_values + kv_head * dim, f->output + row * f->ld_output + head * dim,
            f->doutput + row * f->ld_doutput + head * dim, f->log_sum_exp + row * f->heads + head,
            g->dqueries + row * g->ld_dqueries + head * dim, dk, dv, rows, keys};
        clear(h.dq, g->ld_dqueries, rows, dim);
        int status = add_head(j, &h, scores);
        if (status != LK_OK) {
            atomic_store(&j->status, status);
            return;
        }
    }
}

int lk_attention_gradient(const lk_attention_gradients *gradients, const lk_attention_forward *forward) {
    int status = lk_sgemm_prepare();
    if (status != LK_OK) return status;
    gradient_job j = {gradients, forward, LK_OK};
    lk_parallel(forward->segments * forward->kv_heads, head_task, &j);
    return j.status;
}
