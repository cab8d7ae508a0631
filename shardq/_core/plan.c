/* Where the messages of a call go: everything that can be found out before anything is changed. */
#include <string.h>

#include "core.h"

/* Have a call without parts: `call_take` adds them. */
void call_begin(Call *call, int share)
{
    call->count = call->messages = call->payload_bytes = call->record_bytes = 0;
    call->share = share;
}

/* What comes into which tube: of a part, or of an output that comes at once, and has no condition. */
static bool part_read(PyObject *from, PyObject **pipe, PyObject **messages)
{
    if (!PyTuple_Check(from) || (Py_SIZE(from) != PART_FIELDS && Py_SIZE(from) != OUTPUT_FIELDS))
        return false;
    *pipe = PyTuple_GetItem(from, OUTPUT_PIPE);
    *messages = PyTuple_GetItem(from, OUTPUT_MESSAGES);
    if (Py_SIZE(from) == PART_FIELDS)
        return true;
    return PyTuple_GetItem(from, OUTPUT_WHEN) == Py_None && PyTuple_GetItem(from, OUTPUT_ABSENT) == Py_False;
}

static bool take_messages(Core *core, const Call *call, Part *part, PyObject *from)
{
    ItemOf item = item_of(from);
    if (item == NULL || (uint64_t)Py_SIZE(from) > AT_MOST_MESSAGES - call->messages)
        return false;
    part->messages = core->messages + call->messages;
    part->count = (uint64_t)Py_SIZE(from);
    part->payload_bytes = 0;
    for (uint64_t n = 0; n < part->count; n++) {
        PyObject *message = item(from, (Py_ssize_t)n);
        if (!PyBytes_CheckExact(message))
            return false;
        part->messages[n] = message;
        part->payload_bytes += (uint64_t)Py_SIZE(message);
    }
    return true;
}

static bool take_part(Core *core, Call *call, PyObject *from)
{
    PyObject *pipe, *messages;
    Part *part = &call->parts[call->count];
    if (!part_read(from, &pipe, &messages))
        return false;
    if (!PyUnicode_CheckExact(pipe) || !take_messages(core, call, part, messages))
        return false;
    if (!part->count)
        return true;
    part->place = (Place *)PyDict_GetItemWithError(core->places, pipe);
    if (part->place == NULL || part->place->asked == core->calls)
        return false;
    part->place->asked = core->calls;
    part->size = record_size(part->count, part->payload_bytes, 0);
    call->messages += part->count;
    call->payload_bytes += part->payload_bytes;
    call->record_bytes += part->size;
    call->count++;
    return part->size <= core->piece_bytes;
}

/* The parts of a call, whose tubes are known. They are borrowed: nothing may run in between that could change them. */
bool call_take(Core *core, Call *call, PyObject *parts)
{
    ItemOf part = item_of(parts);
    Py_ssize_t count = part ? Py_SIZE(parts) : 0;
    if (count > AT_MOST_PARTS || (call->share != AT_GENERAL && call->share != AT_FOLLOW_UP))
        return false;
    core->calls++;
    for (Py_ssize_t n = 0; n < count; n++)
        if (!take_part(core, call, part(parts, n)))
            return false;
    return call->count > 0;
}

/* Whether what is special today leaves it a frequent case. */
static bool is_ordinary(const Core *core, const Call *call)
{
    if (load(core, AT_CLOSED) || load(core, AT_PAUSED) || load(core, AT_EQUALITY_STATE))
        return false;
    /* Any of the messages could be buried in the reserve as it is. */
    if (call->payload_bytes + LETTER_BYTES > core->reserve_half || load(core, AT_RESERVED_BYTES) > core->reserve_least)
        return false;
    return call->record_bytes <= core->piece_bytes || call->record_bytes <= core->surely_fits;
}

static bool has_entries(const Core *core, Part *part)
{
    if (!place_stands(core, part->place))
        return false;
    part->word = tube_word(core, part->place->tube);
    part->handler = load(core, thread_word(core, part->place->thread) + AT_THREAD_HANDLER);
    return part->handler && tally_block(core, part->handler) >= 0;
}

static bool plan_new_extent(const Core *core, Part *part, uint64_t *taken, int at_least)
{
    uint64_t needed = part->size + RECORD_HEADER_BYTES;
    if (!extent_free(core, needed, at_least, taken, &part->extent))
        return false;
    /* While memory is scarce, an extent does not keep much more than it needs. */
    if (part->extent.backed > 2 * whole_pages(needed) && memory_is_scarce(core))
        return false;
    part->lends = true;
    part->target = part->extent.start;
    part->goal = part->extent.backed < needed ? extent_goal(&part->extent, needed) : 0;
    return true;
}

static bool plan_behind(const Core *core, Part *part, uint64_t *taken)
{
    Record last;
    Extent *extent = &part->extent;
    if (!extent_around(core, part->tail, extent) || extent_owner(core, extent) != part->place->tube + 1)
        return false;
    record_read(core, part->tail, &last);
    /* The header of a later jump always fits behind a record. */
    if (!record_is_sound(&last, extent->start + extent->backed - RECORD_HEADER_BYTES))
        return false;
    part->target = part->tail + record_size(last.count, last.payload_bytes, last.trace_bytes);
    part->sequence = last.sequence + last.count;
    uint64_t needed = part->target + part->size + RECORD_HEADER_BYTES - extent->start;
    if (needed > extent->size) {
        part->link = part->target;
        part->left = extent->number;
        return plan_new_extent(core, part, taken, (int)least((uint64_t)extent->class_number + 1, core->growth_class));
    }
    part->goal = needed > extent->backed ? extent_goal(extent, needed) : 0;
    return true;
}

static bool plan_part(Core *core, Part *part, uint64_t *taken)
{
    part->lends = false;
    part->link = part->goal = 0;
    part->tail = load(core, part->word + AT_TUBE_TAIL);
    part->sequence = load(core, part->word + AT_TUBE_NEXT_SEQUENCE);
    bool planned = part->tail ? plan_behind(core, part, taken) : plan_new_extent(core, part, taken, 0);
    return planned && part->target + part->size + RECORD_HEADER_BYTES <= core->at.total_bytes;
}

/* Inside the guard: find a place for each part. False: it is not the frequent case. */
bool call_plan(Core *core, Call *call)
{
    uint64_t taken[MOST_CLASSES] = {0}, more_bytes = 0;
    if (!is_ordinary(core, call))
        return false;
    for (uint64_t n = 0; n < call->count; n++) {
        Part *part = &call->parts[n];
        if (!has_entries(core, part) || !claims_take_work(core, part->place->thread))
            return false;
        if (!plan_part(core, part, taken))
            return false;
        more_bytes += part->goal ? part->goal - part->extent.backed : 0;
    }
    return !more_bytes || memory_allows(core, more_bytes, call->share);
}
