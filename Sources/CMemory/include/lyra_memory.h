/* Memory that the process keeps for reuse, and frees before an allocation fails. */
#ifndef LYRA_MEMORY_H
#define LYRA_MEMORY_H

/* Sets the function that frees the kept memory; null for none. It may run on any thread, and must not allocate. */
void lyra_on_shortage(void (*free_kept)(void));

/* Called after an allocation has failed: frees the kept memory. Returns 0 if nothing keeps memory; otherwise the caller
 * tries once more. */
int lyra_free_kept(void);

#endif
