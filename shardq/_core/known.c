/* What this process has found out of threads and tubes by their names. It holds as long as the thread's generation stays:
   see `shm/tubes/directory.py`. */
#include <string.h>

#include "core.h"

/* The type of a Place, once the module is made. */
static PyTypeObject *place_type;

void let_object_go(PyObject *object)
{
    PyTypeObject *its = Py_TYPE(object);
    PyObject_Free(object);
    Py_DECREF(its);
}

static PyType_Slot place_slots[] = {
    {Py_tp_dealloc, let_object_go},
    {0, NULL},
};

static PyType_Spec place_spec = {
    .name = "shardq._core.engine.Place",
    .basicsize = sizeof(Place),
    .flags = TYPE_FLAGS | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = place_slots,
};

bool known_begin(void)
{
    place_type = (PyTypeObject *)PyType_FromSpec(&place_spec);
    return place_type != NULL;
}

/* The pipe has this tube. False: there is no memory, and an exception is set. */
bool know_place(Core *core, PyObject *pipe, uint64_t thread, uint64_t generation, uint64_t tube)
{
    if ((uint64_t)PyDict_Size(core->places) > core->at.tubes)
        PyDict_Clear(core->places);
    Place *place = PyObject_New(Place, place_type);
    if (place == NULL)
        return false;
    place->thread = thread;
    place->generation = generation;
    place->tube = tube;
    place->asked = 0;
    bool done = PyDict_SetItem(core->places, pipe, (PyObject *)place) == 0;
    Py_DECREF(place);
    return done;
}

/* A hand with this key is of this thread. False: as `know_place`. */
bool know_key(Core *core, PyObject *key, uint64_t thread)
{
    if ((uint64_t)PyDict_Size(core->threads) > core->at.threads)
        PyDict_Clear(core->threads);
    PyObject *number = PyLong_FromUnsignedLongLong(thread);
    bool done = number && PyDict_SetItem(core->threads, key, number) == 0;
    Py_XDECREF(number);
    return done;
}

void forget_thread(KnownThread *known)
{
    Py_CLEAR(known->key);
    Py_CLEAR(known->handler);
    Py_CLEAR(known->pipe);
}

/* The key and the handler are handed over. */
void know_thread(Core *core, uint64_t thread, uint64_t generation, PyObject *key, PyObject *handler)
{
    KnownThread *known = &core->known[thread];
    core->known_end = largest(core->known_end, thread + 1);
    forget_thread(known);
    known->generation = generation;
    known->key = key;
    known->handler = handler;
}

/* Of a name, the part before its last slash is the handler's. False: it has none, or is no text. */
static bool name_read(Core *core, uint64_t thread, uint64_t generation, const char *name, uint64_t length)
{
    uint64_t end = length;
    while (end && name[end - 1] != '/')
        end--;
    PyObject *key = end ? PyUnicode_FromStringAndSize(name, (Py_ssize_t)length) : NULL;
    PyObject *handler = key ? PyUnicode_FromStringAndSize(name, (Py_ssize_t)end - 1) : NULL;
    PyErr_Clear();
    if (handler == NULL) {
        Py_XDECREF(key);
        return false;
    }
    know_thread(core, thread, generation, key, handler);
    return true;
}

/* What is known of a thread. Of one that this process meets for the first time, the name is read. NULL: Python has to
   look. Inside the guard: no code of Python runs, and no garbage collector. */
const KnownThread *thread_known(Core *core, uint64_t thread)
{
    const KnownThread *known = &core->known[thread];
    uint64_t word = thread_word(core, thread), generation = load(core, word + AT_THREAD_GENERATION);
    if (known->key && known->generation == generation)
        return known;
    char name[AT_NAME_BYTES];
    uint64_t length = load(core, word + AT_THREAD_NAME_BYTES);
    if (length > AT_NAME_BYTES)
        return NULL;
    memcpy(name, core->words + word + AT_THREAD_WORDS, length);
    return name_read(core, thread, generation, name, length) ? known : NULL;
}
