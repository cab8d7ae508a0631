/* What is handed out to a worker: see `shm/tubes/fifo.py`, `shm/tubes/delivery.py` and `shm/verbs/handing.py`. */
#include <string.h>
#include <time.h>

#include "core.h"

/* What is known of earlier failures of the message at the head. */
static void read_failures(const Core *core, uint64_t word, uint64_t head, Batch *batch)
{
    bool is_of_head = load(core, word + AT_TUBE_FAILED_SEQUENCE) == head;
    batch->attempts = is_of_head ? load(core, word + AT_TUBE_ATTEMPTS) : 0;
    batch->first_failed_us = load(core, word + AT_TUBE_FIRST_FAILED_US);
    batch->last_failed_us = load(core, word + AT_TUBE_LAST_FAILED_US);
    batch->failed_by = load(core, word + AT_TUBE_FAILED_BY);
}

/* How many messages the batch may have, at most `wanted`: fewer where a batch of these failed before. */
static uint64_t limit_of(const Core *core, uint64_t word, uint64_t head, uint64_t wanted, const Batch *batch)
{
    if (load(core, word + AT_TUBE_LIMIT_THROUGH) > head)
        wanted = least(wanted, load(core, word + AT_TUBE_LIMIT));
    return batch->attempts ? least(wanted, 1) : wanted;
}

static uint32_t end_at(const Core *core, uint64_t ends, uint64_t index)
{
    uint32_t end;
    memcpy(&end, core->bytes + ends + 4 * index, sizeof end);
    return end;
}

/* Some messages of a record that is sound. False: their ends cannot be. */
static bool slice_of(const Core *core, const Record *record, uint64_t index, uint64_t count, Slice *slice)
{
    uint64_t ends = record->address + RECORD_HEADER_BYTES + (record->count + 63) / 64 * 8;
    slice->payload = ends + 4 * record->count + record->trace_bytes;
    slice->ends = ends + 4 * index;
    slice->count = count;
    slice->low = index ? end_at(core, ends, index - 1) : 0;
    slice->high = slice->low;
    for (uint64_t n = index; n < index + count; n++) {
        uint64_t end = end_at(core, ends, n);
        if (end < slice->high || end > record->payload_bytes)
            return false;
        slice->high = end;
    }
    return slice->low <= record->payload_bytes;
}

static bool add_slice(Core *core, const Record *record, uint64_t head, uint64_t limit, Batch *batch)
{
    if (batch->slices == MOST_SLICES || (!batch->count && record->sequence > head))
        return false;
    uint64_t index = head > record->sequence ? head - record->sequence : 0;
    uint64_t count = least(limit - batch->count, record->count - index);
    Slice *slice = &core->slices[batch->slices++];
    if (!slice_of(core, record, index, count, slice))
        return false;
    if (!batch->count) {
        batch->sequence = record->sequence + index;
        batch->accepted_us = record->accepted_us;
    }
    batch->through = record->sequence + index + count;
    batch->last_record = record->address;
    batch->count += count;
    batch->payload_bytes += slice->high - slice->low;
    return batch->payload_bytes <= UINT32_MAX;
}

/* At most `limit` messages from the head of a tube. False: Python has to look. */
static bool find_in(Core *core, uint64_t tube, uint64_t limit, Batch *batch)
{
    uint64_t word = tube_word(core, tube), head = load(core, word + AT_TUBE_HEAD_SEQUENCE), tail, next_sequence;
    batch->tube = tube;
    batch->count = batch->slices = batch->payload_bytes = 0;
    if (!tail_of(core, tube, &tail, &next_sequence))
        return false;
    if (!tail)
        return true;
    read_failures(core, word, head, batch);
    limit = limit_of(core, word, head, limit, batch);
    Chain chain;
    chain_begin(&chain, load(core, word + AT_TUBE_HEAD_RECORD), tail);
    while (batch->count < limit && chain_next(core, &chain))
        if (chain.record.sequence + chain.record.count > head && !add_slice(core, &chain.record, head, limit, batch))
            return false;
    if (load(core, word + AT_TUBE_CANCELLED))
        return false;
    return (batch->count == limit || !chain.next) && batch->count > 0;
}

/* The tube of a priority, which no other tube of the thread shares. */
static bool tube_of(const Core *core, const Tubes *tubes, int64_t priority, uint64_t *tube)
{
    for (uint64_t n = 0; n < tubes->count; n++) {
        *tube = tubes->tubes[n];
        if ((int64_t)load(core, tube_word(core, *tube) + AT_TUBE_PRIORITY) == priority)
            return true;
    }
    return false;
}

/* A number of Python that fits. No other type is asked: that could run any code. */
static bool number_of(PyObject *from, int64_t *number)
{
    int overflows = 1;
    if (PyLong_CheckExact(from))
        *number = PyLong_AsLongLongAndOverflow(from, &overflows);
    return !overflows;
}

static bool are_ordinary(PyObject *terms)
{
    if (!PyTuple_Check(terms) || Py_SIZE(terms) != TERMS_FIELDS)
        return false;
    PyObject *timeout_s = PyTuple_GetItem(terms, TERMS_TIMEOUT_S);
    if (timeout_s != Py_None && !PyFloat_CheckExact(timeout_s) && !PyLong_CheckExact(timeout_s))
        return false;
    if (PyTuple_GetItem(terms, TERMS_STARVATION_LIMIT) != Py_None)
        return false;
    return PyTuple_Check(PyTuple_GetItem(terms, TERMS_PRIORITIES));
}

/* Messages of the thread by these terms (NULL: there are none), none where `found->count` is 0. Changes nothing. False:
   Python has to look. */
bool batch_find(Core *core, uint64_t thread, const Tubes *tubes, PyObject *terms, Batch *found)
{
    int64_t limit;
    found->count = 0;
    if (terms == NULL)
        return true;
    if (!are_ordinary(terms) || !number_of(PyTuple_GetItem(terms, TERMS_LIMIT), &limit) || limit <= 0)
        return false;
    if (tally_block(core, load(core, thread_word(core, thread) + AT_THREAD_HANDLER)) < 0)
        return false;
    PyObject *priorities = PyTuple_GetItem(terms, TERMS_PRIORITIES);
    for (Py_ssize_t n = 0; n < Py_SIZE(priorities) && !found->count; n++) {
        uint64_t tube;
        if (!number_of(PyTuple_GetItem(priorities, n), &found->priority))
            return false;
        if (tube_of(core, tubes, found->priority, &tube) && !find_in(core, tube, (uint64_t)limit, found))
            return false;
    }
    return true;
}

static uint64_t deadline_ns(PyObject *terms)
{
    PyObject *timeout_s = PyTuple_GetItem(terms, TERMS_TIMEOUT_S);
    double seconds = timeout_s == Py_None ? 0 : PyFloat_AsDouble(timeout_s);
    PyErr_Clear(); /* of a number beyond all measure */
    return seconds > 0 && seconds < 1e9 ? clock_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9) : 0;
}

/* The supervisor asked for the next batch, or for the next one with a deadline. */
static void tell_supervisor(Core *core, uint64_t deadline)
{
    bool asked = load(core, AT_AWAITED) || (deadline && !load(core, AT_WATCHED));
    uint64_t supervisor = load(core, AT_SUPERVISOR_SLOT);
    if (!asked || !load(core, core->slot_word + AT_SLOT_WORKER) || !supervisor)
        return;
    store(core, AT_AWAITED, 0);
    if (deadline)
        store(core, AT_WATCHED, 1);
    slot_ring(core, supervisor - 1);
}

static void note_batch(Core *core, uint64_t thread, uint64_t count, uint64_t deadline)
{
    store(core, core->slot_word + AT_SLOT_BATCH_THREAD, thread + 1);
    store(core, core->slot_word + AT_SLOT_BATCH_COUNT, count);
    store(core, core->slot_word + AT_SLOT_BATCH_SINCE_NS, clock_ns(CLOCK_BOOTTIME));
    store(core, core->slot_word + AT_SLOT_DEADLINE_NS, deadline);
    tell_supervisor(core, deadline);
}

/* What was found is with this process's worker now. */
void batch_hand_out(Core *core, uint64_t thread, PyObject *terms, Batch *batch)
{
    uint64_t word = thread_word(core, thread), handed = tube_word(core, batch->tube) + AT_TUBE_HANDED;
    store(core, word + AT_THREAD_TURN, load(core, word + AT_THREAD_TURN) + 1);
    store(core, word + AT_THREAD_TAKEN, batch->tube + 1);
    store(core, handed, largest(load(core, handed), batch->through));
    note_batch(core, thread, batch->count, deadline_ns(terms));
    batch->taken_us = clock_ns(CLOCK_REALTIME) / 1000;
    /* The clock of the machine may have been set back. */
    uint64_t waited_us = batch->taken_us > batch->accepted_us ? batch->taken_us - batch->accepted_us : 0;
    tally_handed_out(core, load(core, word + AT_THREAD_HANDLER), waited_us);
    core->found_tube = batch->tube;
    core->found_through = batch->through;
    core->found_address = batch->last_record;
}

/* This process has nothing of the thread in hand. So many of its batch were handled now. Where the process has several
   threads, another one may be the one whose batch is written down. */
void note_end(Core *core, uint64_t thread, uint64_t done)
{
    uint64_t handler = load(core, thread_word(core, thread) + AT_THREAD_HANDLER);
    if (load(core, core->slot_word + AT_SLOT_BATCH_THREAD) != thread + 1) {
        tally_done(core, handler, done);
        return;
    }
    uint64_t since_ns = load(core, core->slot_word + AT_SLOT_BATCH_SINCE_NS), now_ns = clock_ns(CLOCK_BOOTTIME);
    if (since_ns)
        tally_ended(core, handler, done, now_ns > since_ns ? now_ns - since_ns : 0);
    store(core, core->slot_word + AT_SLOT_BATCH_THREAD, 0);
    store(core, core->slot_word + AT_SLOT_BATCH_COUNT, 0);
    store(core, core->slot_word + AT_SLOT_BATCH_SINCE_NS, 0);
    store(core, core->slot_word + AT_SLOT_DEADLINE_NS, 0);
}

/* The messages of a batch that is in hand, back to back, and the bytes of the numbers that say where each ends. Outside
   the guard: they stay where they are. What was checked inside is not believed again. */
PyObject *batch_read_out(const Core *core, const Batch *batch, PyObject **ends)
{
    PyObject *payload = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)batch->payload_bytes);
    *ends = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(4 * batch->count));
    if (payload == NULL || *ends == NULL) {
        Py_XDECREF(payload);
        Py_CLEAR(*ends);
        return NULL;
    }
    char *to = PyBytes_AsString(payload), *number = PyBytes_AsString(*ends);
    uint64_t length = 0;
    for (uint64_t n = 0; n < batch->slices; n++) {
        const Slice *slice = &core->slices[n];
        memcpy(to + length, core->bytes + slice->payload + slice->low, slice->high - slice->low);
        for (uint64_t index = 0; index < slice->count; index++, number += 4) {
            uint64_t end = largest(slice->low, least(slice->high, end_at(core, slice->ends, index)));
            uint32_t shifted = (uint32_t)(length + end - slice->low);
            memcpy(number, &shifted, sizeof shifted);
        }
        length += slice->high - slice->low;
    }
    return payload;
}
