/* Scratch memory of each thread. */
#include "../table.h"
#include "lyra_memory.h"
#include <pthread.h>
#include <stdlib.h>

enum { SLOTS = 3 };

typedef struct scratch_memory {
    float *memory[SLOTS];
    size_t floats[SLOTS];
} scratch_memory;

static pthread_key_t key;
static int has_key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void free_state(void *p) {
    for (int slot = 0; slot < SLOTS; slot++) free(((scratch_memory *)p)->memory[slot]);
    free(p);
}

/* Fails if the host has used up all keys. */
static void make_key(void) { has_key = pthread_key_create(&key, free_state) == 0; }

/* The calling thread's scratch memory; null if it cannot be allocated. */
static scratch_memory *state(void) {
    pthread_once(&key_once, make_key);
    if (!has_key) return NULL;
    scratch_memory *s = pthread_getspecific(key);
    if (s) return s;
    s = calloc(1, sizeof *s);
    if (s && pthread_setspecific(key, s) == 0) return s;
    free(s);
    return NULL;
}

void *lk_allocate(size_t bytes) {
    void *memory = NULL;
    int status = posix_memalign(&memory, 64, bytes);
    if (status != 0 && lyra_free_kept()) status = posix_memalign(&memory, 64, bytes);
    return status == 0 ? memory : NULL;
}

float *lk_scratch(int slot, size_t floats) {
    scratch_memory *s = state();
    if (!s) return NULL;
    if (s->floats[slot] < floats) {
        free(s->memory[slot]);
        s->floats[slot] = 0;
        s->memory[slot] = lk_allocate((floats + 16) * sizeof(float));
        if (!s->memory[slot]) return NULL;
        s->floats[slot] = floats;
    }
    return s->memory[slot];
}
