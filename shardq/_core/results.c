/* What a turn is asked, and what came of it, as Python sees them. */
#include "core.h"

/* A number that an object has under a name. False: it is none. */
static bool attribute(PyObject *owner, PyObject *name, int64_t *number)
{
    PyObject *found = PyObject_GetAttr(owner, name);
    *number = found ? PyLong_AsLongLong(found) : -1;
    Py_XDECREF(found);
    bool is_number = !PyErr_Occurred();
    PyErr_Clear();
    return is_number;
}

static bool take_batch(Core *core, Turn *turn, PyObject *batch)
{
    int64_t through;
    const Names *names = &core->names;
    PyObject *pipe = PyObject_GetAttr(batch, names->pipe), *front = PyObject_GetAttr(batch, names->front);
    bool plain = pipe && front == Py_False && PyUnicode_CheckExact(pipe) && attribute(batch, names->through, &through);
    if (plain && PyUnicode_GetLength(pipe)) {
        turn->through = (uint64_t)through;
        turn->place = (Place *)PyDict_GetItemWithError(core->places, pipe);
        plain = turn->place != NULL && through >= 0;
        turn->thread = plain ? turn->place->thread : 0;
    }
    Py_XDECREF(pipe);
    Py_XDECREF(front);
    PyErr_Clear();
    return plain;
}

/* The thread of a hand whose batch is empty. */
static bool take_thread(Core *core, Turn *turn, PyObject *key)
{
    PyObject *thread = PyUnicode_CheckExact(key) ? PyDict_GetItemWithError(core->threads, key) : NULL;
    turn->thread = thread ? PyLong_AsUnsignedLongLong(thread) : 0;
    PyErr_Clear();
    return thread != NULL;
}

static bool take_hand(Core *core, Turn *turn, PyObject *hand)
{
    turn->has_hand = hand != Py_None;
    if (!turn->has_hand)
        return true;
    if (!PyTuple_Check(hand) || Py_SIZE(hand) != HAND_FIELDS)
        return false;
    if (!PyLong_CheckExact(PyTuple_GetItem(hand, HAND_TOKEN)))
        return false;
    turn->token = PyLong_AsUnsignedLongLong(PyTuple_GetItem(hand, HAND_TOKEN));
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    if (!take_batch(core, turn, PyTuple_GetItem(hand, HAND_BATCH)))
        return false;
    return turn->place || take_thread(core, turn, PyTuple_GetItem(hand, HAND_KEY));
}

/* What is asked. False: it is not the frequent case. */
bool turn_read(Core *core, Turn *turn, PyObject *hand, PyObject *names, PyObject *terms)
{
    int64_t asleep, watched;
    if ((names != Py_None && !PyFrozenSet_CheckExact(names)) || !PyDict_CheckExact(terms))
        return false;
    turn->hand = hand;
    turn->names = names;
    turn->terms = terms;
    const Names *its = &core->names;
    if (!attribute(core->waiting, its->last_served, &turn->last_served) ||
        !attribute(core->waiting, its->sleeping, &asleep) || !attribute(core->watch, its->seen, &watched))
        return false;
    turn->asleep = (uint64_t)asleep;
    turn->watched = (uint64_t)watched;
    return take_hand(core, turn, hand);
}

static bool set_attribute(PyObject *owner, PyObject *name, int64_t number)
{
    PyObject *value = PyLong_FromLongLong(number);
    bool failed = value == NULL || PyObject_SetAttr(owner, name, value);
    Py_XDECREF(value);
    return !failed;
}

#define PACKED(...) packed((PyObject *[]){__VA_ARGS__}, sizeof((PyObject *[]){__VA_ARGS__}) / sizeof(PyObject *))

/* A tuple of items that are handed over. NULL where one of them is: what made it set an exception. Several are made for
   each batch, and `Py_BuildValue` takes three times as long. */
static PyObject *packed(PyObject **items, size_t count)
{
    bool whole = true;
    for (size_t n = 0; n < count; n++)
        whole = whole && items[n];
    PyObject *made = whole ? PyTuple_New((Py_ssize_t)count) : NULL;
    for (size_t n = 0; n < count; n++) {
        if (made)
            PyTuple_SetItem(made, (Py_ssize_t)n, items[n]);
        else
            Py_XDECREF(items[n]);
    }
    return made;
}

static PyObject *number(uint64_t value)
{
    return PyLong_FromUnsignedLongLong(value);
}

static PyObject *truth(bool value)
{
    return Py_NewRef(value ? Py_True : Py_False);
}

/* The pipe of what was handed out, the same object each time: its hash is known in the next turn. In that turn the batch
   is acknowledged by it, and what comes next is of the same key. */
static PyObject *pipe_of(Core *core, uint64_t thread, const Batch *batch)
{
    KnownThread *known = &core->known[thread];
    if (known->pipe == NULL || known->priority != batch->priority) {
        PyObject *pipe = PyUnicode_FromFormat("%U/%lld", known->key, (long long)batch->priority);
        if (pipe == NULL || !know_place(core, pipe, thread, known->generation, batch->tube) ||
            !know_key(core, known->key, thread)) {
            Py_XDECREF(pipe);
            return NULL;
        }
        replace(&known->pipe, pipe);
        known->priority = batch->priority;
    }
    return Py_NewRef(known->pipe);
}

static PyObject *called(PyObject *function, PyObject *arguments)
{
    PyObject *result = arguments ? PyObject_Call(function, arguments, NULL) : NULL;
    Py_XDECREF(arguments);
    return result;
}

/* Where each message ends. An array takes three times as long to make as a tuple of one number. */
static PyObject *ends_made(const Core *core, const Batch *batch, PyObject *ends)
{
    if (batch->count > 1)
        return called(core->kinds.ends, PACKED(Py_NewRef(core->kinds.ends_code), ends));
    Py_XDECREF(ends);
    return PACKED(number(batch->payload_bytes));
}

/* How the message failed before. None: it did not. */
static PyObject *failed_made(const Core *core, const Batch *batch)
{
    if (!batch->attempts)
        return Py_NewRef(Py_None);
    PyObject *words = PACKED(number(batch->attempts), number(batch->first_failed_us), number(batch->last_failed_us),
                             number(batch->failed_by));
    return called(core->kinds.failed, words);
}

/* The messages are read out before the first object is made for which the garbage collector may run: finalizers may
   come back here. */
static PyObject *batch_made(Core *core, const Turn *turn)
{
    const Batch *batch = &turn->batch;
    const Kinds *kinds = &core->kinds;
    PyObject *ends, *payload, *pipe;
    if (!batch->count)
        return Py_NewRef(kinds->empty);
    pipe = pipe_of(core, turn->thread, batch);
    payload = batch_read_out(core, batch, &ends);
    PyObject *fields[] = {
        [BATCH_SEQUENCE] = number(batch->sequence),
        [BATCH_THROUGH] = number(batch->through),
        [BATCH_COUNT] = number(batch->count),
        [BATCH_ENDS] = ends_made(core, batch, ends),
        [BATCH_PAYLOAD] = payload,
        [BATCH_BASE] = number(0),
        [BATCH_SEQUENCES] = Py_NewRef(Py_None),
        [BATCH_PIPE] = pipe,
        [BATCH_FRONT] = truth(false),
        [BATCH_FAILED] = failed_made(core, batch),
        [BATCH_TAKEN_US] = number(batch->taken_us),
    };
    return called(kinds->batch, packed(fields, BATCH_TAKEN_US + 1));
}

/* A hand of these parts, which are handed over. */
static PyObject *hand_of(const Core *core, PyObject *key, PyObject *token, PyObject *batch)
{
    newfunc make = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    PyObject *parts = PACKED(key, token, batch), *arguments = parts ? PACKED(parts) : NULL;
    PyObject *made = arguments ? make(core->kinds.hand, arguments, NULL) : NULL;
    Py_XDECREF(arguments);
    return made;
}

/* What is in hand now. None: nothing. */
static PyObject *hand_made(Core *core, const Turn *turn, Turned turned)
{
    if (turned == TURN_ACKNOWLEDGED && turn->has_hand) {
        PyObject *key = PyTuple_GetItem(turn->hand, HAND_KEY), *token = PyTuple_GetItem(turn->hand, HAND_TOKEN);
        return hand_of(core, Py_NewRef(key), Py_NewRef(token), Py_NewRef(core->kinds.empty));
    }
    if (turned != TURN_DONE || !turn->found)
        return Py_NewRef(Py_None);
    PyObject *key = Py_NewRef(core->known[turn->thread].key), *batch = batch_made(core, turn);
    return hand_of(core, key, number(turn->token), batch);
}

static PyObject *numbers(const uint64_t *slots, uint64_t count)
{
    PyObject *made = PyTuple_New((Py_ssize_t)count);
    for (uint64_t n = 0; made && n < count; n++) {
        PyObject *slot = number(slots[n]);
        if (slot == NULL)
            Py_CLEAR(made);
        else
            PyTuple_SetItem(made, (Py_ssize_t)n, slot);
    }
    return made;
}

/* Ring the processes that were called. The slots of those that Python has to ring: to make them may have a finalizer run, which may come back here. */
PyObject *slots_due(Core *core)
{
    uint64_t slots[MOST_DUE], count = ring_called(core, slots);
    return numbers(slots, count);
}

/* What came of it: what is in hand, whether that is all, and whether this process lies down. Where there are any, also
   the slots to ring, and whether Python has to pass a call on. */
PyObject *turn_told(Core *core, const Turn *turn, Turned turned)
{
    if (turned == TURN_GENERAL)
        return Py_NewRef(Py_None);
    if (!set_attribute(core->waiting, core->names.last_served, turn->last_served) ||
        !set_attribute(core->waiting, core->names.sleeping, (int64_t)turn->asleep))
        return NULL;
    uint64_t slots[MOST_DUE], count = ring_called(core, slots);
    PyObject *hand = hand_made(core, turn, turned), *done = truth(turned == TURN_DONE);
    PyObject *lies_down = truth(turn->falls_asleep);
    if (!count && !turn->passes_on)
        return PACKED(hand, done, lies_down);
    return PACKED(hand, done, lies_down, numbers(slots, count), truth(turn->passes_on));
}
