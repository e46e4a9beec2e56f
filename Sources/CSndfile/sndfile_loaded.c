#include "sndfile_loaded.h"

#define LYRA_FUNCTIONS "sndfile_functions.h"
#include "lyra_forwarders.h"

static const lyra_library libraries[] = {{"libsndfile.so.1", "libsndfile1", NULL, 0}};

/* With the codecs that it depends on, it maps 4 MiB on Debian 12. */
static const size_t room = (size_t)16 << 20;

int lyra_sndfile_load(char *reason, size_t capacity) {
    int is_first;
    return load_functions(libraries, 1, room, &is_first, reason, capacity);
}
