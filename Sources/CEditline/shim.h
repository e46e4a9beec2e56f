#include <stdio.h>
#include <editline/readline.h>

static inline int lyra_end_line(int count, int key) {
    (void)count, (void)key;
    rl_done = 1;
    return 0;
}

/* Makes Ctrl-C a key that ends the line, for a terminal that does not make it a signal. */
static inline void lyra_bind_interrupt(void) {
    rl_initialize();
    rl_add_defun("lyra-end-line", lyra_end_line, 3);
}

/* Whether Ctrl-C ended the line. */
static inline int lyra_was_interrupted(void) { return rl_done; }

/* getline on stdin, a mutable global variable, which Swift 6 code cannot use. */
static inline ssize_t lyra_next_line(char **line, size_t *capacity) { return getline(line, capacity, stdin); }
