/* The extension as Python sees it: the type `Core`, a process's part of one segment, and `one_step`. See `engine.pyi`. */
#include <fcntl.h>
#include <string.h>

#include "core.h"

/* The mapping, and the objects from which a way leads back here: the garbage collector does not know this one. */
static void core_let_go(Core *core)
{
    Py_CLEAR(core->guard);
    Py_CLEAR(core->lock_threads);
    Py_CLEAR(core->unlock_threads);
    Py_CLEAR(core->waiting);
    Py_CLEAR(core->watch);
    if (core->view.obj)
        PyBuffer_Release(&core->view);
    core->bytes = NULL;
    core->words = NULL;
    if (core->semaphore)
        sem_close(core->semaphore);
    core->semaphore = NULL;
}

#define FORGET_NAME(field, name) Py_CLEAR(core->names.field);

static void core_dealloc(Core *core)
{
    core_let_go(core);
    Py_CLEAR(core->at_once);
    Py_CLEAR(core->kinds.hand);
    Py_CLEAR(core->kinds.batch);
    Py_CLEAR(core->kinds.ends);
    Py_CLEAR(core->kinds.ends_code);
    Py_CLEAR(core->kinds.empty);
    Py_CLEAR(core->kinds.failed);
    ATTRIBUTES(FORGET_NAME)
    Py_CLEAR(core->places);
    Py_CLEAR(core->blocks);
    Py_CLEAR(core->threads);
    Py_CLEAR(core->served);
    for (uint64_t thread = 0; thread < core->known_end; thread++)
        forget_thread(&core->known[thread]);
    PyMem_Free(core->known);
    PyMem_Free(core->called);
    PyMem_Free(core->rung);
    PyMem_Free(core->due);
    PyMem_Free(core->seen_alive);
    PyMem_Free(core->bells);
    let_object_go((PyObject *)core);
}

static int core_map(Core *core, PyObject *mapping, PyObject *layout)
{
    if (PyObject_GetBuffer(mapping, &core->view, PyBUF_WRITABLE) || layout_read(&core->at, layout))
        return -1;
    bool is_whole = (uint64_t)core->view.len >= core->at.total_bytes && (uintptr_t)core->view.buf % AT_WORD == 0;
    if (!is_whole || core->slot >= core->at.slots) {
        PyErr_SetString(PyExc_ValueError, "the mapping has no such segment, or the segment no such slot");
        return -1;
    }
    core->bytes = core->view.buf;
    core->words = core->view.buf;
    core->slot_word = slot_word(core, core->slot);
    core->attempt_word = core->slot_word + AT_SLOT_ATTEMPT;
    return 0;
}

#define KEEP_NAME(field, name) core->names.field = PyUnicode_InternFromString(name);

static int core_remember(Core *core, PyObject *guard, PyObject *threads, PyObject *blocks, PyObject *waiting,
                         PyObject *watch)
{
    core->waiting = Py_NewRef(waiting);
    core->watch = Py_NewRef(watch);
    core->threads = PyDict_New();
    core->known = PyMem_Calloc(core->at.threads, sizeof *core->known);
    core->guard = Py_NewRef(guard);
    core->blocks = Py_NewRef(blocks);
    core->places = PyDict_New();
    core->lock_threads = PyObject_GetAttrString(threads, "acquire");
    core->at_once = PyTuple_Pack(1, Py_False);
    core->unlock_threads = PyObject_GetAttrString(threads, "release");
    ATTRIBUTES(KEEP_NAME)
    core->called = PyMem_Calloc(core->at.slots, sizeof *core->called);
    core->rung = PyMem_Calloc(core->at.slots, sizeof *core->rung);
    core->due = PyMem_Calloc(core->at.slots, 1);
    core->seen_alive = PyMem_Calloc(core->at.slots, 1);
    core->bells = PyMem_Malloc(core->at.slots * sizeof *core->bells);
    for (uint64_t slot = 0; core->bells && slot < core->at.slots; slot++)
        core->bells[slot] = NO_BELL;
    core->ahead = NO_SLOT;
    if (!core->known || !core->called || !core->rung || !core->due || !core->seen_alive || !core->bells)
        PyErr_NoMemory();
    return PyErr_Occurred() ? -1 : 0;
}

static int core_remember_kinds(Core *core, PyObject *hand, PyObject *batch, PyObject *ends, PyObject *empty,
                               PyObject *failed)
{
    if (!PyType_IsSubtype((PyTypeObject *)hand, &PyTuple_Type)) {
        PyErr_SetString(PyExc_TypeError, "a hand is a tuple");
        return -1;
    }
    core->kinds.hand = (PyTypeObject *)Py_NewRef(hand);
    core->kinds.batch = Py_NewRef(batch);
    core->kinds.ends = Py_NewRef(ends);
    core->kinds.ends_code = PyUnicode_InternFromString("I");
    core->kinds.empty = Py_NewRef(empty);
    core->kinds.failed = Py_NewRef(failed);
    return core->kinds.ends_code ? 0 : -1;
}

static int core_open_token(Core *core, const char *name)
{
    sem_t *opened = sem_open(name, 0);
    if (opened != SEM_FAILED) {
        core->semaphore = opened;
        return 0;
    }
    PyErr_SetFromErrnoWithFilename(PyExc_OSError, name);
    return -1;
}

static int core_init(Core *core, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"mapping",      "layout",       "token",       "segment_file", "lock_file", "slot",
                            "identity",     "guard",        "threads",     "blocks",       "reserve_least",
                            "waiting",      "watch",        "reserve_half", "piece_bytes", "surely_fits",
                            "growth_class", "hand",         "batch",       "ends",         "empty",     "failed",    NULL};
    PyObject *mapping, *layout, *guard, *threads, *blocks, *waiting, *watch, *hand, *batch, *ends, *empty, *failed;
    unsigned long long slot, identity, reserve_least, reserve_half, piece_bytes, surely_fits, growth_class;
    const char *token;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "$OOsiiKKOOO!KOOKKKKO!OOOO", names, &mapping, &layout, &token,
                                     &core->segment_file, &core->lock_file, &slot, &identity, &guard, &threads,
                                     &PyList_Type, &blocks, &reserve_least, &waiting, &watch, &reserve_half,
                                     &piece_bytes, &surely_fits, &growth_class, &PyType_Type, &hand, &batch, &ends, &empty,
                                     &failed))
        return -1;
    if (core->known) {
        PyErr_SetString(PyExc_RuntimeError, "a Core is made once");
        return -1;
    }
    core->slot = slot;
    core->identity = identity;
    core->reserve_least = reserve_least;
    core->reserve_half = reserve_half;
    core->piece_bytes = piece_bytes;
    core->surely_fits = surely_fits;
    core->growth_class = growth_class;
    if (core_map(core, mapping, layout) || core_remember(core, guard, threads, blocks, waiting, watch) ||
        core_remember_kinds(core, hand, batch, ends, empty, failed))
        return -1;
    return core_open_token(core, token);
}

static PyObject *core_learn(Core *core, PyObject *arguments)
{
    PyObject *pipe;
    unsigned long long thread, generation, tube;
    if (!PyArg_ParseTuple(arguments, "UKKK", &pipe, &thread, &generation, &tube))
        return NULL;
    return know_place(core, pipe, thread, generation, tube) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *core_learn_thread(Core *core, PyObject *arguments)
{
    PyObject *key, *handler;
    unsigned long long thread, generation;
    if (!PyArg_ParseTuple(arguments, "KKUU", &thread, &generation, &key, &handler))
        return NULL;
    if (thread >= core->at.threads)
        Py_RETURN_NONE;
    if (!know_key(core, key, thread))
        return NULL;
    know_thread(core, thread, generation, Py_NewRef(key), Py_NewRef(handler));
    Py_RETURN_NONE;
}

static PyObject *core_learn_death(Core *core, PyObject *number)
{
    uint64_t owner = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return NULL;
    core->dead[core->deaths++ % MOST_DEAD] = owner;
    core->orphans_due_ns = 0; /* the next turn looks */
    Py_RETURN_NONE;
}

static PyObject *core_learn_served(Core *core, PyObject *arguments)
{
    PyObject *names;
    Py_buffer bits;
    /* `y#` would do with the headers of one version what another one refuses, see PY_SSIZE_T_CLEAN. */
    if (!PyArg_ParseTuple(arguments, "Oy*", &names, &bits))
        return NULL;
    if (bits.len == AT_SERVED_BYTES) {
        replace(&core->served, Py_NewRef(names));
        memcpy(core->served_bits, bits.buf, AT_SERVED_BYTES);
    }
    PyBuffer_Release(&bits);
    Py_RETURN_NONE;
}

/* `outputs`: what leaves with the batch in hand, NULL: nothing. */
static PyObject *turn_taken(Core *core, Turn *turn, PyObject *const *arguments, PyObject *outputs)
{
    Call call;
    if (core->bytes == NULL || !turn_read(core, turn, arguments[0], arguments[1], arguments[2]))
        return Py_NewRef(Py_None);
    if (outputs && Py_SIZE(outputs)) {
        call_begin(&call, AT_FOLLOW_UP);
        if (turn->place == NULL || !call_take(core, &call, outputs))
            return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
        turn->outputs = &call;
    }
    return turn_told(core, turn, turn_take(core, turn));
}

static PyObject *core_turn(Core *core, PyObject *const *arguments, Py_ssize_t count)
{
    Turn turn = {0};
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "turn takes the hand, the names, the terms, whether it stays, and the outputs");
        return NULL;
    }
    /* Of other kinds Python takes the items. */
    if (item_of(arguments[4]) == NULL)
        return Py_NewRef(Py_None);
    turn.stays = arguments[3] == Py_True;
    return turn_taken(core, &turn, arguments, arguments[4]);
}

static PyObject *core_rest(Core *core, PyObject *const *arguments, Py_ssize_t count)
{
    Turn turn = {.rests = true};
    if (count != 6) {
        PyErr_SetString(PyExc_TypeError, "rest takes what turn takes, whether it is asleep, and whether it may sleep");
        return NULL;
    }
    turn.stays = arguments[3] == Py_True;
    turn.was_asleep = arguments[4] == Py_True;
    turn.may_sleep = arguments[5] == Py_True;
    return turn_taken(core, &turn, arguments, NULL);
}

static PyObject *core_append(Core *core, PyObject *const *arguments, Py_ssize_t count)
{
    Call call;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "append takes the parts and the share");
        return NULL;
    }
    call_begin(&call, (int)PyLong_AsLong(arguments[1]));
    if (PyErr_Occurred())
        return NULL;
    if (core->bytes == NULL || !call_take(core, &call, arguments[0]))
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    switch (append_call(core, &call)) {
    case STORED:
        return slots_due(core);
    case STORED_TO_MEND:
        return Py_NewRef(Py_False);
    default:
        return Py_NewRef(Py_None);
    }
}

static PyObject *core_rang(Core *core, PyObject *arguments)
{
    unsigned long long slot;
    int descriptor;
    if (!PyArg_ParseTuple(arguments, "Ki", &slot, &descriptor))
        return NULL;
    if (slot < core->at.slots) {
        core->rung[slot] = core->called[slot];
        core->bells[slot] = descriptor;
    }
    Py_RETURN_NONE;
}

static PyObject *core_forget_bell(Core *core, PyObject *number)
{
    size_t slot = PyLong_AsSize_t(number);
    if (PyErr_Occurred())
        return NULL;
    if (slot < core->at.slots)
        core->bells[slot] = NO_BELL;
    Py_RETURN_NONE;
}

static PyObject *core_close(Core *core, PyObject *Py_UNUSED(none))
{
    core_let_go(core);
    Py_RETURN_NONE;
}

static PyMethodDef core_methods[] = {
    {"append", (PyCFunction)(void (*)(void))core_append, METH_FASTCALL, NULL},
    {"turn", (PyCFunction)(void (*)(void))core_turn, METH_FASTCALL, NULL},
    {"rest", (PyCFunction)(void (*)(void))core_rest, METH_FASTCALL, NULL},
    {"learn_thread", (PyCFunction)core_learn_thread, METH_VARARGS, NULL},
    {"learn_served", (PyCFunction)core_learn_served, METH_VARARGS, NULL},
    {"learn", (PyCFunction)core_learn, METH_VARARGS, NULL},
    {"learn_death", (PyCFunction)core_learn_death, METH_O, NULL},
    {"rang", (PyCFunction)core_rang, METH_VARARGS, NULL},
    {"forget_bell", (PyCFunction)core_forget_bell, METH_O, NULL},
    {"close", (PyCFunction)core_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot core_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, core_init},
    {Py_tp_dealloc, core_dealloc},
    {Py_tp_methods, core_methods},
    {0, NULL},
};

static PyType_Spec core_spec = {
    .name = "shardq._core.engine.Core",
    .basicsize = sizeof(Core),
    .flags = TYPE_FLAGS,
    .slots = core_slots,
};

static PyMethodDef functions[] = {
    {"one_step", (PyCFunction)(void (*)(void))one_step, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shardq._core.engine",
    .m_size = -1,
    .m_methods = functions,
};

/* Make both types, and give the module the one that Python uses. */
static int add_types(PyObject *made)
{
    PyObject *core_type = known_begin() ? PyType_FromSpec(&core_spec) : NULL;
    int failed = core_type == NULL || PyModule_AddObjectRef(made, "Core", core_type);
    Py_XDECREF(core_type);
    return failed;
}

PyMODINIT_FUNC PyInit_engine(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made == NULL)
        return NULL;
    if (add_types(made) || PyModule_AddIntConstant(made, "WORDS_DIGEST", WORDS_DIGEST)) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
