/* A traced process: where it stands, and how it is brought further. See tracer.h. */
#include "tracer.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#if defined(__x86_64__)
#define COUNTER(registers) ((registers).rip)
/* int3; the processor has gone past it when the tracer hears of it. */
#define WITH_BREAKPOINT(text) (((text) & ~0xffUL) | 0xccUL)
#define BREAKPOINT_BYTES 1
#elif defined(__aarch64__)
#define COUNTER(registers) ((registers).pc)
/* brk #0; the processor stays on it. */
#define WITH_BREAKPOINT(text) (((text) & ~0xffffffffUL) | 0xd4200000UL)
#define BREAKPOINT_BYTES 0
#else
#error "single steps are known for x86-64 and aarch64"
#endif

int waited(struct run *run)
{
    pid_t pid;
    do
        pid = waitpid(run->pid, &run->status, 0);
    while (pid == -1 && errno == EINTR);
    return pid == run->pid;
}

int has_ended(const struct run *run)
{
    return WIFEXITED(run->status) || WIFSIGNALED(run->status);
}

/* The signal to hand on: the tracer's own traps and stops are not the process's. */
long pending_signal(const struct run *run)
{
    int signal = WSTOPSIG(run->status);
    return signal == SIGTRAP || signal == SIGSTOP ? 0 : signal;
}

static int get_registers(const struct run *run, struct user_regs_struct *registers)
{
    struct iovec place = {registers, sizeof *registers};
    return ptrace(PTRACE_GETREGSET, run->pid, NT_PRSTATUS, &place) == 0;
}

static int set_registers(const struct run *run, struct user_regs_struct *registers)
{
    struct iovec place = {registers, sizeof *registers};
    return ptrace(PTRACE_SETREGSET, run->pid, NT_PRSTATUS, &place) == 0;
}

int begin_trace(struct run *run)
{
    errno = 0;
    run->text = ptrace(PTRACE_PEEKTEXT, run->pid, run->begin, 0);
    return run->text == -1 && errno != 0 ? -1 : 0;
}

int let_run(struct run *run, long signal)
{
    if (ptrace(PTRACE_POKETEXT, run->pid, run->begin, WITH_BREAKPOINT(run->text)) != 0)
        return -1;
    return ptrace(PTRACE_CONT, run->pid, 0, signal) == 0 ? 0 : -1;
}

int stands_at_begin(struct run *run)
{
    struct user_regs_struct registers;

    if (WSTOPSIG(run->status) != SIGTRAP)
        return 0;
    if (!get_registers(run, &registers))
        return -1;
    if (COUNTER(registers) != run->begin + BREAKPOINT_BYTES)
        return 0;
    COUNTER(registers) = run->begin;
    if (!set_registers(run, &registers) || ptrace(PTRACE_POKETEXT, run->pid, run->begin, run->text) != 0)
        return -1;
    return 1;
}

int run_to_begin(struct run *run)
{
    int stands = 0;

    for (long signal = 0; stands == 0; signal = pending_signal(run)) {
        if (let_run(run, signal) != 0 || !waited(run))
            return -1;
        if (has_ended(run))
            return 0;
        stands = stands_at_begin(run);
    }
    return stands;
}

int step_to_end(struct run *run, long most)
{
    struct user_regs_struct registers;
    long signal = 0;

    run->at_end = 0;
    while (run->steps < most) {
        if (ptrace(PTRACE_SINGLESTEP, run->pid, 0, signal) != 0 || !waited(run))
            return -1;
        if (has_ended(run))
            return 0;
        signal = pending_signal(run);
        if (!get_registers(run, &registers))
            return -1;
        if (run->high && (COUNTER(registers) < run->low || COUNTER(registers) >= run->high))
            continue;
        run->steps++;
        if (run->file_count)
            note_change(run);
        run->at_end = COUNTER(registers) == run->end;
        if (run->at_end)
            return run->steps >= most;
    }
    return 1;
}

int killed(struct run *run)
{
    kill(run->pid, SIGKILL);
    do
        if (!waited(run))
            return 0;
    while (!has_ended(run));
    return 1;
}
