/* The model lyra:nano as bytes of the program, for a build with the package trait Nano. */
#ifndef LYRA_NANO_H
#define LYRA_NANO_H

#include <stddef.h>

/* The file weights/nano.gguf, aligned to 64 bytes. Constant; lives as long as the process. */
__attribute__((visibility("hidden"))) const void *lyra_nano_bytes(void);

/* The file's size in bytes. */
__attribute__((visibility("hidden"))) size_t lyra_nano_size(void);

#endif
