/* A module with state of its own, that asks for a module of its package by the public name. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static long calls = 0;

static PyObject *version(PyObject *self, PyObject *unused) {
    calls++;
    return PyUnicode_FromString("1.0.0");
}

static PyObject *count(PyObject *self, PyObject *unused) {
    return PyLong_FromLong(calls);
}

static PyObject *ask(PyObject *self, PyObject *unused) {
    PyObject *module = PyImport_ImportModule("compiled_extension.late");
    if (module == NULL) {
        return NULL;
    }
    PyObject *who = PyObject_GetAttrString(module, "WHO");
    Py_DECREF(module);
    return who;
}

static PyMethodDef methods[] = {
    {"version", version, METH_NOARGS, "Return the version that this was compiled for."},
    {"count", count, METH_NOARGS, "Return how often the version was asked for."},
    {"ask", ask, METH_NOARGS, "Return what a module of the package says."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_scale", NULL, -1, methods};

PyMODINIT_FUNC PyInit__scale(void) {
    return PyModule_Create(&definition);
}
