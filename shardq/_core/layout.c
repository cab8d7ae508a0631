/* Where the parts of a segment lie: read from the Layout in Python, which alone computes it. */
#include "core.h"

static int number_of(PyObject *owner, const char *name, uint64_t *value)
{
    PyObject *found = PyObject_GetAttrString(owner, name);
    if (found == NULL)
        return -1;
    *value = PyLong_AsUnsignedLongLong(found);
    Py_DECREF(found);
    return PyErr_Occurred() ? -1 : 0;
}

static int class_read(ExtentClass *extents, PyObject *from)
{
    if (number_of(from, "size", &extents->size) || number_of(from, "count", &extents->count) ||
        number_of(from, "first", &extents->first) || number_of(from, "base", &extents->base))
        return -1;
    return 0;
}

static int classes_read(Layout *at, PyObject *classes)
{
    Py_ssize_t count = PyTuple_Check(classes) ? Py_SIZE(classes) : 0;
    if (count < 1 || count > MOST_CLASSES) {
        PyErr_SetString(PyExc_ValueError, "a segment has no such classes of extents");
        return -1;
    }
    for (Py_ssize_t n = 0; n < count; n++)
        if (class_read(&at->classes[n], PyTuple_GetItem(classes, n)))
            return -1;
    at->class_count = (int)count;
    return 0;
}

#define READ_NUMBER(name) \
    if (number_of(layout, #name, &at->name)) \
        return -1;

int layout_read(Layout *at, PyObject *layout)
{
    LAYOUT_NUMBERS(READ_NUMBER)
    PyObject *classes = PyObject_GetAttrString(layout, "classes");
    if (classes == NULL)
        return -1;
    int done = classes_read(at, classes);
    Py_DECREF(classes);
    return done;
}
