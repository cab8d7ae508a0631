/* A traced process, which is gone through step by step in the sections that lie between two marks.
 *
 * The marks are two functions: a section begins when the first one is entered, and ends when the second one is. Outside
 * of sections the process runs at its own speed, as a breakpoint stands at the first mark; inside, each instruction is
 * one PTRACE_SINGLESTEP. A system call is one instruction.
 */
#ifndef TRACER_H
#define TRACER_H

#define _GNU_SOURCE
#include <stdint.h>
#include <sys/types.h>

enum { ENDED = 0, KILLED = 1, FAILED = -1 };

struct run {
    pid_t pid;
    uintptr_t begin, end;
    uintptr_t low, high; /* the code whose instructions count; both 0: all do */
    long text;           /* what stands where the breakpoint goes */
    long steps;          /* made so far */
    int status;          /* of the last wait */
    int at_end;          /* whether it stands at the end of a section */
    const int *files;    /* the files that are watched, `file_count` of them */
    int file_count;
    uint64_t state; /* what they held after the last step */
    long *changes;  /* after which steps they had changed, at most `most_changes` */
    long change_count, most_changes;
};

/* trace.c: of those that give an int, -1 is a call of the system that failed. */
int begin_trace(struct run *run);
int waited(struct run *run);
int has_ended(const struct run *run);
int let_run(struct run *run, long signal);    /* until it enters a section; it is not waited for */
int stands_at_begin(struct run *run);         /* 1: it does, and can be stepped from there */
long pending_signal(const struct run *run);
int run_to_begin(struct run *run);            /* 1: it stands at the begin of a section, 0: it has ended */
int step_to_end(struct run *run, long most);  /* 1: `most` steps are made in all, 0: the section ended, or the process */
int killed(struct run *run);

/* files.c */
uint64_t state_of_files(const struct run *run);
void note_change(struct run *run);

#endif
