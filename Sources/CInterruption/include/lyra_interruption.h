/* Interruption: a thread binds a word, and its work ends early once the word is LK_INTERRUPTED or more. Long loops
 * check the word between steps. Steps are counted, never timed, so that results do not depend on when the word is
 * checked. The thread that bound the word calls lk_interrupted after each call, and drops the results if it returns
 * 1. */
#ifndef LYRA_INTERRUPTION_H
#define LYRA_INTERRUPTION_H

#include <stdint.h>

enum { LK_INTERRUPTED = 16 };

/* Binds a word to the calling thread; null unbinds. The word must stay valid while it is bound. Returns the word that
 * was bound before. */
const int32_t *lk_bind_interrupt(const int32_t *interrupt);
/* The word that is bound to the calling thread, or null. */
const int32_t *lk_bound_interrupt(void);
/* Whether a word is LK_INTERRUPTED or more; 0 for null. */
int lk_is_raised(const int32_t *interrupt);
/* lk_is_raised of the calling thread's word. */
int lk_interrupted(void);

/* For tests: calls `hook` before every check of a word, on the checking thread; null removes the hook. */
typedef void (*lk_check_hook)(const int32_t *interrupt);
void lk_on_check(lk_check_hook hook);

#endif
