#include "mpg123_loaded.h"

#define LYRA_FUNCTIONS "mpg123_functions.h"
#include "lyra_forwarders.h"

static const lyra_library libraries[] = {{"libmpg123.so.0", "libmpg123-0", NULL, 0}};
static const size_t room = (size_t)4 << 20;

int lyra_mpg123_load(char *reason, size_t capacity) {
    int is_first;
    return load_functions(libraries, 1, room, &is_first, reason, capacity);
}
