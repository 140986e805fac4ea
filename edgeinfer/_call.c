/* A call of the C engine as cheap as Python has it: a builtin, its pointers bound
 * once, which holds the GIL (for runs of a few microseconds, since getting the GIL back from a busy
 * thread costs its switch interval of 5 ms) or gives it up meanwhile (for longer ones). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

#include "../csrc/edgeinfer.h"

typedef int (*run_function)(void *);
typedef int (*run_by_function)(void *, uint64_t, ei_result *);

/* What a bound call knows: (functions and argument as one capsule, fail, outcome, keep). */
typedef struct bound {
    run_function run;
    run_by_function run_by;
    void *argument;
    int hold_gil;
} bound;

static const char NAME[] = "edgeinfer.call";

static void release(PyObject *capsule) {
    PyMem_Free(PyCapsule_GetPointer(capsule, NAME));
}

static bound *of(PyObject *self) {
    PyObject *capsule = PyTuple_GetItem(self, 0);
    return capsule ? PyCapsule_GetPointer(capsule, NAME) : NULL;
}

static PyObject *fail(PyObject *self, int status) {
    PyObject *raises = PyTuple_GetItem(self, 1);
    return raises ? PyObject_CallFunction(raises, "i", status) : NULL;
}

static PyObject *run(PyObject *self, const bound *b) {
    int status;
    if (b->hold_gil) {
        status = b->run(b->argument);
    } else {
        PyThreadState *state = PyEval_SaveThread();
        status = b->run(b->argument);
        PyEval_RestoreThread(state);
    }
    if (status) return fail(self, status);
    Py_RETURN_NONE;
}

static PyObject *run_by(PyObject *self, const bound *b, PyObject *when) {
    ei_result result = {0};
    int status;
    long long deadline = PyLong_AsLongLong(when);
    if (deadline == -1 && PyErr_Occurred()) return NULL;
    if (deadline < 0) deadline = 0;
    if (b->hold_gil) {
        status = b->run_by(b->argument, (uint64_t)deadline, &result);
    } else {
        PyThreadState *state = PyEval_SaveThread();
        status = b->run_by(b->argument, (uint64_t)deadline, &result);
        PyEval_RestoreThread(state);
    }
    if (status) return fail(self, status);
    PyObject *outcome = PyTuple_GetItem(self, 2);
    return outcome ? PyObject_CallFunction(outcome, "iiiK", result.outcome, result.substitute,
                                           result.step, (unsigned long long)result.age_ns)
                   : NULL;
}

static PyObject *call(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    bound *b = of(self);
    if (!b) return NULL;
    if (!count && !names) return run(self, b);
    PyObject *name = names && !count && PyTuple_Size(names) == 1 ? PyTuple_GetItem(names, 0) : NULL;
    if (!name || PyUnicode_CompareWithASCIIString(name, "deadline")) {
        PyErr_SetString(PyExc_TypeError, "run() takes one keyword argument, deadline");
        return NULL;
    }
    return args[0] == Py_None ? run(self, b) : run_by(self, b, args[0]);
}

static PyMethodDef callable = {
    "run", (PyCFunction)(void (*)(void))call, METH_FASTCALL | METH_KEYWORDS,
    "run(*, deadline=None)\n\nRun once: inputs are read from their views, outputs are in theirs "
    "afterwards.\nWith a deadline (ns of time.monotonic_ns) an Outcome says what they are of."};

static PyObject *bind(PyObject *module, PyObject *args) {
    (void)module;
    unsigned long long function, function_by, argument;
    PyObject *raises, *outcome, *keep;
    int hold;
    if (!PyArg_ParseTuple(args, "KKKOOOp", &function, &function_by, &argument, &raises, &outcome,
                          &keep, &hold))
        return NULL;
    bound *b = PyMem_Malloc(sizeof *b);
    if (!b) return PyErr_NoMemory();
    b->run = (run_function)(uintptr_t)function;
    b->run_by = (run_by_function)(uintptr_t)function_by;
    b->hold_gil = hold;
    b->argument = (void *)(uintptr_t)argument;
    PyObject *capsule = PyCapsule_New(b, NAME, release);
    if (!capsule) {
        PyMem_Free(b);
        return NULL;
    }
    PyObject *self = PyTuple_Pack(4, capsule, raises, outcome, keep);
    Py_DECREF(capsule);
    if (!self) return NULL;
    PyObject *made = PyCFunction_NewEx(&callable, self, NULL);
    Py_DECREF(self);
    return made;
}

static PyMethodDef methods[] = {
    {"bind", bind, METH_VARARGS,
     "bind(run, run_by, argument, fail, outcome, keep, hold_gil) -> run(*, deadline=None).\n\n"
     "Calls int run(void *argument), or int run_by(void *argument, uint64_t, ei_result *) and\n"
     "returns outcome(outcome, substitute, step, age_ns); the functions and the argument are\n"
     "addresses. A status other than 0 calls fail(status), which raises. `keep` lives as long as\n"
     "the callable."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_call", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__call(void) {
    return PyModule_Create(&definition);
}
