/* Storing a call in one section, all of it or nothing: see `shm/verbs/appending.py` and `shm/tubes/fifo_writer.py`. */
#include <string.h>
#include <time.h>

#include "core.h"

/* Say of which threads the tubes are about to change. */
void call_keep(Core *core, const Call *call)
{
    for (uint64_t n = 0; n < call->count; n++)
        journal_keep(core, call->parts[n].place->thread);
}

/* Where nothing was to come, no room has to be kept for letters of what came before. */
static void forget_kept_room(Core *core)
{
    if (load(core, AT_ACCEPTED) != load(core, AT_HANDLED) || load(core, AT_DEFERRED) || load(core, AT_RECURRENT))
        return;
    store(core, AT_WANTED_BYTES, 0);
    store(core, AT_KEPT_BYTES, 0);
}

static void write_record(const Core *core, const Part *part, uint64_t accepted_us)
{
    Record its = {.count = part->count, .payload_bytes = part->payload_bytes, .sequence = part->sequence};
    its.accepted_us = accepted_us;
    record_write_header(core, part->target, &its);
    uint8_t *bits = core->bytes + part->target + RECORD_HEADER_BYTES;
    uint64_t bit_bytes = (part->count + 63) / 64 * 8;
    memset(bits, 0, bit_bytes);
    uint8_t *ends = bits + bit_bytes, *payload = ends + 4 * part->count;
    uint32_t end = 0;
    for (uint64_t n = 0; n < part->count; n++) {
        size_t length = (size_t)Py_SIZE(part->messages[n]);
        memcpy(payload + end, PyBytes_AsString(part->messages[n]), length);
        end += (uint32_t)length;
        memcpy(ends + 4 * n, &end, sizeof end);
    }
}

/* Write behind the messages of the tube, which have no part in it yet. False: /dev/shm has no memory. */
static bool write_part(Core *core, const Part *part, uint64_t accepted_us)
{
    if (part->lends)
        extent_lend(core, &part->extent, part->place->tube);
    if (part->goal && !extent_grow(core, &part->extent, part->goal))
        return false;
    if (part->link) {
        record_write_jump(core, part->link, part->target);
        store(core, core->at.extent_next_word + part->left, part->extent.number + 1);
    }
    write_record(core, part, accepted_us);
    if (!part->tail)
        store(core, part->word + AT_TUBE_HEAD_RECORD, part->target);
    return true;
}

/* Write all messages, which are no part of their tubes yet. False: /dev/shm has no memory. */
bool call_write(Core *core, const Call *call)
{
    uint64_t accepted_us = clock_ns(CLOCK_REALTIME) / 1000;
    for (uint64_t n = 0; n < call->count; n++)
        if (!write_part(core, &call->parts[n], accepted_us))
            return false;
    return true;
}

/* Write down the stores that make the messages part of their tubes, from this entry on. Returns the one behind them. */
uint64_t call_note(Core *core, const Call *call, uint64_t entry)
{
    for (uint64_t n = 0; n < call->count; n++)
        journal_note(core, entry++, call->parts[n].word + AT_TUBE_TAIL, call->parts[n].target);
    journal_note(core, entry++, AT_ACCEPTED, load(core, AT_ACCEPTED) + call->messages);
    return entry;
}

/* Offer what was stored. False: Python has to look closer, and mends. */
bool call_offer(Core *core, const Call *call)
{
    for (uint64_t n = 0; n < call->count; n++)
        if (!claims_work_arrived(core, call->parts[n].place->thread))
            return false;
    return true;
}

/* Count what was stored, by handler: a call is for one as a rule, and outputs are for few. */
void call_count(Core *core, const Call *call)
{
    uint64_t messages = 0;
    for (uint64_t n = 0; n < call->count; n++) {
        const Part *part = &call->parts[n];
        messages += part->count;
        if (n + 1 < call->count && part[1].handler == part->handler)
            continue;
        tally_accepted(core, part->handler, messages);
        messages = 0;
    }
}

/* What cannot be done here leaves the journal standing: then Python mends, as it would after a death in this place. */
static Appended append_inside(Core *core, Call *call)
{
    if (!call_plan(core, call))
        return GENERAL_WAY;
    if (call->count == 1)
        journal_declare(core, call->parts[0].place->thread);
    else
        call_keep(core, call);
    forget_kept_room(core);
    if (!call_write(core, call))
        return GENERAL_WAY;
    journal_commit(core, call_note(core, call, 0));
    bool offered = call_offer(core, call);
    if (offered)
        journal_clear(core);
    call_count(core, call);
    return offered ? STORED : STORED_TO_MEND;
}

Appended append_call(Core *core, Call *call)
{
    ring_ahead(core, call);
    Appended done = GENERAL_WAY;
    if (guard_enter(core)) {
        forget_calls(core);
        done = append_inside(core, call);
        guard_leave(core);
    }
    core->ahead = NO_SLOT;
    return done;
}
