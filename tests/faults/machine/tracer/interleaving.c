/* Several processes that share a segment: a draw says which one goes on inside of sections, how far, and which one dies. */
#include "tracer.h"

#include <sys/wait.h>
#include <time.h>

enum { MOST = 8 };
enum place { OUTSIDE, INSIDE, GONE };

struct contest {
    struct run runs[MOST];
    enum place places[MOST];
    int count, kills;
    uint64_t random;
};

/* xorshift64: see G. Marsaglia, "Xorshift RNGs", 2003. */
static uint64_t draw(struct contest *contest, uint64_t below)
{
    contest->random ^= contest->random << 13;
    contest->random ^= contest->random >> 7;
    contest->random ^= contest->random << 17;
    return contest->random % below;
}

static void pause_us(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, 0);
}

/* Look what became of a process that runs at its own speed. -1: a call failed. */
static int look(struct contest *contest, int n)
{
    struct run *run = &contest->runs[n];
    pid_t pid = waitpid(run->pid, &run->status, WNOHANG);
    if (pid == 0)
        return 0;
    if (pid != run->pid)
        return -1;
    if (has_ended(run)) {
        contest->places[n] = GONE;
        return 0;
    }
    int stands = stands_at_begin(run);
    if (stands == 1)
        contest->places[n] = INSIDE;
    return stands == 0 ? let_run(run, pending_signal(run)) : stands < 0 ? -1 : 0;
}

/* How far the process goes on: a few instructions as a rule, sometimes hundreds. */
static long burst(struct contest *contest)
{
    return draw(contest, 4) ? 1 + (long)draw(contest, 12) : 1 + (long)draw(contest, 400);
}

static int go_on(struct contest *contest, int n)
{
    struct run *run = &contest->runs[n];
    if (contest->kills && draw(contest, 400) == 0) {
        contest->kills--;
        contest->places[n] = GONE;
        return killed(run) ? 0 : -1;
    }
    /* Others at their own speed may lose their patience meanwhile. */
    if (draw(contest, 300) == 0)
        pause_us(12000);
    int state = step_to_end(run, run->steps + burst(contest));
    if (state == 0 && has_ended(run))
        contest->places[n] = GONE;
    else if (state == 0 || run->at_end) {
        contest->places[n] = OUTSIDE;
        return let_run(run, 0);
    }
    return state;
}

static int in_place(const struct contest *contest, enum place place)
{
    int count = 0;
    for (int n = 0; n < contest->count; n++)
        count += contest->places[n] == place;
    return count;
}

/* The so-manyth of those inside. */
static int nth_inside(const struct contest *contest, int which)
{
    int n = 0;
    while (contest->places[n] != INSIDE || which--)
        n++;
    return n;
}

static int turn(struct contest *contest)
{
    for (int n = 0; n < contest->count; n++)
        if (contest->places[n] == OUTSIDE && look(contest, n) < 0)
            return -1;
    int inside = in_place(contest, INSIDE);
    if (inside)
        return go_on(contest, nth_inside(contest, (int)draw(contest, (uint64_t)inside)));
    pause_us(50);
    return 0;
}

/* Processes that have stopped themselves to be traced: have them take turns by a draw until all have ended, and kill at
 * most `kills` of them inside of sections. `statuses` tells how each ended. Returns how many instructions were made in
 * sections, FAILED where a call failed.
 */
long shardq_interleave(int count, const int *pids, uintptr_t begin, uintptr_t end, uint64_t seed, int kills,
                       int *statuses)
{
    struct contest contest = {.count = count, .kills = kills, .random = seed * 2 + 1};
    long steps = 0;
    int state = count <= MOST ? 0 : FAILED;

    for (int n = 0; n < count && state == 0; n++) {
        contest.runs[n] = (struct run){.pid = pids[n], .begin = begin, .end = end};
        state = begin_trace(&contest.runs[n]) == 0 ? let_run(&contest.runs[n], 0) : FAILED;
    }
    while (state >= 0 && in_place(&contest, GONE) < count)
        state = turn(&contest);
    for (int n = 0; n < count && state >= 0; n++) {
        steps += contest.runs[n].steps;
        statuses[n] = contest.runs[n].status;
    }
    return state < 0 ? FAILED : steps;
}
