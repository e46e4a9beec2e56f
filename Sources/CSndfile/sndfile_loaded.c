#include "sndfile_loaded.h"

#define LYRA_FUNCTIONS "sndfile_functions.h"
#include "lyra_forwarders.h"

static const lyra_library libraries[] = {{"libsndfile.so.1", "libsndfile1", NULL, 0}};

/* It and the codecs that Debian 12's needs take 4 MiB of addresses. */
static const size_t room = (size_t)16 << 20;

int lyra_sndfile_load(char *reason, size_t capacity) {
    int first;
    return load_functions(libraries, 1, room, &first, reason, capacity);
}
