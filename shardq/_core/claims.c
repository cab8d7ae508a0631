/* Which threads have work, and which process serves them: see `shm/tubes/claims.py`. */
#include <string.h>

#include "core.h"

/* Whether the tube is still what Python found by its pipe. */
bool place_stands(const Core *core, const Place *place)
{
    if (place->thread >= core->at.threads || place->tube >= core->at.tubes)
        return false;
    if (load(core, thread_word(core, place->thread) + AT_THREAD_GENERATION) != place->generation)
        return false;
    return load(core, tube_word(core, place->tube) + AT_TUBE_THREAD) == place->thread + 1;
}

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
bool make_ready(Core *core, uint64_t thread)
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
    /* Another program may have written there since `claims_take_work`. */
    if (slot < core->at.slots && slot_sleeps(core, slot))
        slot_call(core, slot);
    return true;
}

/* Whether the thread is bound to this process with this token. */
bool claims_hold(const Core *core, uint64_t thread, uint64_t token)
{
    uint64_t word = thread_word(core, thread);
    return token && load(core, word + AT_THREAD_TOKEN) == token && load(core, word + AT_THREAD_OWNER) == core->identity;
}

/* The first thread from there on that is bound to a process that is not seen to live. NONE_READY: there is none. */
int64_t next_orphan(Core *core, uint64_t start)
{
    const uint8_t *map = core->bytes + core->at.thread_map, *found = map + start;
    uint64_t used = threads_used(core);
    while (start < used && (found = memchr(found, AT_THREAD_BOUND, used - (uint64_t)(found - map)))) {
        uint64_t thread = (uint64_t)(found++ - map);
        if (!owner_is_alive(core, load(core, thread_word(core, thread) + AT_THREAD_OWNER)))
            return (int64_t)thread;
    }
    return NONE_READY;
}

/* Whether each thread that is bound has a worker that lives. */
bool claims_orphans_seen(Core *core)
{
    return next_orphan(core, 0) == NONE_READY;
}

static uint64_t search_start(int64_t after, uint64_t used)
{
    return after < 0 || (uint64_t)after >= used ? 0 : (uint64_t)after + 1;
}

/* The next thread that is ready, whatever its handler, going round from behind `after`. */
static int64_t any_ready(const Core *core, int64_t after)
{
    const uint8_t *map = core->bytes + core->at.thread_map;
    uint64_t used = threads_used(core), start = search_start(after, used);
    const uint8_t *found = memchr(map + start, AT_THREAD_READY, used - start);
    if (!found && start)
        found = memchr(map, AT_THREAD_READY, start);
    return found ? found - map : NONE_READY;
}

static bool has_bit(const uint8_t *bits, uint64_t number)
{
    return bits[number / 8] >> number % 8 & 1;
}

/* So many threads beside each other are compared at once: they are often all of one handler. */
#define STRETCH 64

/* The first place with a wanted byte, `end`: there is none. A stretch that is as the one before has none either. */
static uint64_t first_wanted(const uint8_t *map, uint64_t start, uint64_t end, const bool *wanted)
{
    for (uint64_t place = start, next; place < end; place = next) {
        next = least(place + STRETCH, end);
        if (place - start >= STRETCH && next - place == STRETCH && !memcmp(map + place, map + place - STRETCH, STRETCH))
            continue;
        for (; place < next; place++)
            if (wanted[map[place]])
                return place;
    }
    return end;
}

/* The next thread that is ready for one of these handlers, or for one without a number where some are known `by_name`,
   going round from behind `after`. */
static int64_t search(const Core *core, int64_t after, const uint8_t *bits, bool by_name)
{
    const uint8_t *map = core->bytes + core->at.ready_map;
    uint64_t used = threads_used(core), start = search_start(after, used);
    bool wanted[256] = {false};
    for (uint64_t number = 1; number < HANDLER_NUMBERS; number++)
        wanted[number] = has_bit(bits, number);
    wanted[AT_OTHER_HANDLER] |= by_name;
    uint64_t found = first_wanted(map, start, used, wanted);
    if (found == used) {
        found = first_wanted(map, 0, start, wanted);
        if (found == start)
            return NONE_READY;
    }
    return by_name && map[found] == AT_OTHER_HANDLER ? ODD : (int64_t)found;
}

/* The next thread of these handlers with work and no worker. Those without a number of their own are known `by_name`,
   if not all are meant. */
int64_t next_ready(const Core *core, int64_t after, const uint8_t *bits, bool by_name)
{
    int64_t first = any_ready(core, after);
    if (first < 0)
        return NONE_READY;
    uint64_t handler = load(core, thread_word(core, (uint64_t)first) + AT_THREAD_HANDLER);
    if (!handler || handler > AT_OTHER_HANDLER || (handler == AT_OTHER_HANDLER && by_name))
        return ODD;
    return has_bit(bits, handler) ? first : search(core, after, bits, by_name);
}

/* The tubes of a thread. False: there are too many, or some that are in front of others. */
bool tubes_of(const Core *core, uint64_t thread, Tubes *found)
{
    uint64_t next = load(core, thread_word(core, thread) + AT_THREAD_FIRST_TUBE);
    for (found->count = 0; next; next = load(core, tube_word(core, next - 1) + AT_TUBE_NEXT)) {
        if (next > core->at.tubes || found->count == MOST_TUBES)
            return false;
        uint64_t word = tube_word(core, next - 1);
        if (load(core, word + AT_TUBE_THREAD) != thread + 1 || load(core, word + AT_TUBE_FRONT))
            return false;
        found->tubes[found->count++] = next - 1;
    }
    return true;
}

/* Whether any of the tubes has messages: 0 or 1. ODD: Python has to look. */
int has_work(const Core *core, const Tubes *tubes)
{
    int works = 0;
    for (uint64_t n = 0; n < tubes->count; n++) {
        uint64_t tail, next_sequence;
        if (!tail_of(core, tubes->tubes[n], &tail, &next_sequence))
            return ODD;
        works |= tail != 0;
    }
    return works;
}

static void set_state(Core *core, uint64_t thread, uint8_t state)
{
    store_byte(core, core->at.thread_map + thread, state);
    store_byte(core, core->at.ready_map + thread, 0);
}

/* End the thread's binding. False: it is over, and the journal stands for Python to mend the rest. */
bool release(Core *core, uint64_t thread, bool works)
{
    uint64_t word = thread_word(core, thread);
    journal_declare(core, thread);
    store(core, word + AT_THREAD_NOT_BEFORE_NS, 0);
    store(core, word + AT_THREAD_FAILURES, 0);
    store(core, word + AT_THREAD_OWNER, 0);
    if (!works)
        set_state(core, thread, AT_THREAD_IDLE);
    else if (!make_ready(core, thread))
        return false;
    journal_clear(core);
    note_end(core, thread, 0);
    return true;
}

/* Bind a thread that is ready to this process. Returns the token. */
uint64_t claim(Core *core, uint64_t thread, const Tubes *tubes)
{
    uint64_t word = thread_word(core, thread), token = load(core, AT_TOKEN) + 1;
    journal_declare(core, thread);
    /* The counter first: a token is never given out twice, even if this process dies here. */
    store(core, AT_TOKEN, token);
    store(core, word + AT_THREAD_TOKEN, token);
    for (uint64_t n = 0; n < tubes->count; n++)
        store(core, tube_word(core, tubes->tubes[n]) + AT_TUBE_HANDED, 0);
    store(core, word + AT_THREAD_NOT_BEFORE_NS, 0);
    store(core, word + AT_THREAD_TAKEN, 0);
    make_known(core);
    store(core, word + AT_THREAD_OWNER, core->identity);
    set_state(core, thread, AT_THREAD_BOUND);
    journal_clear(core);
    return token;
}
