/* The one step that a plain call is: its messages by tube. See `handling/plain.py`.

   Pipes may be asked of Python code, and where lists are made the garbage collector may run any. So nothing that such
   code could change is relied on afterwards. */
#include <string.h>

#include "core.h"

/* The places of a call's tubes lie in twice as many buckets as a plain call has tubes, so that one is empty always. */
#define BUCKETS (2 * AT_MOST_PARTS)
#define BUCKET_BITS 8
_Static_assert(BUCKETS == 1 << BUCKET_BITS, "a bucket for each number of so many bits");

typedef struct {
    long long thread, priority;
    PyObject *place;
    PyObject *messages; /* borrowed from the step */
    Py_ssize_t count, taken;
} Tube;

typedef struct {
    PyTypeObject *kind; /* of each place */
    Tube tubes[AT_MOST_PARTS];
    Py_ssize_t tube_count, count, nbytes;
    uint8_t buckets[BUCKETS]; /* a tube's number and one, 0: none */
    uint8_t *tube_of;         /* of each message */
} Plan;

/* The numbers of a `Limits` that say what a step is. */
typedef struct {
    Py_ssize_t parts, messages, nbytes, part_bytes, key_bytes;
} StepLimits;

static bool limits_read(StepLimits *limits, PyObject *from)
{
    if (!PyTuple_Check(from) || Py_SIZE(from) != LIMITS_FIELDS)
        return false;
    limits->parts = PyLong_AsSsize_t(PyTuple_GetItem(from, LIMITS_PARTS));
    limits->messages = PyLong_AsSsize_t(PyTuple_GetItem(from, LIMITS_MESSAGES));
    limits->nbytes = PyLong_AsSsize_t(PyTuple_GetItem(from, LIMITS_NBYTES));
    limits->part_bytes = PyLong_AsSsize_t(PyTuple_GetItem(from, LIMITS_PART_BYTES));
    limits->key_bytes = PyLong_AsSsize_t(PyTuple_GetItem(from, LIMITS_KEY_BYTES));
    if (!PyErr_Occurred())
        return true;
    PyErr_Clear();
    return false;
}

/* Not a bool or another subclass: it may be equal to an integer, and be written in another way. */
static bool number_read(long long *number, PyObject *from)
{
    int overflow;
    if (!PyLong_CheckExact(from))
        return false;
    *number = PyLong_AsLongLongAndOverflow(from, &overflow);
    return !overflow;
}

static bool place_read(const Plan *plan, Tube *tube, PyObject *place)
{
    tube->place = place;
    tube->priority = 0;
    if (!Py_IS_TYPE(place, plan->kind))
        return false;
    if (!PyTuple_Check(place))
        return number_read(&tube->thread, place);
    return Py_SIZE(place) == 2 && number_read(&tube->thread, PyTuple_GetItem(place, 0)) &&
           number_read(&tube->priority, PyTuple_GetItem(place, 1));
}

static bool is_same(const Tube *one, const Tube *other)
{
    return one->thread == other->thread && one->priority == other->priority;
}

/* The bucket of a tube, or the empty one where it belongs. */
static uint8_t *bucket_of(Plan *plan, const Tube *tube)
{
    uint64_t mixed = ((uint64_t)tube->thread * 31 + (uint64_t)tube->priority) * 0x9E3779B97F4A7C15ULL;
    for (uint64_t n = mixed >> (64 - BUCKET_BITS);; n = (n + 1) % BUCKETS) {
        uint8_t *bucket = &plan->buckets[n];
        if (!*bucket || is_same(&plan->tubes[*bucket - 1], tube))
            return bucket;
    }
}

/* The number of the tube of a place, negative: it is not plain. */
static int tube_of(Plan *plan, PyObject *place)
{
    Tube tube = {0};
    if (!place_read(plan, &tube, place))
        return -1;
    uint8_t *bucket = bucket_of(plan, &tube);
    if (!*bucket) {
        if (plan->tube_count == AT_MOST_PARTS)
            return -1;
        Py_INCREF(place);
        plan->tubes[plan->tube_count++] = tube;
        *bucket = (uint8_t)plan->tube_count;
    }
    return *bucket - 1;
}

static bool plan_messages(Plan *plan, PyObject *places, PyObject *messages)
{
    PyObject *last = NULL;
    int tube = -1;
    for (Py_ssize_t n = 0; n < plan->count; n++) {
        PyObject *place = PyList_GetItem(places, n), *message = PyList_GetItem(messages, n);
        if (!PyBytes_CheckExact(message))
            return false;
        if (place != last)
            tube = tube_of(plan, place);
        if (tube < 0)
            return false;
        last = place;
        plan->tube_of[n] = (uint8_t)tube;
        plan->tubes[tube].count++;
        plan->nbytes += Py_SIZE(message);
    }
    return true;
}

static bool is_one_step(const Plan *plan, const StepLimits *limits)
{
    if (plan->tube_count > limits->parts || plan->count > limits->messages || plan->nbytes > limits->nbytes)
        return false;
    return !limits->part_bytes || plan->tube_count <= (limits->nbytes - plan->nbytes) / limits->part_bytes;
}

/* Whether the whole name is no longer than a part of it may be, which is the name of a thread. */
static bool is_plain_name(PyObject *pipe, const StepLimits *limits)
{
    Py_ssize_t nbytes = 0;
    if (PyUnicode_CheckExact(pipe) && PyUnicode_AsUTF8AndSize(pipe, &nbytes))
        return nbytes <= limits->key_bytes;
    PyErr_Clear();
    return false;
}

/* The pipe of a place, as a new reference. NULL: it is refused, where an exception is set, or its name is not plain. */
static PyObject *pipe_of(PyObject *pipes, PyObject *place, const StepLimits *limits)
{
    PyObject *pipe = PyObject_GetItem(pipes, place);
    if (pipe == NULL || is_plain_name(pipe, limits))
        return pipe;
    Py_DECREF(pipe);
    return NULL;
}

static PyObject *part_made(Tube *tube, PyObject *pipes, const StepLimits *limits)
{
    PyObject *pipe = pipe_of(pipes, tube->place, limits), *part = NULL;
    if (pipe == NULL)
        return NULL;
    tube->messages = PyList_New(tube->count);
    if (tube->messages != NULL) {
        part = PyTuple_Pack(2, pipe, tube->messages);
        Py_DECREF(tube->messages);
    }
    Py_DECREF(pipe);
    return part;
}

/* The parts, whose messages are still to come. */
static PyObject *step_made(Plan *plan, PyObject *pipes, const StepLimits *limits)
{
    PyObject *step = PyList_New(plan->tube_count);
    for (Py_ssize_t n = 0; step != NULL && n < plan->tube_count; n++) {
        PyObject *part = part_made(&plan->tubes[n], pipes, limits);
        if (part == NULL)
            Py_CLEAR(step);
        else
            PyList_SetItem(step, n, part);
    }
    return step;
}

static PyObject *step_filled(Plan *plan, PyObject *step, PyObject *messages)
{
    if (Py_SIZE(messages) != plan->count) {
        Py_DECREF(step);
        return NULL;
    }
    for (Py_ssize_t n = 0; n < plan->count; n++) {
        Tube *tube = &plan->tubes[plan->tube_of[n]];
        PyList_SetItem(tube->messages, tube->taken++, Py_NewRef(PyList_GetItem(messages, n)));
    }
    return step;
}

/* NULL without an exception: the call is not plain. */
static PyObject *step_of(Plan *plan, PyObject *places, PyObject *messages, PyObject *pipes, const StepLimits *limits)
{
    if (!plan_messages(plan, places, messages) || !is_one_step(plan, limits))
        return NULL;
    PyObject *step = step_made(plan, pipes, limits);
    return step == NULL ? NULL : step_filled(plan, step, messages);
}

static bool plan_begin(Plan *plan, PyObject *kind, PyObject *places, PyObject *messages)
{
    if (!PyType_Check(kind) || !PyList_CheckExact(places) || !PyList_CheckExact(messages))
        return false;
    plan->kind = (PyTypeObject *)kind;
    plan->count = Py_SIZE(messages);
    plan->tube_count = plan->nbytes = 0;
    memset(plan->buckets, 0, sizeof plan->buckets);
    if (!plan->count || Py_SIZE(places) != plan->count)
        return false;
    plan->tube_of = PyMem_Malloc((size_t)plan->count);
    return plan->tube_of != NULL;
}

static void plan_end(Plan *plan)
{
    PyMem_Free(plan->tube_of);
    for (Py_ssize_t n = 0; n < plan->tube_count; n++)
        Py_DECREF(plan->tubes[n].place);
}

PyObject *one_step(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Plan plan;
    StepLimits limits;
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "one_step takes the class of places, the places, messages, pipes and limits");
        return NULL;
    }
    PyObject *places = arguments[1], *messages = arguments[2];
    if (!limits_read(&limits, arguments[4]) || !plan_begin(&plan, arguments[0], places, messages))
        Py_RETURN_NONE;
    PyObject *step = step_of(&plan, places, messages, arguments[3], &limits);
    plan_end(&plan);
    return step == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : step;
}
