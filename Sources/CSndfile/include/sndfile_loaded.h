/* libsndfile, which is loaded when lyra_sndfile_load is called; a function of it that is called without does nothing, and
 * returns an error or null. */
#pragma once

#include <sndfile.h>
#include "lyra_loading.h"

#define LYRA_FUNCTION(type, name, parameters, arguments, otherwise) LYRA_RENAME(name)
#define LYRA_PROCEDURE(name, parameters, arguments) LYRA_RENAME(name)
#include "sndfile_functions.h"
#undef LYRA_FUNCTION
#undef LYRA_PROCEDURE

/* From any thread. → LYRA_LOADED, or why not, with a sentence in `reason`. */
int lyra_sndfile_load(char *reason, size_t capacity);
