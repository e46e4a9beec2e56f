#include "include/lyra_nano.h"

/* SwiftPM compiles this file in every build. Without the trait it must not need the weights. */
#ifdef LYRA_NANO

#pragma clang diagnostic ignored "-Wc23-extensions"

#if !__has_embed("weights/nano.gguf")
#error "Sources/CNano/weights/nano.gguf is missing; build lyra without the package trait Nano"
#endif

static _Alignas(64) const unsigned char model[] = {
#embed "weights/nano.gguf"
};

const void *lyra_nano_bytes(void) { return model; }

size_t lyra_nano_size(void) { return sizeof model; }

#endif
