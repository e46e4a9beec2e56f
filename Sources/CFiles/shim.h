#include <sys/types.h>

/* <fcntl.h> declares fallocate only with _GNU_SOURCE, which Swift's Glibc module does not define. */
int fallocate(int descriptor, int mode, off_t offset, off_t length);
