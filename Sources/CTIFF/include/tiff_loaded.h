/* libtiff, loaded by lyra_tiff_load. Until then its functions do nothing and return an error or null. */
#pragma once

#include <tiffio.h>
#include "lyra_loading.h"

#define LYRA_FUNCTION(type, name, parameters, arguments, otherwise) LYRA_RENAME(name)
#define LYRA_PROCEDURE(name, parameters, arguments) LYRA_RENAME(name)
#include "tiff_functions.h"
#undef LYRA_FUNCTION
#undef LYRA_PROCEDURE

/* Thread-safe. → LYRA_LOADED, or another status with a message in `reason`. */
int lyra_tiff_load(char *reason, size_t capacity);
