#include "tiff_loaded.h"

#define LYRA_FUNCTIONS "tiff_functions.h"
#include "lyra_forwarders.h"

static const lyra_library libraries[] = {{"libtiff.so.6", "libtiff6", NULL, 0}};

/* It and the codecs that Debian 12's needs take 8 MiB of addresses. */
static const size_t room = (size_t)16 << 20;

int lyra_tiff_load(char *reason, size_t capacity) {
    int first;
    return load_functions(libraries, 1, room, &first, reason, capacity);
}
