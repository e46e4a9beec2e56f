/* Interruption: work that a thread calls for ends early once the word that is bound to the thread is LK_INTERRUPTED or
 * more. Long loops look at the word between two of their pieces. Pieces are counted, never timed, so that results do not
 * depend on how often the word is looked at. Whoever binds a word asks lk_interrupted after each call, and drops what the
 * call has written if the answer is yes. */
#ifndef LYRA_INTERRUPTION_H
#define LYRA_INTERRUPTION_H

#include <stdint.h>

enum { LK_INTERRUPTED = 16 };

/* Binds a word to the calling thread, or none, if null; it must stay valid until it is bound no more. Returns the word
 * that was bound before. */
const int32_t *lk_bind_interrupt(const int32_t *interrupt);
/* The word that is bound to the calling thread; null if none is. */
const int32_t *lk_bound_interrupt(void);
/* Whether a word interrupts; null does not. */
int lk_is_raised(const int32_t *interrupt);
/* Whether the calling thread's word interrupts. */
int lk_interrupted(void);

/* For tests: `called` before every look at a word, on the thread that looks; null for nothing. */
typedef void (*lk_look_hook)(const int32_t *interrupt);
void lk_on_look(lk_look_hook called);

#endif
