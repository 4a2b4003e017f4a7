#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "team.h"

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

long long team_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
}

unsigned long team_flush_denormals(void) {
#if defined(__x86_64__)
    unsigned long before = _mm_getcsr();
    _mm_setcsr((unsigned)before | 0x8040); /* FTZ: results; DAZ: operands */
    return before;
#elif defined(__aarch64__)
    unsigned long before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1UL << 24)));
    return before;
#else
    return 0;
#endif
}

void team_restore_denormals(unsigned long state) {
#if defined(__x86_64__)
    /* The flags that the run raised (inexact, overflow) are no business of the caller's. */
    _mm_setcsr((unsigned)state);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(state));
#else
    (void)state;
#endif
}

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

enum {
    SPIN_NANOSECONDS = 150000, /* waking a sleeper costs 20-55 us: spin a few times that */
    PAUSES_PER_LOOK = 64,      /* between two looks at the clock */
    PAUSES_BEFORE_YIELD = 1024 /* at a barrier: then let others have the processor */
};

#define OWN_CACHE_LINE __attribute__((aligned(128)))

static struct {
    OWN_CACHE_LINE atomic_int taken;    /* 1 while a run owns the pool */
    OWN_CACHE_LINE atomic_ullong job;   /* run number * 1024 + members: one word, so that a worker
                                           left out of a run can never read half of the next */
    team_work work;
    void *argument;
    OWN_CACHE_LINE atomic_int finished; /* workers that are through with this run */
    OWN_CACHE_LINE atomic_int arrived;  /* members waiting at the barrier */
    OWN_CACHE_LINE atomic_uint opened;  /* how often the barrier has let its members through */
    OWN_CACHE_LINE atomic_int sleepers;
    pthread_mutex_t mutex; /* for sleeping and waking only */
    pthread_cond_t wake;
    int workers; /* threads that exist, besides the callers */
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static pthread_once_t fork_handler_once = PTHREAD_ONCE_INIT;

/* The child of a fork has the forking thread only, and locks in any state. */
static void forget_workers(void) {
    pthread_mutex_init(&pool.mutex, NULL);
    pthread_cond_init(&pool.wake, NULL);
    atomic_store(&pool.taken, 0);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.arrived, 0);
    pool.workers = 0;
}

static void install_fork_handler(void) { pthread_atfork(NULL, NULL, forget_workers); }

static unsigned long long wait_for_job(unsigned long long seen) {
    unsigned long long job;
    long long deadline = team_clock() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            job = atomic_load_explicit(&pool.job, memory_order_acquire);
            if (job != seen) return job;
            PAUSE();
        }
        sched_yield();
    } while (team_clock() < deadline);

    pthread_mutex_lock(&pool.mutex);
    atomic_fetch_add(&pool.sleepers, 1);
    while ((job = atomic_load(&pool.job)) == seen) pthread_cond_wait(&pool.wake, &pool.mutex);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.mutex);
    return job;
}

static void *worker(void *first_job_and_member) {
    unsigned long long start = (uintptr_t)first_job_and_member;
    int member = (int)(start % 1024);
    /* The run that this thread was created for is announced after its creation. */
    unsigned long long seen = start / 1024 * 1024;
    for (;;) {
        unsigned long long job = wait_for_job(seen);
        int members = (int)(job % 1024);
        seen = job;
        if (member >= members) continue;
        pool.work(pool.argument, member, members);
        atomic_fetch_add_explicit(&pool.finished, 1, memory_order_release);
    }
    return NULL;
}

/* Starts workers until there are `wanted`; returns how many there are. All signals are blocked in
 * them: Ctrl-C belongs to Python's main thread. */
static int hire(int wanted) {
    if (pool.workers >= wanted) return wanted;
    pthread_once(&fork_handler_once, install_fork_handler);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    unsigned long long job = atomic_load(&pool.job) / 1024 * 1024;
    atomic_store(&pool.job, job); /* so that the newcomers compare with what they were told */
    while (pool.workers < wanted) {
        pthread_t thread;
        uintptr_t start = (uintptr_t)(job + (unsigned)(pool.workers + 1));
        if (pthread_create(&thread, NULL, worker, (void *)start) != 0) break;
        pthread_detach(thread);
        pool.workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool.workers < wanted ? pool.workers : wanted;
}

int team_run(team_work work, void *argument, int members) {
    if (members > TEAM_MAX) members = TEAM_MAX;
    int free_pool = 0;
    if (members <= 1 || !atomic_compare_exchange_strong(&pool.taken, &free_pool, 1)) {
        work(argument, 0, 1);
        return 1;
    }
    members = hire(members - 1) + 1;
    pool.work = work;
    pool.argument = argument;
    atomic_store_explicit(&pool.finished, 0, memory_order_relaxed);
    unsigned long long run = atomic_load_explicit(&pool.job, memory_order_relaxed) / 1024 + 1;
    /* Sequentially consistent, like the sleeper's count: one of the two sees the other. */
    atomic_store(&pool.job, run * 1024 + (unsigned)members);
    if (atomic_load(&pool.sleepers) > 0) {
        pthread_mutex_lock(&pool.mutex);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.mutex);
    }
    work(argument, 0, members);
    int patience = PAUSES_BEFORE_YIELD;
    while (atomic_load_explicit(&pool.finished, memory_order_acquire) != members - 1) {
        PAUSE();
        if (--patience < 0) sched_yield();
    }
    atomic_store_explicit(&pool.taken, 0, memory_order_release);
    return members;
}

void team_barrier(int members) {
    if (members <= 1) return;
    unsigned round = atomic_load_explicit(&pool.opened, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool.arrived, 1, memory_order_acq_rel) == members - 1) {
        atomic_store_explicit(&pool.arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&pool.opened, round + 1, memory_order_release);
        return;
    }
    int patience = PAUSES_BEFORE_YIELD;
    while (atomic_load_explicit(&pool.opened, memory_order_acquire) == round) {
        PAUSE();
        if (--patience < 0) sched_yield();
    }
}

#else /* no pthreads: a plan runs on its caller */

int team_run(team_work work, void *argument, int members) {
    (void)members;
    work(argument, 0, 1);
    return 1;
}
void team_barrier(int members) { (void)members; }

#endif
