#include <sys/types.h>

/* <fcntl.h> declares fallocate only with _GNU_SOURCE, which Swift's Glibc module does not define. */
int fallocate(int descriptor, int mode, off_t offset, off_t length);

/* The same holds for memfd_create of <sys/mman.h>, and for pipe2 and environ of <unistd.h>. */
int memfd_create(const char *name, unsigned flags);
int pipe2(int ends[2], int flags);
extern char **environ;

/* The environment of this process, for a program that it starts. */
static inline char **lyra_environment(void) { return environ; }
