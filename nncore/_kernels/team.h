/* The threads that run a plan: the only file that knows threads.
 *
 * One pool for the process. A run is SPMD: `members` threads call the same function, the caller
 * being member 0, and meet at barriers. Workers spin for a moment after a run, because the next
 * one usually follows at once, and then sleep. The pool belongs to one run at a time; when another
 * Python thread holds it, a run proceeds on its caller alone. After fork() the child starts with
 * an empty pool. Without pthreads every run has one member.
 */
#ifndef NNCORE_TEAM_H
#define NNCORE_TEAM_H

#define TEAM_MAX 256
#define TEAM_FOREVER (1LL << 60) /* as patience: every member asked for takes part */

typedef void (*team_work)(void *argument, int member, int members);

/* Calls work(argument, m, n) for m = 0..n-1, each on a thread of its own, and returns n when all
 * have returned. n is at most `members`: who is not there after `patience` nanoseconds, asleep or
 * without a processor, is not waited for. So what a run computes must not depend on n. */
int team_run(team_work work, void *argument, int members, long long patience);

/* Waits until all members of the run that the caller takes part in have come here. */
void team_barrier(int members);

/* Flushes denormal numbers to zero on this thread; returns what team_restore_denormals takes. */
unsigned long team_flush_denormals(void);
void team_restore_denormals(unsigned long state);

/* Nanoseconds of a clock that only moves forward. */
long long team_clock(void);

#endif
