#include <sys/types.h>

/* <fcntl.h> declares it for GNU's extensions only, which Swift's view of the system leaves out. */
int fallocate(int descriptor, int mode, off_t offset, off_t length);
