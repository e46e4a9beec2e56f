#define _GNU_SOURCE
#include "lyra_callers.h"
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

enum {
    NEEDED_STACK = 256 << 10, /* bytes: several times what lyra's deepest calls, those of codecs, use */
    THREAD_STACK = 1 << 20    /* bytes: the stack of a thread that lyra starts */
};

/* A call that runs on another thread, since the caller has too little stack. */
typedef struct call {
    void (*body)(void *);
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*callback)(void *); /* pending: the caller runs it next; null if none is */
    void *callback_context;
    int is_done;
} call;

/* The call that this thread was started for; null on other threads. */
static _Thread_local call *current_call;

/* The bounds of this thread's stack; null until find_stack finds them. */
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

/* Whether NEEDED_STACK bytes are left; 0 on a foreign stack such as a coroutine's, whose bounds are unknown. */
static int has_stack(void) {
    const char *here = __builtin_frame_address(0);
    if (!stack_low && !find_stack()) return 0;
    return here > stack_low && here <= stack_high && here - stack_low >= NEEDED_STACK;
}

static void *run_body(void *argument) {
    call *c = current_call = argument;
    c->body(c->context);
    pthread_mutex_lock(&c->lock);
    c->is_done = 1;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static int start(pthread_t *thread, call *c) {
    pthread_attr_t attributes;
    sigset_t all, saved; /* lyra's thread blocks all signals: the host's threads handle them */
    int status = pthread_attr_init(&attributes);
    if (status != 0) return status;
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &saved);
    status = pthread_create(thread, &attributes, run_body, c);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    pthread_attr_destroy(&attributes);
    return status;
}

/* On the caller's thread: runs the callbacks that the body requests, until the body returns. */
static void run_callbacks(call *c) {
    int saved;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &saved); /* the body points into the caller's stack */
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
    pthread_setcancelstate(saved, NULL);
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
        run_callbacks(&c);
        pthread_join(thread, NULL);
    }
    pthread_cond_destroy(&c.changed);
    pthread_mutex_destroy(&c.lock);
    return status;
}

void lyra_on_caller(void (*body)(void *), void *context) {
    call *c = current_call;
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
