#define _GNU_SOURCE
#include "lyra_callers.h"
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

enum {
    ENOUGH = 256 << 10, /* what lyra's deepest calls take, in the codecs, several times over */
    OWN_STACK = 1 << 20
};

/* One call of a thread with little stack. */
typedef struct call {
    void (*body)(void *);
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*callback)(void *); /* to be run by the caller; null: none */
    void *callback_context;
    int is_done;
} call;

/* The call that this thread was made for. */
static _Thread_local call *served;

/* Of this thread's stack, once they are known; null before. */
static _Thread_local const char *stack_low, *stack_high;

static int find_stack(void) {
    pthread_attr_t attributes;
    void *low;
    size_t bytes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return 0;
    int is_known = pthread_attr_getstack(&attributes, &low, &bytes) == 0;
    pthread_attr_destroy(&attributes);
    if (is_known) stack_low = low, stack_high = stack_low + bytes;
    return is_known;
}

/* Outside of the thread's own stack, as on a coroutine's, it is not known how much is left. */
static int has_stack(void) {
    const char *here = __builtin_frame_address(0);
    if (!stack_low && !find_stack()) return 0;
    return here > stack_low && here <= stack_high && here - stack_low >= ENOUGH;
}

static void *serve(void *argument) {
    call *c = served = argument;
    c->body(c->context);
    pthread_mutex_lock(&c->lock);
    c->is_done = 1;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static int start(pthread_t *thread, call *c) {
    pthread_attr_t attributes;
    sigset_t all, usual; /* the host's signals are for the host's threads */
    int status = pthread_attr_init(&attributes);
    if (status != 0) return status;
    pthread_attr_setstacksize(&attributes, OWN_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &usual);
    status = pthread_create(thread, &attributes, serve, c);
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    pthread_attr_destroy(&attributes);
    return status;
}

/* Runs the body's callbacks until it is done. */
static void attend(call *c) {
    int usual;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &usual); /* the body has pointers to this very frame */
    pthread_mutex_lock(&c->lock);
    while (!c->is_done) {
        void (*callback)(void *) = c->callback;
        if (!callback) {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        callback(c->callback_context);
        pthread_mutex_lock(&c->lock);
        c->callback = NULL;
        pthread_cond_broadcast(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    pthread_setcancelstate(usual, NULL);
}

int lyra_with_stack(void (*body)(void *), void *context) {
    if (has_stack()) {
        body(context);
        return 0;
    }
    call c = {.body = body, .context = context};
    pthread_t thread;
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.changed, NULL);
    int status = start(&thread, &c);
    if (status == 0) {
        attend(&c);
        pthread_join(thread, NULL);
    }
    pthread_cond_destroy(&c.changed);
    pthread_mutex_destroy(&c.lock);
    return status;
}

void lyra_on_caller(void (*body)(void *), void *context) {
    call *c = served;
    if (!c) {
        body(context);
        return;
    }
    pthread_mutex_lock(&c->lock);
    c->callback = body;
    c->callback_context = context;
    pthread_cond_broadcast(&c->changed);
    while (c->callback) pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}
