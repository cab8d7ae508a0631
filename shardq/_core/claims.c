/* Which threads have work: see `shm/tubes/claims.py`. */
#include <time.h>

#include "core.h"

/* Whether a thread may get messages here: what `claims_work_arrived` would do of it is a frequent case. */
bool claims_take_work(Core *core, uint64_t thread)
{
    uint64_t word = thread_word(core, thread), owner = load(core, word + AT_THREAD_OWNER);
    switch (load_byte(core, core->at.thread_map + thread)) {
    case AT_THREAD_IDLE:
        return !owner && !load(core, word + AT_THREAD_APART) && !load(core, word + AT_THREAD_NOT_BEFORE_NS);
    case AT_THREAD_BOUND:
        if (!owner || slot_of(owner) >= core->at.slots)
            return false;
        return !slot_sleeps(core, slot_of(owner)) || owner_is_alive(core, owner);
    case AT_THREAD_READY:
    case AT_THREAD_PAUSED:
        return true;
    default:
        return false;
    }
}

/* The thread has work and no worker: offer it, and call a process to it. */
static bool make_ready(Core *core, uint64_t thread)
{
    uint64_t handler = load(core, thread_word(core, thread) + AT_THREAD_HANDLER);
    /* The ready map first, which is searched by handler: after a death between the two stores the thread may be offered
       already, which is harmless. */
    store_byte(core, core->at.ready_map + thread, (uint8_t)handler);
    store_byte(core, core->at.thread_map + thread, AT_THREAD_READY);
    return call_for_handler(core, handler);
}

/* The thread got messages. False: Python has to look closer. */
bool claims_work_arrived(Core *core, uint64_t thread)
{
    uint8_t state = load_byte(core, core->at.thread_map + thread);
    if (state == AT_THREAD_IDLE)
        return make_ready(core, thread);
    if (state != AT_THREAD_BOUND)
        return true;
    uint64_t slot = slot_of(load(core, thread_word(core, thread) + AT_THREAD_OWNER));
    if (slot_sleeps(core, slot))
        slot_call(core, slot);
    return true;
}
