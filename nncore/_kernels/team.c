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

long long team_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
}

unsigned long team_flush_denormals(void)
{
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

void team_restore_denormals(unsigned long state)
{
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
    SPIN_NANOSECONDS = 150000,  /* waking a sleeper costs 20-55 us: spin a few times that */
    SHORT_PATIENCE = 3000,      /* nanoseconds, with who did not come when it was waited for */
    PAUSES_PER_LOOK = 64,       /* between two looks at the clock */
    PAUSES_BEFORE_YIELD = 1024, /* waiting for members: then let others have the processor */
    PAUSES_BEFORE_CLOCK = 64    /* shorter waits are not timed */
};

#define CLOSED 1024ULL /* nobody else may join */
#define SEATS 2048ULL
#define OWN_CACHE_LINE __attribute__((aligned(128)))

static struct {
    OWN_CACHE_LINE atomic_int taken;    /* 1 while a run owns the pool */
    OWN_CACHE_LINE atomic_ullong announced; /* the number of the last run that was announced */
    OWN_CACHE_LINE atomic_ullong seats; /* its number * SEATS + CLOSED, if so, + members so far */
    atomic_int wanted;                  /* members at most */
    team_work work;
    void *argument;
    OWN_CACHE_LINE atomic_ullong started; /* the number of the last run that has begun, */
    int members;                          /* and how many take part in it */
    OWN_CACHE_LINE atomic_uint finished; /* workers that are through with this run */
    OWN_CACHE_LINE atomic_int arrived;  /* members waiting at the barrier */
    OWN_CACHE_LINE atomic_uint opened;  /* how often the barrier has let its members through */
    OWN_CACHE_LINE atomic_int sleepers;
    pthread_mutex_t mutex; /* for sleeping and waking only */
    int missed; /* somebody did not come to the last run */
    long long impatient_until; /* after that, members are waited for again */
    int workers; /* threads that exist, besides the callers */
    struct {
        pthread_t thread;
        pthread_cond_t wake;
        atomic_int asleep;
    } worker[TEAM_MAX];
    int avoided; /* the processor that the workers keep off, + 1; 0: none */
    pthread_t caller;     /* of the run under way, */
    long long waited;     /* how long it has waited for members, */
    long long alone_until; /* and until when runs go without them; nanoseconds */
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t fork_handler_once = PTHREAD_ONCE_INIT;

/* The child of a fork has the forking thread only, and locks in any state. */
static void forget_workers(void)
{
    pthread_mutex_init(&pool.mutex, NULL);
    atomic_store(&pool.taken, 0);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.arrived, 0);
    atomic_fetch_or(&pool.seats, CLOSED); /* of a run that the parent was just gathering */
    pool.workers = pool.avoided = 0;
    pool.alone_until = pool.impatient_until = pool.missed = 0;
}

static void install_fork_handler(void) { pthread_atfork(NULL, NULL, forget_workers); }

/* Worker w waits for a run after `seen`; returns its number. Runs of fewer members than w + 2 are
 * none of its business: it sleeps through them. */
static unsigned long long wait_for_run(int w, unsigned long long seen)
{
    unsigned long long run;
    long long deadline = team_clock() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            run = atomic_load_explicit(&pool.announced, memory_order_acquire);
            if (run != seen) return run;
            PAUSE();
        }
        sched_yield();
        /* Who came too late for a run stays awake for the next. */
    } while (team_clock() < deadline ||
             (atomic_load_explicit(&pool.taken, memory_order_relaxed) && pool.wanted > w + 1));

    pthread_mutex_lock(&pool.mutex);
    atomic_store(&pool.worker[w].asleep, 1);
    atomic_fetch_add(&pool.sleepers, 1);
    while ((run = atomic_load(&pool.announced)) == seen || pool.wanted < w + 2) {
        seen = run;
        pthread_cond_wait(&pool.worker[w].wake, &pool.mutex);
    }
    atomic_fetch_sub(&pool.sleepers, 1);
    atomic_store(&pool.worker[w].asleep, 0);
    pthread_mutex_unlock(&pool.mutex);
    return run;
}

/* Takes a seat in a run; returns the member's number, 0 if the run is closed, full or over. */
static int join(unsigned long long run)
{
    unsigned long long seats = atomic_load_explicit(&pool.seats, memory_order_acquire);
    while (seats / SEATS == run && !(seats & CLOSED)) {
        int taken = (int)(seats % CLOSED);
        if (taken == pool.wanted) return 0;
        if (atomic_compare_exchange_weak(&pool.seats, &seats, seats + 1)) return taken;
    }
    return 0;
}

static void *worker(void *number)
{
    int w = (int)(intptr_t)number;
    unsigned long long run = 0;
    for (;;) {
        run = wait_for_run(w, run);
        int member = pool.wanted < w + 2 ? 0 : join(run);
        if (member == 0) continue;
        for (int pauses = 0; atomic_load_explicit(&pool.started, memory_order_acquire) != run;) {
            PAUSE();
            if (++pauses > PAUSES_BEFORE_YIELD) sched_yield(); /* who is awaited may need it */
        }
        pool.work(pool.argument, member, pool.members);
        atomic_fetch_add_explicit(&pool.finished, 1, memory_order_release);
    }
    return NULL;
}

/* Keeps the workers off the caller's processor. A kernel that wakes a thread beside its waker lets
 * the two take turns there for many milliseconds, while another processor idles. */
static void make_way(void)
{
#if defined(__linux__)
    cpu_set_t allowed;
    int here = sched_getcpu();
    if (here < 0 || here + 1 == pool.avoided) return;
    if (pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) != 0) return;
    CPU_CLR(here, &allowed);
    if (CPU_COUNT(&allowed) == 0) return;
    for (int i = 0; i < pool.workers; i++)
        pthread_setaffinity_np(pool.worker[i].thread, sizeof allowed, &allowed);
    pool.avoided = here + 1;
#endif
}

/* Starts workers until there are `wanted`. All signals are blocked in them: Ctrl-C belongs to
 * Python's main thread. */
static void hire(int wanted)
{
    if (pool.workers >= wanted) return;
    pthread_once(&fork_handler_once, install_fork_handler);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.workers < wanted) {
        int w = pool.workers;
        pthread_cond_init(&pool.worker[w].wake, NULL);
        atomic_store(&pool.worker[w].asleep, 0);
        if (pthread_create(&pool.worker[w].thread, NULL, worker, (void *)(intptr_t)w) != 0) break;
        pthread_detach(pool.worker[w].thread);
        pool.workers++;
        pool.avoided = 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Announces a run, gives the workers some time to join and returns how many members it has. */
static int gather(team_work work, void *argument, int members, long long patience)
{
    unsigned long long run = atomic_load_explicit(&pool.announced, memory_order_relaxed) + 1;
    pool.work = work;
    pool.argument = argument;
    pool.wanted = members;
    atomic_store_explicit(&pool.finished, 0, memory_order_relaxed);
    atomic_store(&pool.seats, run * SEATS + 1);
    if (pool.missed || !pool.avoided || atomic_load(&pool.sleepers) > 0) make_way();
    /* Sequentially consistent, like the sleepers' count: one of the two sees the other. */
    atomic_store(&pool.announced, run);
    if (atomic_load(&pool.sleepers) > 0) {
        pthread_mutex_lock(&pool.mutex);
        for (int w = 0; w < members - 1; w++)
            if (atomic_load(&pool.worker[w].asleep)) pthread_cond_signal(&pool.worker[w].wake);
        pthread_mutex_unlock(&pool.mutex);
    }
    unsigned long long full = run * SEATS + (unsigned)members;
    long long deadline = 0, now = 0;
    while (atomic_load_explicit(&pool.seats, memory_order_acquire) != full) {
        for (int i = 0; i < PAUSES_PER_LOOK / 4; i++) PAUSE();
        now = team_clock();
        if (deadline == 0) {
            /* Who did not come lately joins when it is there: waiting each time would add up. */
            if (now < pool.impatient_until && patience > SHORT_PATIENCE && patience != TEAM_FOREVER)
                patience = SHORT_PATIENCE;
            deadline = now + patience;
        }
        if (now >= deadline) break;
        if (patience == TEAM_FOREVER) sched_yield();
    }
    members = (int)(atomic_fetch_or(&pool.seats, CLOSED) % CLOSED);
    pool.missed = run * SEATS + (unsigned)members != full;
    if (pool.missed && now >= pool.impatient_until) pool.impatient_until = now + 8 * patience;
    pool.members = members;
    atomic_store_explicit(&pool.started, run, memory_order_release);
    return members;
}

/* Spins until *counter has (or, if `leave`, no longer has) a value; the caller notes how long. */
static void wait_while(atomic_uint *counter, unsigned value, int leave)
{
    int pauses = 0;
    long long since = 0;
    while ((atomic_load_explicit(counter, memory_order_acquire) == value) == leave) {
        PAUSE();
        if (++pauses == PAUSES_BEFORE_CLOCK) since = team_clock();
        if (pauses > PAUSES_BEFORE_YIELD) sched_yield();
    }
    if (since && pthread_equal(pthread_self(), pool.caller)) pool.waited += team_clock() - since;
}

/* A member that lost its processor to another process, or to another library's spinning threads,
 * holds up all others for milliseconds. After a run that was mostly waiting, the caller does
 * without a team for four times as long: then even a busy machine costs little. */
int team_run(team_work work, void *argument, int members, long long patience)
{
    int free_pool = 0;
    if (members > TEAM_MAX) members = TEAM_MAX;
    if (members > 1 && atomic_compare_exchange_strong(&pool.taken, &free_pool, 1)) {
        long long start = team_clock();
        if (start >= pool.alone_until || patience == TEAM_FOREVER) {
            hire(members - 1);
            if (members > pool.workers + 1) members = pool.workers + 1;
            pool.caller = pthread_self();
            pool.waited = 0;
            members = gather(work, argument, members, patience);
            work(argument, 0, members);
            wait_while(&pool.finished, (unsigned)members - 1, 0);
            long long end = team_clock();
            if (5 * pool.waited > 3 * (end - start)) pool.alone_until = end + 4 * (end - start);
            atomic_store_explicit(&pool.taken, 0, memory_order_release);
            return members;
        }
        atomic_store_explicit(&pool.taken, 0, memory_order_release);
    }
    work(argument, 0, 1);
    return 1;
}

void team_barrier(int members)
{
    if (members <= 1) return;
    unsigned round = atomic_load_explicit(&pool.opened, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool.arrived, 1, memory_order_acq_rel) == members - 1) {
        atomic_store_explicit(&pool.arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&pool.opened, round + 1, memory_order_release);
        return;
    }
    wait_while(&pool.opened, round, 1);
}

#else /* no pthreads: a plan runs on its caller */

int team_run(team_work work, void *argument, int members, long long patience)
{
    (void)members, (void)patience;
    work(argument, 0, 1);
    return 1;
}
void team_barrier(int members) { (void)members; }

#endif
