/* libtiff, which is loaded when lyra_tiff_load is called; a function of it that is called without does nothing, and
 * returns an error or null. */
#pragma once

#include <tiffio.h>
#include "lyra_loading.h"

#define LYRA_FUNCTION(type, name, parameters, arguments, otherwise) LYRA_RENAME(name)
#define LYRA_PROCEDURE(name, parameters, arguments) LYRA_RENAME(name)
#include "tiff_functions.h"
#undef LYRA_FUNCTION
#undef LYRA_PROCEDURE

/* From any thread. → LYRA_LOADED, or why not, with a sentence in `reason`. */
int lyra_tiff_load(char *reason, size_t capacity);
