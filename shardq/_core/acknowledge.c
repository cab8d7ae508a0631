/* Acknowledging what is in hand: see `shm/tubes/fifo.py` and `shm/verbs/handing.py`. */
#include <string.h>
#include <sys/mman.h>

#include "core.h"

/* A batch crosses no more extents at once. */
#define MOST_LEFT 64

typedef struct {
    uint64_t word, former, head, through, tail, next_sequence; /* `former`, `head`: the records at the head */
    Extent left[MOST_LEFT];                                     /* extents that no message is in any more */
    uint64_t left_count;
    bool emptied;
} Settling;

/* How many of the lowest extents of a class keep their memory when they are free. */
static bool keeps_memory(const Core *core, const Extent *extent)
{
    static const uint64_t kept[] = {EXTENTS_KEPT_0, EXTENTS_KEPT_1, EXTENTS_KEPT_2};
    uint64_t count = extent->class_number < 3 ? kept[extent->class_number] : 0;
    return extent->number - core->at.classes[extent->class_number].first < count && !extent->punched;
}

static bool extent_numbered(const Core *core, uint64_t number, Extent *found)
{
    for (int n = 0; n < core->at.class_count; n++) {
        const ExtentClass *its = &core->at.classes[n];
        if (number - its->first < its->count)
            return extent_around(core, its->base + (number - its->first) * its->size, found);
    }
    return false;
}

/* The extents from the one around `first` to the one around `last`, `last`'s own only where `through_last`. */
static bool extents_between(const Core *core, Settling *its, uint64_t first, uint64_t last, bool through_last)
{
    Extent passed, end;
    if (!extent_around(core, first, &passed) || !extent_around(core, last, &end))
        return false;
    for (its->left_count = 0; passed.number != end.number; its->left_count++) {
        if (its->left_count == MOST_LEFT - 1)
            return false;
        its->left[its->left_count] = passed;
        if (!extent_numbered(core, load(core, core->at.extent_next_word + passed.number) - 1, &passed))
            return false;
    }
    if (through_last)
        its->left[its->left_count++] = end;
    return true;
}

/* Whether memory goes back to the system without more ado. */
static bool can_release(const Core *core, const Settling *its, uint64_t tube)
{
    for (uint64_t n = 0; n < its->left_count; n++) {
        if (extent_owner(core, &its->left[n]) != tube + 1)
            return false;
        if (!keeps_memory(core, &its->left[n]) && load(core, AT_RESERVED_BYTES) < core->reserve_least)
            return false;
    }
    return true;
}

/* The record that has the message behind those that are acknowledged. */
static bool find_head(const Core *core, Settling *its, uint64_t start)
{
    Chain chain;
    chain_begin(&chain, start, its->tail);
    while (chain_next(core, &chain)) {
        if (chain.record.sequence > its->through)
            return false;
        its->head = chain.record.address;
        if (chain.record.sequence + chain.record.count > its->through)
            return true;
    }
    return false;
}

static bool find_new_head(const Core *core, Settling *its, uint64_t tube)
{
    bool known = core->found_tube == tube && core->found_through == its->through;
    if (!(known && find_head(core, its, core->found_address)) && !find_head(core, its, its->former))
        return false;
    if (!extents_between(core, its, its->former, its->head, false))
        return false;
    /* Behind the reader, memory is given back while it is scarce. */
    return its->former / EXTENT_PUNCH_STEP == its->head / EXTENT_PUNCH_STEP || !memory_is_scarce(core);
}

static bool plan(const Core *core, const Place *place, Settling *its)
{
    its->word = tube_word(core, place->tube);
    its->former = load(core, its->word + AT_TUBE_HEAD_RECORD);
    its->left_count = 0;
    if (load(core, its->word + AT_TUBE_CANCELLED) || !tail_of(core, place->tube, &its->tail, &its->next_sequence))
        return false;
    if (!its->tail || its->through <= load(core, its->word + AT_TUBE_HEAD_SEQUENCE))
        return false;
    its->emptied = its->through >= its->next_sequence;
    if (!its->emptied)
        return find_new_head(core, its, place->tube) && can_release(core, its, place->tube);
    its->through = its->next_sequence;
    return extents_between(core, its, its->former, its->tail, true) && can_release(core, its, place->tube);
}

/* The word before the memory: memory that is not counted is harmless, counting on memory that is gone is a SIGBUS. */
static void drop_memory(const Core *core, const Extent *extent)
{
    store(core, core->at.extent_backed_word + extent->number, EXTENT_PUNCHED);
    madvise(core->bytes + extent->start, extent->size, MADV_REMOVE);
    store(core, core->at.extent_backed_word + extent->number, 0);
}

static void release_extents(const Core *core, const Settling *its)
{
    for (uint64_t n = 0; n < its->left_count; n++) {
        const Extent *extent = &its->left[n];
        if (!keeps_memory(core, extent))
            drop_memory(core, extent);
        store_byte(core, core->at.extent_map + extent->number, 0);
        store(core, core->at.extent_owners_word + extent->number, 0);
    }
}

/* Bring all that follows from the head in line with it. */
static void settle(const Core *core, const Settling *its)
{
    if (its->emptied) {
        /* The number is stored first: once the tail is gone, no other word tells it. */
        store(core, its->word + AT_TUBE_NEXT_SEQUENCE, its->next_sequence);
        store(core, its->word + AT_TUBE_CANCELLED, 0);
        store(core, its->word + AT_TUBE_INDEXED, 0);
        store(core, its->word + AT_TUBE_TAIL, 0);
    } else if (its->head != its->former) {
        store(core, its->word + AT_TUBE_HEAD_RECORD, its->head);
    } else {
        return;
    }
    release_extents(core, its);
}

/* Whether what this process counts can be counted here. */
static bool can_count(const Core *core, uint64_t thread)
{
    uint64_t in_hand = load(core, core->slot_word + AT_SLOT_BATCH_THREAD);
    if (in_hand > core->at.threads)
        return false;
    if (in_hand && tally_block(core, load(core, thread_word(core, in_hand - 1) + AT_THREAD_HANDLER)) < 0)
        return false;
    return tally_block(core, load(core, thread_word(core, thread) + AT_THREAD_HANDLER)) >= 0;
}

/* Whether Python has to tell that so many messages left: a process waits until nothing is queued, which is now, or many
   wait for room. */
static bool python_tells(const Core *core, uint64_t gone)
{
    uint64_t waiting = 0;
    for (const uint8_t *map = core->bytes + core->at.room_map, *end = map + core->at.slots;
         (map = memchr(map, 1, (size_t)(end - map))) != NULL; map++)
        if (++waiting > MOST_WAITING)
            return true;
    bool none_queued = load(core, AT_ACCEPTED) == load(core, AT_HANDLED) + gone;
    return none_queued && memchr(core->bytes + core->at.quiet_map, 1, core->at.slots) != NULL;
}

/* Ring the processes that wait for room. */
static void tell_of_room(Core *core)
{
    uint8_t *map = core->bytes + core->at.room_map, *found = map;
    while ((found = memchr(found, 1, core->at.slots - (uint64_t)(found - map)))) {
        store_byte(core, (uint64_t)(found - core->bytes), 0);
        slot_ring(core, (uint64_t)(found++ - map));
    }
}

static void count_done(Core *core, const Settling *its, uint64_t thread, uint64_t gone)
{
    if (load(core, its->word + AT_TUBE_HANDED) > its->through)
        tally_done(core, load(core, thread_word(core, thread) + AT_THREAD_HANDLER), gone);
    else
        note_end(core, thread, gone);
}

/* Whether outputs can be stored beside the acknowledgement: none of them comes into the tube that it changes. */
static bool plan_outputs(Core *core, const Place *place, Call *outputs)
{
    for (uint64_t n = 0; n < outputs->count; n++)
        if (outputs->parts[n].place->tube == place->tube)
            return false;
    return call_plan(core, outputs);
}

/* Write the outputs, and write down the stores that acknowledge the batch and make the outputs part of their tubes.
   Returns how many stores, 0: /dev/shm has no memory for the outputs. */
static uint64_t stores_noted(Core *core, const Settling *its, uint64_t gone, const Call *outputs)
{
    if (outputs && !call_write(core, outputs))
        return 0;
    journal_note(core, 0, its->word + AT_TUBE_HEAD_SEQUENCE, its->through);
    journal_note(core, 1, AT_HANDLED, load(core, AT_HANDLED) + gone);
    return outputs ? call_note(core, outputs, 2) : 2;
}

/* Acknowledge all messages below `through` of a tube whose thread is this process's, and store what was sent on, in the
   same commit. */
Acknowledged acknowledge(Core *core, const Place *place, uint64_t token, uint64_t through, Call *outputs)
{
    Settling its = {.through = through};
    if (!claims_hold(core, place->thread, token) || !can_count(core, place->thread) || !plan(core, place, &its))
        return ACKNOWLEDGE_GENERAL;
    uint64_t gone = its.through - load(core, its.word + AT_TUBE_HEAD_SEQUENCE);
    if (python_tells(core, gone) || (outputs && !plan_outputs(core, place, outputs)))
        return ACKNOWLEDGE_GENERAL;
    uint64_t failures = thread_word(core, place->thread) + AT_THREAD_FAILURES;
    journal_declare(core, place->thread);
    if (outputs) {
        journal_keep(core, place->thread);
        call_keep(core, outputs);
    }
    uint64_t stores = stores_noted(core, &its, gone, outputs);
    if (!stores)
        return ACKNOWLEDGE_GENERAL;
    journal_commit(core, stores);
    settle(core, &its);
    if (load(core, failures))
        store(core, failures, 0);
    bool offered = !outputs || call_offer(core, outputs);
    if (offered)
        journal_clear(core);
    if (outputs)
        call_count(core, outputs);
    count_done(core, &its, place->thread, gone);
    tell_of_room(core);
    return offered ? ACKNOWLEDGED : ACKNOWLEDGED_TO_MEND;
}
