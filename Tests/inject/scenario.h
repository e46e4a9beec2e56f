/* The scenario: everything that a host does from opening a model to closing it, with every kind of input and output. */
#ifndef LYRA_INJECT_SCENARIO_H
#define LYRA_INJECT_SCENARIO_H

#include <stdint.h>

typedef struct scenario_paths {
    const char *model;
    const char *media; /* a directory: speech.wav, speech.m4a, picture.jpg, .png, .tiff, clip.mp4 */
    const char *work;  /* a directory with only the files that the scenario writes */
    int threads;
} scenario_paths;

/* The outcome. A failed call is repeated at once; since a fault comes once, a second failure is a loss. */
typedef struct scenario_outcome {
    int finished;      /* the function returned */
    uint64_t hash;     /* of all text, tokens, units, samples, and what the model says of itself */
    int failures;      /* calls that were refused */
    char call[40];     /* the first of them, with its status and sentence */
    int status;
    char sentence[400];
    int poor_sentences; /* error messages that name nothing */
    int losses;         /* calls that failed without a fault */
    char loss[400];
} scenario_outcome;

/* Reads the media that are fed from memory, once, before any fault. → 0, or -1 if one is missing */
int load_media(const char *directory);

void run_scenario(const scenario_paths *paths, scenario_outcome *outcome);

#endif
