/* A turn of a worker in one section: acknowledge, hand out more, or go on to the thread that is ready next; and a rest,
   which lies down where there is none. See `shm/verbs/delivering.py` and `shm/verbs/waiting.py`. */
#include <string.h>
#include <time.h>

#include "core.h"

/* How often a busy process looks for threads whose worker died. */
#define ORPHAN_INTERVAL_NS 10000000ULL

/* The terms of the thread's handler, NULL: there are none. False: nothing can be known of the thread. */
static bool terms_of(Core *core, const Turn *turn, uint64_t thread, PyObject **terms)
{
    const KnownThread *known = thread_known(core, thread);
    if (known == NULL)
        return false;
    *terms = PyDict_GetItemWithError(turn->terms, known->handler);
    PyErr_Clear();
    return true;
}

static bool any_rests(const Core *core)
{
    return memchr(core->bytes + core->at.thread_map, AT_THREAD_PAUSED, threads_used(core)) != NULL;
}

/* Whether all is as a busy process finds it: no thread's rest may be over, and no thread is left of a worker that died. */
static bool look_around(Core *core)
{
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    if (any_rests(core))
        return false;
    if (now_ns < core->orphans_due_ns)
        return true;
    core->orphans_due_ns = now_ns + ORPHAN_INTERVAL_NS;
    return orphans_freed(core);
}

/* The thread that is ready next. */
static int64_t find_next(Core *core, const Turn *turn)
{
    if (turn->names != Py_None && PySet_Size(turn->names) == 0)
        return NONE_READY;
    if (turn->names != core->served || !look_around(core))
        return ODD;
    return next_ready(core, turn->last_served, core->served_bits, turn->names != Py_None);
}

/* Hand out more of the thread in hand. */
static bool take_more(Core *core, Turn *turn)
{
    PyObject *terms;
    Tubes tubes;
    if (!terms_of(core, turn, turn->thread, &terms) || !tubes_of(core, turn->thread, &tubes))
        return false;
    if (!batch_find(core, turn->thread, &tubes, terms, &turn->batch))
        return false;
    if (turn->batch.count)
        batch_hand_out(core, turn->thread, terms, &turn->batch);
    turn->found = true;
    return true;
}

static bool may_be_claimed(Core *core, uint64_t thread)
{
    return load_byte(core, core->at.thread_map + thread) == AT_THREAD_READY &&
           !load(core, thread_word(core, thread) + AT_THREAD_OWNER) && may_be_known(core);
}

/* Release the thread in hand, and claim the next one. All that can be odd is looked at before. */
static Turned move_on(Core *core, Turn *turn, uint64_t next)
{
    PyObject *terms;
    Tubes tubes, left;
    int works = 0;
    if (!may_be_claimed(core, next) || !terms_of(core, turn, next, &terms) || !tubes_of(core, next, &tubes))
        return TURN_GENERAL;
    if (turn->has_hand)
        works = tubes_of(core, turn->thread, &left) ? has_work(core, &left) : ODD;
    if (works == ODD || !batch_find(core, next, &tubes, terms, &turn->batch))
        return TURN_GENERAL;
    if (turn->has_hand && !release(core, turn->thread, works))
        return TURN_RELEASED;
    turn->token = claim(core, next, &tubes);
    turn->thread = next;
    turn->last_served = (int64_t)next;
    turn->found = true;
    if (turn->batch.count)
        batch_hand_out(core, next, terms, &turn->batch);
    return TURN_DONE;
}

/* What a turn does once the batch in hand is acknowledged. TURN_GENERAL: Python goes on from there. */
static Turned onward(Core *core, Turn *turn)
{
    turn->batch.count = 0;
    if (turn->has_hand && turn->stays) {
        if (!take_more(core, turn))
            return TURN_GENERAL;
        if (turn->batch.count)
            return TURN_DONE;
    }
    int64_t next = find_next(core, turn);
    if (next >= 0)
        return move_on(core, turn, (uint64_t)next);
    if (next == ODD)
        return TURN_GENERAL;
    if (!turn->has_hand || turn->stays)
        return TURN_DONE;
    return take_more(core, turn) ? TURN_DONE : TURN_GENERAL;
}

/* Whether this process may lie down: it watches all that serve, all of them live, and none has to wake by itself. */
static bool may_lie_down(Core *core, const Turn *turn)
{
    if (load(core, AT_SERVERS) != turn->watched || load(core, AT_NEXT_DUE_US) || any_rests(core))
        return false;
    if (!load(core, core->slot_word + AT_SLOT_WORKER) && !load(core, core->slot_word + AT_SLOT_SERVES))
        return false;
    return claims_orphans_seen(core);
}

/* A coroutine that slept has looked again. */
static void turn_over(Core *core, Turn *turn)
{
    uint64_t place = core->at.sleep_map + core->slot;
    bool called = load_byte(core, place) == AT_CALLED;
    store_byte(core, place, turn->falls_asleep || turn->asleep > 1 ? AT_ASLEEP : AT_AWAKE);
    core->due[core->slot] = false; /* it has looked: where it called itself, it need not look again */
    turn->passes_on = called && !pass_call_on(core);
    turn->asleep -= !turn->falls_asleep;
}

/* Whether this process was perhaps to wake by itself: then another one has to, if this one has work now. */
static bool was_to_wake(const Core *core, const Turn *turn)
{
    return turn->was_asleep && (load(core, AT_NEXT_DUE_US) || any_rests(core));
}

/* What a rest does once the batch in hand is acknowledged. */
static Turned lie_down(Core *core, Turn *turn)
{
    uint64_t token = turn->token;
    if (was_to_wake(core, turn))
        return TURN_GENERAL;
    Turned turned = onward(core, turn);
    if (turned != TURN_DONE)
        return turned;
    bool busy = turn->found && (turn->batch.count || !turn->has_hand || turn->token != token);
    if (!busy && turn->may_sleep && !may_lie_down(core, turn))
        return TURN_GENERAL;
    turn->falls_asleep = !busy && turn->may_sleep;
    if (turn->was_asleep) {
        turn_over(core, turn);
    } else if (turn->falls_asleep) {
        turn->asleep++;
        store_byte(core, core->at.sleep_map + core->slot, AT_ASLEEP);
    }
    return TURN_DONE;
}

static Turned turn_inside(Core *core, Turn *turn)
{
    Acknowledged done = ACKNOWLEDGED;
    if (turn->place)
        done = acknowledge(core, turn->place, turn->token, turn->through, turn->outputs);
    if (done != ACKNOWLEDGED)
        return done == ACKNOWLEDGE_GENERAL ? TURN_GENERAL : TURN_ACKNOWLEDGED;
    Turned turned = turn->rests ? lie_down(core, turn) : onward(core, turn);
    return turned == TURN_GENERAL && turn->place ? TURN_ACKNOWLEDGED : turned;
}

static bool holds_what_is_in_hand(const Core *core, const Turn *turn)
{
    if (turn->place && !place_stands(core, turn->place))
        return false;
    return !turn->has_hand || (turn->thread < core->at.threads && claims_hold(core, turn->thread, turn->token));
}

Turned turn_take(Core *core, Turn *turn)
{
    Turned turned = TURN_GENERAL;
    if (!guard_enter(core))
        return turned;
    forget_calls(core);
    bool special = load(core, AT_CLOSED) || load(core, AT_PAUSED) || load(core, AT_EQUALITY_STATE);
    if (!special && holds_what_is_in_hand(core, turn))
        turned = turn_inside(core, turn);
    guard_leave(core);
    return turned;
}
