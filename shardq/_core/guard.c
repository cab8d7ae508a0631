/* Mutual exclusion that survives the death of its holder: the words and the order of `shm/processes/guard.py`.

   What takes long or is rare is left to Python: naps, and taking the token over from a process that died. */
#include <sched.h>
#include <time.h>

#include "core.h"

/* How often to look at the token before the processor is yielded: a section takes a few microseconds. */
#define LOOKS 64

uint64_t clock_ns(int clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* For a tracer that stops a process between two instructions: a section lies between the calls of these two. They are
   not inlined, so that it finds them by name, and the assembly in them keeps the compiler from leaving them out. */
__attribute__((noinline, visibility("default"))) void shardq_section_begin(void)
{
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline, visibility("default"))) void shardq_section_end(void)
{
    __asm__ volatile("" ::: "memory");
}

static bool try_token(Core *core)
{
    core->sequence++;
    store(core, core->attempt_word, core->sequence << 16 | GUARD_TRYING);
    /* The announcement has to be seen before the token is gone. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (sem_trywait(core->semaphore) != 0) {
        store(core, core->attempt_word, core->sequence << 16);
        return false;
    }
    store(core, AT_GUARD_OWNER, core->identity);
    return true;
}

static void rest_a_little(int looks)
{
#if defined(__x86_64__)
    if (looks < LOOKS) {
        __builtin_ia32_pause();
        return;
    }
#endif
    (void)looks;
    sched_yield();
}

/* Wait for the token as long as two large sections take. An attempt is announced only when the token is there to be
   had: otherwise the waiters' attempts would never leave a rescuer two equal looks. */
static bool wait_for_token(Core *core)
{
    uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + GUARD_YIELDING_NS;
    for (int looks = 0;; looks += looks < LOOKS) {
        int value = 0;
        sem_getvalue(core->semaphore, &value);
        if (value > 0 && try_token(core))
            return true;
        if (looks == LOOKS && clock_ns(CLOCK_MONOTONIC) > until_ns)
            return false;
        rest_a_little(looks);
    }
}

/* The number of an attribute of the Guard, -1: it is none. */
static int64_t guard_number(Core *core, PyObject *name)
{
    PyObject *found = PyObject_GetAttr(core->guard, name);
    int64_t value = found ? PyLong_AsLongLong(found) : -1;
    Py_XDECREF(found);
    PyErr_Clear();
    return value;
}

static void set_guard_number(Core *core, PyObject *name, int64_t value)
{
    PyObject *number = PyLong_FromLongLong(value);
    if (number == NULL || PyObject_SetAttr(core->guard, name, number))
        PyErr_Clear();
    Py_XDECREF(number);
}

/* Take the lock of this process's threads. Another thread may be inside in Python, and so may this one, where a signal
   handler interrupted it there. The arguments are there already: to make them may have a finalizer run, which may change
   what a verb has taken from Python by now. */
static bool lock_threads(Core *core)
{
    PyObject *locked = PyObject_Call(core->lock_threads, core->at_once, NULL);
    bool is_locked = locked == Py_True;
    Py_XDECREF(locked);
    PyErr_Clear();
    return is_locked;
}

static void unlock_threads(Core *core)
{
    PyObject *done = PyObject_CallNoArgs(core->unlock_threads);
    Py_XDECREF(done);
    PyErr_Clear();
}

/* Python counts attempts as well: it goes on from this number. */
static bool enter_alone(Core *core)
{
    core->sequence = load(core, core->attempt_word) >> 16;
    bool inside = try_token(core);
    if (!inside && wait_for_token(core)) {
        inside = true;
        set_guard_number(core, core->names.waits, guard_number(core, core->names.waits) + 1);
    }
    set_guard_number(core, core->names.sequence, (int64_t)core->sequence);
    return inside;
}

bool guard_enter(Core *core)
{
    if (!lock_threads(core))
        return false;
    if (guard_number(core, core->names.holder) != 0) {
        unlock_threads(core);
        return false;
    }
    shardq_section_begin();
    if (!enter_alone(core)) {
        shardq_section_end();
        unlock_threads(core);
        return false;
    }
    if (load(core, AT_INTENT_THREAD) || load(core, AT_INTENT_PENDING)) {
        guard_leave(core);
        return false;
    }
    return true;
}

void guard_leave(Core *core)
{
    store(core, AT_GUARD_OWNER, 0);
    sem_post(core->semaphore);
    store(core, core->attempt_word, core->sequence << 16);
    shardq_section_end();
    unlock_threads(core);
}
