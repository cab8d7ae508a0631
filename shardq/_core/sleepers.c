/* Which processes sleep, and which to ring once the guard is left: see `shm/processes/sleepers.py` and `bells.py`. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core.h"

/* Whether a process holds the slot's byte of the lock file. False: Python has to look closer. */
bool slot_is_alive(Core *core, uint64_t slot)
{
    if (slot >= core->at.slots)
        return false;
    if (slot == core->slot || core->seen_alive[slot])
        return true;
    struct flock question = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    question.l_start = FIRST_SLOT_BYTE + (off_t)slot;
    if (fcntl(core->lock_file, F_GETLK, &question) != 0 || question.l_type == F_UNLCK)
        return false;
    core->seen_alive[slot] = 1;
    return true;
}

/* Whether the process behind an owner word lives. False: Python has to look closer. */
bool owner_is_alive(Core *core, uint64_t owner)
{
    uint64_t slot = slot_of(owner);
    if (owner == core->identity)
        return true;
    if (slot >= core->at.slots || load(core, slot_word(core, slot) + AT_SLOT_INCARNATION) != owner >> 16)
        return false;
    return slot_is_alive(core, slot);
}

bool slot_sleeps(const Core *core, uint64_t slot)
{
    uint8_t state = load_byte(core, core->at.sleep_map + slot);
    return state == AT_ASLEEP || state == AT_CALLED;
}

/* Call a sleeping process to look for work, and have it rung, unless a ring of this process stands. */
void slot_call(Core *core, uint64_t slot)
{
    uint64_t place = core->at.sleep_map + slot, attempt = load(core, slot_word(core, slot) + AT_SLOT_ATTEMPT);
    if (load_byte(core, place) == AT_CALLED && core->rung[slot] == attempt)
        return;
    store_byte(core, place, AT_CALLED);
    core->called[slot] = attempt;
    /* It was rung ahead, and has not looked since. */
    if (slot == core->ahead && attempt == core->ahead_attempt) {
        core->rung[slot] = attempt;
        return;
    }
    core->due[slot] = core->any_due = true;
}

static bool serves(const Core *core, uint64_t slot, uint64_t handler)
{
    const uint8_t *numbers = core->bytes + core->at.served_map + slot * AT_SERVED_BYTES;
    return (numbers[handler / 8] >> handler % 8 & 1) || (numbers[AT_UNNUMBERED / 8] >> AT_UNNUMBERED % 8 & 1);
}

/* The first slot of a process that sleeps and serves the handler. NO_SLOT: there is none. */
uint64_t sleeper_that_serves(const Core *core, uint64_t handler)
{
    const uint8_t *map = core->bytes + core->at.sleep_map, *found = map;
    if (handler >= HANDLER_NUMBERS)
        return NO_SLOT;
    while ((found = memchr(found, AT_ASLEEP, core->at.slots - (uint64_t)(found - map)))) {
        uint64_t slot = (uint64_t)(found++ - map);
        if (serves(core, slot, handler))
            return slot;
    }
    return NO_SLOT;
}

/* Call a sleeping process that serves the handler; one that was called before where no other is there: who called it
   may have died before it rang. False: one seems to be dead, or there is no such handler, and Python has to look
   closer. */
bool call_for_handler(Core *core, uint64_t handler)
{
    const uint8_t *map = core->bytes + core->at.sleep_map, states[] = {AT_ASLEEP, AT_CALLED};
    if (handler >= HANDLER_NUMBERS)
        return false;
    for (int n = 0; n < 2; n++) {
        const uint8_t *found = map;
        while ((found = memchr(found, states[n], core->at.slots - (uint64_t)(found - map)))) {
            uint64_t slot = (uint64_t)(found++ - map);
            if (!slot_is_alive(core, slot))
                return false;
            if (serves(core, slot, handler)) {
                slot_call(core, slot);
                return true;
            }
        }
    }
    return true;
}

/* Have a process rung that is not called. */
void slot_ring(Core *core, uint64_t slot)
{
    if (slot < core->at.slots)
        core->due[slot] = core->any_due = true;
}

/* The first slot from there on whose process is in this state; behind the last slot: there is none. */
static uint64_t next_in(const Core *core, uint8_t state, uint64_t slot)
{
    const uint8_t *map = core->bytes + core->at.sleep_map;
    const uint8_t *found = slot < core->at.slots ? memchr(map + slot, state, core->at.slots - slot) : NULL;
    return found ? (uint64_t)(found - map) : core->at.slots;
}

/* How many processes are in this state, as far as `most`. They are rung where that is wanted. */
static uint64_t count_in(Core *core, uint8_t state, uint64_t most, bool rings)
{
    uint64_t count = 0;
    for (uint64_t slot = next_in(core, state, 0); slot < core->at.slots && count < most; count++) {
        if (rings)
            slot_ring(core, slot);
        slot = next_in(core, state, slot + 1);
    }
    return count;
}

/* Whether this process is known to serve, or may be made known: where more than a few sleep, Python does it. */
bool may_be_known(Core *core)
{
    if (load(core, core->slot_word + AT_SLOT_SERVES))
        return true;
    uint64_t asleep = count_in(core, AT_ASLEEP, MOST_WAITING, false);
    return asleep + count_in(core, AT_CALLED, MOST_WAITING, false) < MOST_WAITING;
}

/* At its first claim a process makes itself known: those that sleep look again, and notice its death from then on. */
void make_known(Core *core)
{
    uint64_t serves = core->slot_word + AT_SLOT_SERVES;
    if (load(core, serves))
        return;
    uint64_t asleep = count_in(core, AT_ASLEEP, MOST_WAITING, true);
    count_in(core, AT_CALLED, MOST_WAITING - asleep, true);
    store(core, AT_SERVERS, load(core, AT_SERVERS) + 1);
    /* Last: where a death cuts this short, there is no claim of it either. */
    store(core, serves, 1);
}

/* For a process that was called and takes nothing: call another one in a higher slot for what is ready. Processes in
   lower slots were awake when this one was called, or have looked for work themselves since. False: Python has to. */
bool pass_call_on(Core *core)
{
    const uint8_t *map = core->bytes + core->at.sleep_map, states[] = {AT_ASLEEP, AT_CALLED};
    const uint8_t *threads = core->bytes + core->at.thread_map;
    if (memchr(threads, AT_THREAD_READY, threads_used(core)) == NULL)
        return true;
    for (int n = 0; n < 2; n++) {
        for (uint64_t slot = core->slot + 1; slot < core->at.slots; slot++) {
            if (map[slot] != states[n])
                continue;
            const uint8_t *bits = core->bytes + core->at.served_map + slot * AT_SERVED_BYTES;
            if (!slot_is_alive(core, slot) || bits[0] & 1 << AT_UNNUMBERED)
                return false;
            int64_t ready = next_ready(core, -1, bits, false);
            if (ready == ODD)
                return false;
            if (ready >= 0) {
                slot_call(core, slot);
                return true;
            }
        }
    }
    return true;
}

/* For the section that begins. */
void forget_calls(Core *core)
{
    if (core->any_due)
        memset(core->due, 0, core->at.slots);
    core->any_due = false;
    memset(core->seen_alive, 0, core->at.slots);
}
