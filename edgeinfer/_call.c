/* A call of the C engine as cheap as Python has it: a builtin without arguments, its pointers bound
 * once, which holds the GIL (for runs of a few microseconds, since getting the GIL back from a busy
 * thread costs its switch interval of 5 ms) or gives it up meanwhile (for longer ones). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

typedef int (*run_function)(void *);

/* What a bound call knows: (function and argument as one capsule, fail, keep). */
typedef struct bound {
    run_function run;
    void *argument;
} bound;

static const char NAME[] = "edgeinfer.call";

static void release(PyObject *capsule) {
    PyMem_Free(PyCapsule_GetPointer(capsule, NAME));
}

static PyObject *finish(PyObject *self, int status) {
    if (!status) Py_RETURN_NONE;
    PyObject *fail = PyTuple_GetItem(self, 1);
    return fail ? PyObject_CallFunction(fail, "i", status) : NULL;
}

static bound *of(PyObject *self) {
    PyObject *capsule = PyTuple_GetItem(self, 0);
    return capsule ? PyCapsule_GetPointer(capsule, NAME) : NULL;
}

static PyObject *call_holding(PyObject *self, PyObject *unused) {
    (void)unused;
    bound *b = of(self);
    return b ? finish(self, b->run(b->argument)) : NULL;
}

static PyObject *call_releasing(PyObject *self, PyObject *unused) {
    (void)unused;
    bound *b = of(self);
    if (!b) return NULL;
    PyThreadState *state = PyEval_SaveThread();
    int status = b->run(b->argument);
    PyEval_RestoreThread(state);
    return finish(self, status);
}

static const char RUN[] = "Run once: inputs are read from their views, outputs are in theirs "
                          "afterwards.";
static PyMethodDef holding = {"run", call_holding, METH_NOARGS, RUN};
static PyMethodDef releasing = {"run", call_releasing, METH_NOARGS, RUN};

static PyObject *bind(PyObject *module, PyObject *args) {
    (void)module;
    unsigned long long run, argument;
    PyObject *fail, *keep;
    int hold;
    if (!PyArg_ParseTuple(args, "KKOOp", &run, &argument, &fail, &keep, &hold)) return NULL;
    bound *b = PyMem_Malloc(sizeof *b);
    if (!b) return PyErr_NoMemory();
    b->run = (run_function)(uintptr_t)run;
    b->argument = (void *)(uintptr_t)argument;
    PyObject *capsule = PyCapsule_New(b, NAME, release);
    if (!capsule) {
        PyMem_Free(b);
        return NULL;
    }
    PyObject *self = PyTuple_Pack(3, capsule, fail, keep);
    Py_DECREF(capsule);
    if (!self) return NULL;
    PyObject *call = PyCFunction_NewEx(hold ? &holding : &releasing, self, NULL);
    Py_DECREF(self);
    return call;
}

static PyMethodDef methods[] = {
    {"bind", bind, METH_VARARGS,
     "bind(function, argument, fail, keep, hold_gil) -> callable without arguments.\n\n"
     "Calls int function(void *argument), both given as addresses; a status other than 0 calls\n"
     "fail(status), which raises. `keep` lives as long as the callable."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_call", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__call(void) {
    return PyModule_Create(&definition);
}
