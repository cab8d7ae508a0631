/* The interface of CPython as all of these files use it: the limited one of 3.11, so that one build serves 3.11 and each
   later version. It lacks the macros that reach into objects, as `PyTuple_GET_ITEM` and `PyBytes_AS_STRING`: functions
   stand for them, as `PyTuple_GetItem` and `PyBytes_AsString`. `Py_SIZE` of an object whose type is known is no call. */
#ifndef SHARDQ_CPYTHON_H
#define SHARDQ_CPYTHON_H

#include <pyconfig.h>
/* A Python without a global lock has no limited interface: its extension is its own. */
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

typedef PyObject *(*ItemOf)(PyObject *, Py_ssize_t);

/* What gives an item of a list or of a tuple, borrowed. NULL: it is neither. A subclass may give others than it holds. */
static inline ItemOf item_of(PyObject *sequence)
{
    if (PyList_CheckExact(sequence))
        return PyList_GetItem;
    return PyTuple_CheckExact(sequence) ? PyTuple_GetItem : NULL;
}

/* Put an object, which is handed over, where another one was kept. */
static inline void replace(PyObject **kept, PyObject *with)
{
    PyObject *former = *kept;
    *kept = with;
    Py_XDECREF(former);
}

#endif
