/* The instructions on tiles. With LK_AMX_STAND_IN, functions that compute the same. Tiles are numbered by constants. */
#ifdef LK_AMX_STAND_IN
#include <stdlib.h>

typedef struct stand_in_tile {
    uint32_t row[LK_AMX_ROWS][16];
} stand_in_tile;

static _Thread_local stand_in_tile *stand_in_tiles; /* null outside begin and end */

/* Ends the process as an illegal instruction does. */
static stand_in_tile *stand_in(int tile) {
    if (!stand_in_tiles) __builtin_trap();
    return &stand_in_tiles[tile];
}

static void tile_zero(int tile) { *stand_in(tile) = (stand_in_tile){0}; }

static void tile_load(int tile, const void *from, size_t apart) {
    for (size_t r = 0; r < LK_AMX_ROWS; r++) memcpy(stand_in(tile)->row[r], (const char *)from + r * apart, 64);
}

static void tile_store(int tile, void *to, size_t apart) {
    for (size_t r = 0; r < LK_AMX_ROWS; r++) memcpy((char *)to + r * apart, stand_in(tile)->row[r], 64);
}

static float stand_in_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void tile_dot(int sums, int x, int w) {
    for (size_t r = 0; r < LK_AMX_ROWS; r++)
        for (size_t c = 0; c < 16; c++) {
            float sum = stand_in_float(stand_in(sums)->row[r][c]);
            for (size_t pair = 0; pair < 16; pair++) {
                const uint32_t a = stand_in(x)->row[r][pair], b = stand_in(w)->row[pair][c];
                sum += stand_in_float(a << 16) * stand_in_float(b << 16);
                sum += stand_in_float(a & 0xffff0000u) * stand_in_float(b & 0xffff0000u);
            }
            memcpy(&stand_in(sums)->row[r][c], &sum, sizeof sum);
        }
}

static void begin(lk_amx_host *host) {
    memset(host->configuration, 0, sizeof host->configuration);
    stand_in_tiles = calloc(8, sizeof *stand_in_tiles);
}

static void end(const lk_amx_host *host) {
    (void)host;
    free(stand_in_tiles);
    stand_in_tiles = NULL;
}

#else

#define tile_zero(tile) _tile_zero(tile)
#define tile_load(tile, from, apart) _tile_loadd(tile, from, apart)
#define tile_store(tile, to, apart) _tile_stored(tile, to, apart)
#define tile_dot(sums, x, w) _tile_dpbf16ps(sums, x, w)

/* Eight tiles of 16 rows of 64 bytes. */
static void begin(lk_amx_host *host) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } ours = {.palette = 1};
    _Static_assert(sizeof ours == sizeof host->configuration, "as the processor reads it");
    for (int tile = 0; tile < 8; tile++) ours.row_bytes[tile] = 64, ours.rows[tile] = LK_AMX_ROWS;
    _tile_storeconfig(host->configuration);
    _tile_loadconfig(&ours);
}

/* A thread that keeps tiles makes every context switch dearer. */
static void end(const lk_amx_host *host) {
    if (host->configuration[0]) _tile_loadconfig(host->configuration);
    else _tile_release();
}

#endif
