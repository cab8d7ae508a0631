/* One process: killed after so many machine instructions, or told after which ones it changed what is shared. */
#include "tracer.h"

/* Go through all sections, or `most` steps of them. 1: `most`; 0: the process has ended; -1: a call failed. */
static int step_through(struct run *run, long most)
{
    int state;

    if (begin_trace(run) != 0)
        return -1;
    do {
        state = run_to_begin(run);
        if (state == 1 && run->file_count)
            run->state = state_of_files(run); /* what changes between two sections is none of them */
        if (state == 1)
            state = step_to_end(run, most);
    } while (state == 0 && !has_ended(run));
    return state;
}

/* Of a process that has stopped itself to be traced: kill it after `most` instructions of its sections, of those in the
 * code from `low` to `high`. `steps` tells how many were made, `status` how it ended. ENDED: it came to its end before.
 */
int shardq_kill_after(int pid, uintptr_t begin, uintptr_t end, uintptr_t low, uintptr_t high, long most, long *steps,
                      int *status)
{
    struct run run = {.pid = pid, .begin = begin, .end = end, .low = low, .high = high};
    int state = step_through(&run, most);

    if (state == 1 && !killed(&run))
        state = -1;
    *steps = run.steps;
    *status = run.status;
    return state == 1 ? KILLED : state == 0 ? ENDED : FAILED;
}

/* As above, to its end: after which instructions the files had changed. Returns how many there are, at most `most`. */
long shardq_changes(int pid, uintptr_t begin, uintptr_t end, uintptr_t low, uintptr_t high, const int *files,
                    int file_count, long *changes, long most, int *status)
{
    struct run run = {.pid = pid, .begin = begin, .end = end, .low = low, .high = high};
    run.files = files;
    run.file_count = file_count;
    run.changes = changes;
    run.most_changes = most;
    int state = step_through(&run, INT64_MAX);

    *status = run.status;
    return state == 0 ? run.change_count : FAILED;
}
