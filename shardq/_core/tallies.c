/* What this process counts of each handler: see `shm/tubes/tallies.py`. */
#include <math.h>
#include <time.h>

#include "core.h"

/* First word of what is counted of the handler, 0: nothing is. -1: Python was not asked for it yet. */
int64_t tally_block(const Core *core, uint64_t handler)
{
    if (handler >= HANDLER_NUMBERS || (Py_ssize_t)handler >= Py_SIZE(core->blocks))
        return -1;
    int64_t block = PyLong_AsLongLong(PyList_GetItem(core->blocks, (Py_ssize_t)handler));
    if (PyErr_Occurred())
        PyErr_Clear();
    uint64_t last = core->at.total_bytes / AT_WORD - AT_TALLY_WORDS;
    return block < 0 || (uint64_t)block > last ? -1 : block;
}

static void add(Core *core, uint64_t word, uint64_t count)
{
    store(core, word, load(core, word) + count);
}

static void rate(Core *core, uint64_t block, uint64_t counter, uint64_t its, double left)
{
    uint64_t count = load(core, block + counter), rated = load(core, block + its + 1);
    double former = (double)load(core, block + its) * left;
    /* Counts only grow. A rate that is beyond all measure is none of this program. */
    uint64_t came = count >= rated ? (count - rated) * TALLY_PER_ONE : 0;
    store(core, block + its, (former < 1e18 ? (uint64_t)former : 0) + came);
    store(core, block + its + 1, count);
}

/* Let the rates fall for the time since they were stored, and rise by what came meanwhile. */
static void rate_if_due(Core *core, uint64_t handler, uint64_t block)
{
    uint64_t now_ns = clock_ns(CLOCK_BOOTTIME), at_ns = load(core, block + AT_TALLY_RATE_AT_NS);
    if (now_ns < core->rates_due_ns[handler])
        return;
    uint64_t gone_ns = now_ns > at_ns ? now_ns - at_ns : 0;
    double left = exp(-(double)gone_ns / (double)TALLY_RATE_SPAN_NS);
    rate(core, block, AT_TALLY_ACCEPTED, AT_TALLY_ACCEPTED_RATE, left);
    rate(core, block, AT_TALLY_DONE, AT_TALLY_DONE_RATE, left);
    store(core, block + AT_TALLY_RATE_AT_NS, now_ns);
    core->rates_due_ns[handler] = now_ns + TALLY_RATED_EACH_NS;
}

static const struct {
    int place;
    double first, second;
} steps[] = {TALLY_STEPS};

/* The bucket that a time belongs to. */
static uint64_t bucket_of(uint64_t nanoseconds)
{
    int bits = nanoseconds ? 64 - __builtin_clzll(nanoseconds) : 0;
    double time = (double)nanoseconds;
    return (uint64_t)(steps[bits].place + (time > steps[bits].first) + (time > steps[bits].second));
}

void tally_done(Core *core, uint64_t handler, uint64_t count)
{
    int64_t block = tally_block(core, handler);
    if (block > 0 && count)
        add(core, (uint64_t)block + AT_TALLY_DONE, count);
}

/* A batch was in hand for so long, and is not any more. */
void tally_ended(Core *core, uint64_t handler, uint64_t count, uint64_t spent_ns)
{
    int64_t block = tally_block(core, handler);
    if (block <= 0)
        return;
    tally_done(core, handler, count);
    add(core, (uint64_t)block + AT_TALLY_BUSY_NS, spent_ns);
    add(core, (uint64_t)block + AT_TALLY_WORK + bucket_of(spent_ns), 1);
    rate_if_due(core, handler, (uint64_t)block);
}

/* A batch was handed out, whose oldest message had waited so long. */
void tally_handed_out(Core *core, uint64_t handler, uint64_t waited_us)
{
    int64_t block = tally_block(core, handler);
    if (block <= 0)
        return;
    add(core, (uint64_t)block + AT_TALLY_WAIT + bucket_of(waited_us * 1000), 1);
    add(core, (uint64_t)block + AT_TALLY_WAITED_US, waited_us);
}

void tally_accepted(Core *core, uint64_t handler, uint64_t count)
{
    int64_t block = tally_block(core, handler);
    if (block <= 0)
        return;
    add(core, (uint64_t)block + AT_TALLY_ACCEPTED, count);
    rate_if_due(core, handler, (uint64_t)block);
}

/* An attempt failed, for the reason of this place among all. */
void tally_failed(Core *core, uint64_t handler, uint64_t reason)
{
    int64_t block = tally_block(core, handler);
    if (block > 0)
        add(core, (uint64_t)block + AT_TALLY_FAILED + reason, 1);
}
