/* Threads whose worker died: see `Claims._bury_owner` and `shm/tubes/delivery.py`. */
#include <time.h>

#include "core.h"

/* Whether it has been seen that the process behind an owner word has ended. */
static bool is_known_dead(const Core *core, uint64_t owner)
{
    uint64_t known = least(core->deaths, MOST_DEAD);
    for (uint64_t n = 0; n < known; n++)
        if (core->dead[n] == owner)
            return true;
    return false;
}

/* What a supervisor wrote of how the process ended, 0: nothing. It writes without the guard, the owner word last. */
static uint64_t ending_of(const Core *core, uint64_t owner)
{
    for (uint64_t n = 0; n < AT_DEATH_ENTRIES; n++) {
        uint64_t word = AT_DEATHS + n * AT_DEATH_WORDS;
        if (load(core, word) != owner)
            continue;
        uint64_t how = load(core, word + 1);
        return load(core, word) == owner ? how : 0;
    }
    return 0;
}

typedef struct {
    uint64_t thread_word, owner, word, head, handed, ending; /* `word`: of the tube that the batch in hand is from */
} Orphan;

/* What the dead worker had in hand. False: it had nothing, or Python has to look. */
static bool orphan_read(const Core *core, uint64_t thread, Orphan *its)
{
    its->thread_word = thread_word(core, thread);
    its->owner = load(core, its->thread_word + AT_THREAD_OWNER);
    uint64_t taken = load(core, its->thread_word + AT_THREAD_TAKEN), tail, next_sequence;
    if (!is_known_dead(core, its->owner) || !taken || taken > core->at.tubes)
        return false;
    its->word = tube_word(core, taken - 1);
    its->head = load(core, its->word + AT_TUBE_HEAD_SEQUENCE);
    its->handed = load(core, its->word + AT_TUBE_HANDED);
    if (load(core, its->word + AT_TUBE_THREAD) != thread + 1 || load(core, its->word + AT_TUBE_CANCELLED))
        return false;
    return its->handed > its->head && tail_of(core, taken - 1, &tail, &next_sequence) && its->handed <= next_sequence;
}

/* Whether the death counts as a failure of what was in hand, and nothing else is odd about the thread. */
static bool is_ordinary(const Core *core, Orphan *its)
{
    if (load(core, its->thread_word + AT_THREAD_APART) || load(core, its->thread_word + AT_THREAD_NOT_BEFORE_NS))
        return false;
    if (tally_block(core, load(core, its->thread_word + AT_THREAD_HANDLER)) < 0)
        return false;
    its->ending = ending_of(core, its->owner);
    return !(its->ending & DEATH_EXCUSED);
}

/* The message that was in hand alone failed. One commit takes it back, counts that, and ends the binding: another death
   neither counts it twice nor loses it. */
static void blame(Core *core, const Orphan *its)
{
    uint64_t now_us = clock_ns(CLOCK_REALTIME) / 1000, word = its->word;
    bool failed_before = load(core, word + AT_TUBE_FAILED_SEQUENCE) == its->head;
    if (!failed_before)
        store(core, word + AT_TUBE_ATTEMPTS, 0);
    if (!failed_before || !load(core, word + AT_TUBE_ATTEMPTS))
        store(core, word + AT_TUBE_FIRST_FAILED_US, now_us);
    store(core, word + AT_TUBE_FAILED_SEQUENCE, its->head);
    store(core, word + AT_TUBE_LAST_FAILED_US, now_us);
    store(core, word + AT_TUBE_FAILED_BY, its->owner);
    journal_note(core, 0, word + AT_TUBE_HANDED, 0);
    journal_note(core, 1, word + AT_TUBE_ATTEMPTS, load(core, word + AT_TUBE_ATTEMPTS) + 1);
    journal_note(core, 2, its->thread_word + AT_THREAD_OWNER, 0);
    journal_commit(core, 3);
}

/* Of several messages none is to blame yet: they are handed out one by one from now on. */
static void isolate(Core *core, const Orphan *its)
{
    uint64_t through = its->word + AT_TUBE_LIMIT_THROUGH;
    /* The limit first: for a moment it may hold for a longer or a shorter part, which is harmless. */
    store(core, its->word + AT_TUBE_LIMIT, 1);
    store(core, through, largest(load(core, through), its->handed));
    store(core, its->thread_word + AT_THREAD_OWNER, 0);
}

/* End the binding of a process that died, and offer the thread. False: Python has to, or the journal stands for it to
   mend the rest. */
static bool orphan_freed(Core *core, uint64_t thread)
{
    Orphan its;
    if (!orphan_read(core, thread, &its) || !is_ordinary(core, &its))
        return false;
    uint64_t handler = load(core, its.thread_word + AT_THREAD_HANDLER);
    journal_declare(core, thread);
    if (its.handed - its.head == 1)
        blame(core, &its);
    else
        isolate(core, &its);
    tally_failed(core, handler, its.ending & DEATH_TIMED_OUT ? FAILED_TIMEOUT : FAILED_DIED);
    if (!make_ready(core, thread))
        return false;
    journal_clear(core);
    return true;
}

bool orphans_freed(Core *core)
{
    int64_t thread = NONE_READY;
    while ((thread = next_orphan(core, (uint64_t)(thread + 1))) != NONE_READY)
        if (!orphan_freed(core, (uint64_t)thread))
            return false;
    return true;
}
