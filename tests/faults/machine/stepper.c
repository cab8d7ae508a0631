/* Runs a traced process step by step through the sections that lie between two marks: kills it after so many machine
 * instructions of them, or tells after which ones the files that it shares with others have changed.
 *
 * The marks are two functions: a section begins when the first one is entered, and ends when the second one is. Outside
 * of sections the process runs at its own speed, as a breakpoint stands at the first mark; inside, each instruction is
 * one PTRACE_SINGLESTEP. A system call is one instruction.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <elf.h>
#include <unistd.h>

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
    uintptr_t low, high; /* the code whose instructions count; both 0: all do */
    const int *files; /* the files that are watched, `file_count` of them */
    int file_count;
    uint64_t state; /* what they held after the last step */
    long *changes;  /* after which steps they had changed, at most `most_changes` */
    long change_count, most_changes;
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

/* Of a file that is read, not mapped: a look into a mapping would give its holes memory. */
static uint64_t hash_of_range(int file, off_t start, off_t end, uint64_t hash)
{
    static uint64_t words[8192];
    while (start < end) {
        memset(words, 0, sizeof words);
        ssize_t got = pread(file, words, sizeof words, start);
        if (got <= 0)
            break;
        for (size_t n = 0; n < sizeof words / sizeof *words; n++)
            hash = (hash ^ words[n]) * 0x100000001b3UL;
        start += got;
    }
    return hash;
}

/* A number that is another one where the content of a file, or the memory it takes, is. By FNV-1a, word by word. */
static uint64_t hash_of_file(int file, uint64_t hash)
{
    struct stat its;
    off_t end = 0, start;
    if (fstat(file, &its) != 0)
        return hash;
    hash = (hash ^ (uint64_t)its.st_blocks) * 0x100000001b3UL;
    while ((start = lseek(file, end, SEEK_DATA)) >= 0) {
        end = lseek(file, start, SEEK_HOLE);
        hash = hash_of_range(file, start, end, (hash ^ (uint64_t)start) * 0x100000001b3UL);
    }
    return hash;
}

static uint64_t state_of_files(const struct run *run)
{
    uint64_t state = 0xcbf29ce484222325UL;
    for (int n = 0; n < run->file_count; n++)
        state = hash_of_file(run->files[n], state);
    return state;
}

static void note_change(struct run *run)
{
    uint64_t state = state_of_files(run);
    if (state != run->state && run->change_count < run->most_changes)
        run->changes[run->change_count++] = run->steps;
    run->state = state;
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
        signal = pending_signal(run);
        if (!get_registers(run, &registers))
            return -1;
        if (run->high && (COUNTER(registers) < run->low || COUNTER(registers) >= run->high))
            continue;
        run->steps++;
        if (run->file_count)
            note_change(run);
        if (COUNTER(registers) == run->end)
            return run->steps >= most;
    }
    return 1;
}

/* Go through all sections, or `most` steps of them. 1: `most`; 0: the process has ended; -1: a call failed. */
static int step_through(struct run *run, long most)
{
    int state;

    errno = 0;
    run->text = ptrace(PTRACE_PEEKTEXT, run->pid, run->begin, 0);
    if (run->text == -1 && errno != 0)
        return -1;
    do {
        state = run_to_begin(run);
        if (state == 1 && run->file_count)
            run->state = state_of_files(run); /* what changes between two sections is none of them */
        if (state == 1)
            state = step_to_end(run, most);
    } while (state == 0 && !has_ended(run));
    return state;
}

/* Of a process that has stopped itself to be traced: kill it after `most` instructions of its sections, of those in the
 * code from `low` to `high`. `steps` tells how many were made, `status` how it ended. ENDED: it came to its end before.
 */
int shardq_kill_after(int pid, uintptr_t begin, uintptr_t end, uintptr_t low, uintptr_t high, long most, long *steps,
                      int *status)
{
    struct run run = {.pid = pid, .begin = begin, .end = end, .low = low, .high = high};
    int state = step_through(&run, most);

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

/* As above, to its end: after which instructions the files had changed. Returns how many there are, at most `most`. */
long shardq_changes(int pid, uintptr_t begin, uintptr_t end, uintptr_t low, uintptr_t high, const int *files,
                    int file_count, long *changes, long most, int *status)
{
    struct run run = {.pid = pid, .begin = begin, .end = end, .low = low, .high = high};
    run.files = files;
    run.file_count = file_count;
    run.changes = changes;
    run.most_changes = most;
    int state = step_through(&run, INT64_MAX);

    *status = run.status;
    return state == 0 ? run.change_count : FAILED;
}
