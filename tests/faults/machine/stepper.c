/* Runs a traced process and kills it after so many machine instructions of the sections that lie between two marks.
 *
 * The marks are two functions: a section begins when the first one is entered, and ends when the second one is. Outside
 * of sections the process runs at its own speed, as a breakpoint stands at the first mark; inside, each instruction is
 * one PTRACE_SINGLESTEP. A system call is one instruction.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <elf.h>

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

enum { ENDED = 0, KILLED = 1, FAILED = -1 };

struct run {
    pid_t pid;
    uintptr_t begin, end;
    long text;      /* what stands where the breakpoint goes */
    long steps;     /* made so far */
    int status;     /* of the last wait */
};

static int waited(struct run *run)
{
    pid_t pid;
    do
        pid = waitpid(run->pid, &run->status, 0);
    while (pid == -1 && errno == EINTR);
    return pid == run->pid;
}

static int has_ended(const struct run *run)
{
    return WIFEXITED(run->status) || WIFSIGNALED(run->status);
}

/* The signal to hand on: the tracer's own traps and stops are not the process's. */
static long pending_signal(const struct run *run)
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

/* Let the process run until it enters a section. 1: it stands at its begin; 0: it has ended; -1: a call failed. */
static int run_to_begin(struct run *run)
{
    struct user_regs_struct registers;
    long signal = 0;

    if (ptrace(PTRACE_POKETEXT, run->pid, run->begin, WITH_BREAKPOINT(run->text)) != 0)
        return -1;
    for (;;) {
        if (ptrace(PTRACE_CONT, run->pid, 0, signal) != 0 || !waited(run))
            return -1;
        if (has_ended(run))
            return 0;
        if (WSTOPSIG(run->status) == SIGTRAP) {
            if (!get_registers(run, &registers))
                return -1;
            if (COUNTER(registers) == run->begin + BREAKPOINT_BYTES)
                break;
        }
        signal = pending_signal(run);
    }
    COUNTER(registers) = run->begin;
    if (!set_registers(run, &registers) || ptrace(PTRACE_POKETEXT, run->pid, run->begin, run->text) != 0)
        return -1;
    return 1;
}

/* Step until the section ends or `most` steps are made in all. 1: `most`; 0: it ended; -1: a call failed. */
static int step_to_end(struct run *run, long most)
{
    struct user_regs_struct registers;
    long signal = 0;

    while (run->steps < most) {
        if (ptrace(PTRACE_SINGLESTEP, run->pid, 0, signal) != 0 || !waited(run))
            return -1;
        if (has_ended(run))
            return 0;
        run->steps++;
        signal = pending_signal(run);
        if (!get_registers(run, &registers))
            return -1;
        if (COUNTER(registers) == run->end)
            return run->steps >= most;
    }
    return 1;
}

/* Of a process that has stopped itself to be traced: kill it after `most` instructions of its sections. `steps` tells how
 * many were made, `status` how it ended. ENDED: it came to its end before.
 */
int shardq_kill_after(int pid, uintptr_t begin, uintptr_t end, long most, long *steps, int *status)
{
    struct run run = {.pid = pid, .begin = begin, .end = end};
    int state;

    errno = 0;
    run.text = ptrace(PTRACE_PEEKTEXT, pid, begin, 0);
    if (run.text == -1 && errno != 0)
        return FAILED;
    do {
        state = run_to_begin(&run);
        if (state == 1)
            state = step_to_end(&run, most);
    } while (state == 0 && !has_ended(&run));
    if (state == 1) {
        kill(pid, SIGKILL);
        do
            state = waited(&run) ? 1 : -1;
        while (state == 1 && !has_ended(&run));
    }
    *steps = run.steps;
    *status = run.status;
    return state == 1 ? KILLED : state == 0 ? ENDED : FAILED;
}
