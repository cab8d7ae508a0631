/* Ringing other processes, by the ways that Python has opened: see `shm/processes/doorbell.py` and `bells.py`. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "core.h"

/* Whether a bell without a reader is an error here, and no signal that ends this process: else Python rings. */
static bool writes_are_safe(void)
{
    struct sigaction its;
    return sigaction(SIGPIPE, NULL, &its) == 0 && its.sa_handler == SIG_IGN;
}

/* Whether the process was rung. False: Python has to. */
static bool bell_ring(Core *core, uint64_t slot)
{
    if (core->bells[slot] == NO_BELL || !writes_are_safe())
        return false;
    /* A bell that is full of rings has been rung. */
    if (write(core->bells[slot], "!", 1) == 1 || errno == EAGAIN)
        return true;
    core->bells[slot] = NO_BELL;
    return false;
}

/* The process that would be called for the thread, as far as that can be seen from outside the guard. NO_SLOT: none. */
static uint64_t sleeper_for(const Core *core, uint64_t thread)
{
    uint64_t word = thread_word(core, thread), slot;
    switch (load_byte(core, core->at.thread_map + thread)) {
    case AT_THREAD_BOUND:
        slot = slot_of(load(core, word + AT_THREAD_OWNER));
        return slot < core->at.slots && load_byte(core, core->at.sleep_map + slot) == AT_ASLEEP ? slot : NO_SLOT;
    case AT_THREAD_IDLE:
        return sleeper_that_serves(core, load(core, word + AT_THREAD_HANDLER));
    default:
        return NO_SLOT;
    }
}

/* Ring the process that sleeps for want of what is about to be stored. To get up takes it longer than storing takes: so
   it finds what is stored then. Where it was faster, it sleeps again, and is rung again: it counts as called by this
   ring only if it has not looked since. */
void ring_ahead(Core *core, const Call *call)
{
    const Place *place = call->parts[0].place;
    core->ahead = NO_SLOT;
    if (load(core, AT_CLOSED) || load(core, AT_PAUSED) || !place_stands(core, place))
        return;
    uint64_t slot = sleeper_for(core, place->thread);
    if (slot == NO_SLOT || slot == core->slot)
        return;
    core->ahead_attempt = load(core, slot_word(core, slot) + AT_SLOT_ATTEMPT);
    if (bell_ring(core, slot))
        core->ahead = slot;
}

/* Ring the processes that the section has called. Returns how many Python has to ring, and these slots. */
uint64_t ring_called(Core *core, uint64_t *slots)
{
    uint64_t count = 0;
    for (uint64_t slot = 0; core->any_due && slot < core->at.slots && count < MOST_DUE; slot++) {
        if (!core->due[slot])
            continue;
        if (bell_ring(core, slot))
            core->rung[slot] = core->called[slot];
        else
            slots[count++] = slot;
    }
    return count;
}
