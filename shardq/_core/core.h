/* What the files share: a process's part of one segment, and how a word is read and stored. */
#ifndef SHARDQ_CORE_H
#define SHARDQ_CORE_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpython.h"
#include "words.h"

/* Extents grow sixteenfold from class to class: 2^64 bytes have no more classes. */
#define MOST_CLASSES 16
#define HANDLER_NUMBERS (AT_OTHER_HANDLER + 1)

typedef struct {
    uint64_t size, count, first, base;
} ExtentClass;

#define LAYOUT_FIELD(name) uint64_t name;
typedef struct {
    LAYOUT_NUMBERS(LAYOUT_FIELD)
    ExtentClass classes[MOST_CLASSES];
    int class_count;
} Layout;

/* The attributes of objects in Python that are asked for in each call. Their names are kept, as Python finds an attribute
   by a name that it has met before at once, and searches anew for one that was just made. */
#define ATTRIBUTES(ATTRIBUTE) \
    ATTRIBUTE(holder, "_holder") \
    ATTRIBUTE(sequence, "_sequence") \
    ATTRIBUTE(waits, "waits") \
    ATTRIBUTE(last_served, "last_served") \
    ATTRIBUTE(sleeping, "sleeping") \
    ATTRIBUTE(seen, "seen") \
    ATTRIBUTE(pipe, "pipe") \
    ATTRIBUTE(front, "front") \
    ATTRIBUTE(through, "through")

#define ATTRIBUTE_FIELD(field, name) PyObject *field;
typedef struct {
    ATTRIBUTES(ATTRIBUTE_FIELD)
} Names;

/* What a hand is made of. */
typedef struct {
    PyTypeObject *hand;
    PyObject *batch, *ends, *ends_code; /* the type of a batch; that of its `ends`, an array, and its code of 4 bytes */
    PyObject *empty;                    /* the batch without messages */
    PyObject *failed;                   /* what makes a `Failed` of the words of a tube */
} Kinds;

/* A thread and a tube that a pipe was found to be, which holds as long as the thread's generation stays. */
typedef struct {
    PyObject_HEAD
    uint64_t thread, generation, tube;
    uint64_t asked; /* the call that named it last: none may name it twice */
} Place;

/* Where some messages of a record are that are handed out. */
typedef struct {
    uint64_t ends, payload, low, high, count;
} Slice;

/* More slices than this no batch has here. */
#define MOST_SLICES 512
/* More processes than these that wait for room, or sleep while this one makes itself known, are left to Python. */
#define MOST_WAITING 16
/* A section rings a process for each part of a call, the supervisor, the one that is next, and those that wait or sleep. */
#define MOST_DUE (AT_MOST_PARTS + 2 * MOST_WAITING + 2)

/* What is known of a thread, which holds as long as its generation stays. */
typedef struct {
    uint64_t generation;
    PyObject *key, *handler; /* NULL: nothing is known */
    PyObject *pipe;          /* of the priority that was handed out last */
    int64_t priority;
} KnownThread;

/* So many deaths are remembered: more processes of a segment hardly die between two looks of another one. */
#define MOST_DEAD 64
#define NO_SLOT UINT64_MAX
#define NO_BELL -1

typedef struct {
    PyObject_HEAD
    Py_buffer view;
    uint8_t *bytes;  /* the mapping, NULL once it is closed */
    uint64_t *words; /* the same memory */
    Layout at;
    sem_t *semaphore;
    int segment_file, lock_file;
    uint64_t slot, identity, slot_word, attempt_word, sequence;
    uint64_t reserve_least, reserve_half, piece_bytes, surely_fits, growth_class;
    PyObject *guard, *lock_threads, *at_once, *unlock_threads;
    Kinds kinds;
    Names names;
    PyObject *places; /* by pipe */
    PyObject *waiting, *watch;
    PyObject *threads; /* numbers of those that are known, by key */
    KnownThread *known;
    uint64_t known_end; /* none behind it is known: to look through all would touch 48 bytes for each */
    PyObject *served; /* the handlers that were looked for last, and their numbers as bits */
    uint8_t served_bits[AT_SERVED_BYTES];
    uint64_t dead[MOST_DEAD], deaths; /* owner words of processes that ended, which has been seen; how many */
    uint64_t orphans_due_ns;
    uint64_t found_tube, found_through, found_address; /* of the message that was handed out last */
    Slice slices[MOST_SLICES];
    PyObject *messages[AT_MOST_MESSAGES]; /* of the call that is stored, borrowed */
    PyObject *blocks; /* of `Tallies`: the first word of what is counted of each handler */
    uint64_t rates_due_ns[HANDLER_NUMBERS];
    /* By slot: its last attempt when it was called, and when it was rung last; whether it is to be rung; whether this
       section has seen that it is alive. */
    uint64_t *called, *rung;
    uint8_t *due, *seen_alive;
    bool any_due;
    int *bells; /* by slot: the descriptor by which its process is rung, NO_BELL: Python has to */
    uint64_t ahead, ahead_attempt; /* the slot that was rung before this section, and its last attempt by then */
    uint64_t calls;
} Core;

/* A death leaves what was stored before in program order. So the compiler must keep that order, too. */
static inline void keep_order(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline uint64_t load(const Core *core, uint64_t word)
{
    return __atomic_load_n(core->words + word, __ATOMIC_ACQUIRE);
}

static inline void store(const Core *core, uint64_t word, uint64_t value)
{
    keep_order();
    __atomic_store_n(core->words + word, value, __ATOMIC_RELEASE);
    keep_order();
}

static inline uint8_t load_byte(const Core *core, uint64_t address)
{
    return __atomic_load_n(core->bytes + address, __ATOMIC_ACQUIRE);
}

static inline void store_byte(const Core *core, uint64_t address, uint8_t value)
{
    keep_order();
    __atomic_store_n(core->bytes + address, value, __ATOMIC_RELEASE);
    keep_order();
}

static inline uint64_t thread_word(const Core *core, uint64_t thread)
{
    return (core->at.thread_table + thread * AT_THREAD_BYTES) / AT_WORD;
}

/* Of the entries for threads, only the first so many were ever used: those behind them have no memory. */
static inline uint64_t threads_used(const Core *core)
{
    uint64_t entries = load(core, AT_THREADS_BACKED) / AT_THREAD_BYTES;
    return entries < core->at.threads ? entries : core->at.threads;
}

static inline uint64_t tube_word(const Core *core, uint64_t tube)
{
    return core->at.tube_table / AT_WORD + tube * AT_TUBE_WORDS;
}

static inline uint64_t slot_word(const Core *core, uint64_t slot)
{
    return core->at.slots_word + slot * AT_SLOT_WORDS;
}

/* The slot of an owner word; of none, beyond all slots. */
static inline uint64_t slot_of(uint64_t owner)
{
    return (owner & 0xFFFF) - 1;
}

static inline uint64_t whole_pages(uint64_t nbytes)
{
    return (nbytes + AT_PAGE - 1) / AT_PAGE * AT_PAGE;
}

static inline uint64_t largest(uint64_t one, uint64_t other)
{
    return one > other ? one : other;
}

static inline uint64_t least(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

uint64_t clock_ns(int clock);

/* layout.c */
int layout_read(Layout *at, PyObject *layout);

/* guard.c: false where Python has to enter: at once it cannot be, or there is something to mend. */
bool guard_enter(Core *core);
void guard_leave(Core *core);

/* known.c: false where an exception is set. */
#define TYPE_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE)

bool known_begin(void);
void let_object_go(PyObject *object);
bool know_place(Core *core, PyObject *pipe, uint64_t thread, uint64_t generation, uint64_t tube);
bool know_key(Core *core, PyObject *key, uint64_t thread);
void know_thread(Core *core, uint64_t thread, uint64_t generation, PyObject *key, PyObject *handler);
void forget_thread(KnownThread *known);
const KnownThread *thread_known(Core *core, uint64_t thread);

/* journal.c */
void journal_declare(Core *core, uint64_t thread);
void journal_keep(Core *core, uint64_t thread);
void journal_clear(Core *core);
void journal_note(Core *core, uint64_t entry, uint64_t word, uint64_t value);
void journal_commit(Core *core, uint64_t count);

/* records.c */
typedef struct {
    uint64_t address, count, payload_bytes, sequence, accepted_us, trace_bytes, next_record;
    uint16_t format;
} Record;

uint64_t record_size(uint64_t count, uint64_t payload_bytes, uint64_t trace_bytes);
void record_read(const Core *core, uint64_t address, Record *found);
bool record_is_sound(const Record *found, uint64_t end);
void record_write_header(const Core *core, uint64_t address, const Record *its);
void record_write_jump(const Core *core, uint64_t address, uint64_t target);

/* extents.c */
typedef struct {
    uint64_t number, start, size; /* of the extent */
    uint64_t backed;              /* bytes from its start that have memory */
    int class_number;
    bool punched;
} Extent;

bool extent_around(const Core *core, uint64_t address, Extent *found);
bool extent_free(const Core *core, uint64_t nbytes, int at_least, uint64_t *taken, Extent *found);
uint64_t extent_owner(const Core *core, const Extent *extent);
uint64_t extent_goal(const Extent *extent, uint64_t nbytes);
bool memory_allows(const Core *core, uint64_t more_bytes, int share);
bool memory_is_scarce(const Core *core);
void extent_lend(Core *core, const Extent *extent, uint64_t tube);
bool extent_grow(Core *core, const Extent *extent, uint64_t goal);

/* sleepers.c */
bool slot_is_alive(Core *core, uint64_t slot);
bool owner_is_alive(Core *core, uint64_t owner);
bool slot_sleeps(const Core *core, uint64_t slot);
void slot_call(Core *core, uint64_t slot);
uint64_t sleeper_that_serves(const Core *core, uint64_t handler);
bool call_for_handler(Core *core, uint64_t handler);
void forget_calls(Core *core);

void slot_ring(Core *core, uint64_t slot);
bool may_be_known(Core *core);
void make_known(Core *core);
bool pass_call_on(Core *core);

/* tallies.c */
int64_t tally_block(const Core *core, uint64_t handler);
void tally_accepted(Core *core, uint64_t handler, uint64_t count);

void tally_done(Core *core, uint64_t handler, uint64_t count);
void tally_ended(Core *core, uint64_t handler, uint64_t count, uint64_t spent_ns);
void tally_handed_out(Core *core, uint64_t handler, uint64_t waited_us);
void tally_failed(Core *core, uint64_t handler, uint64_t reason);

/* claims.c */
#define MOST_TUBES 16
typedef struct {
    uint64_t tubes[MOST_TUBES], count;
} Tubes;

/* Of searches: there is none, and one that Python has to look at. */
#define NONE_READY -1
#define ODD -2

bool place_stands(const Core *core, const Place *place);
bool claims_take_work(Core *core, uint64_t thread);
bool claims_work_arrived(Core *core, uint64_t thread);
bool claims_hold(const Core *core, uint64_t thread, uint64_t token);
bool make_ready(Core *core, uint64_t thread);
int64_t next_orphan(Core *core, uint64_t start);
bool claims_orphans_seen(Core *core);
int64_t next_ready(const Core *core, int64_t after, const uint8_t *bits, bool by_name);
bool tubes_of(const Core *core, uint64_t thread, Tubes *found);
int has_work(const Core *core, const Tubes *tubes);
bool release(Core *core, uint64_t thread, bool works);
uint64_t claim(Core *core, uint64_t thread, const Tubes *tubes);

/* chains.c */
typedef struct {
    Record record;
    Extent extent;
    uint64_t tail, next; /* of the tube; where the next record is */
    bool began;
} Chain;

void chain_begin(Chain *chain, uint64_t address, uint64_t tail);
bool chain_next(const Core *core, Chain *chain);
bool tail_of(const Core *core, uint64_t tube, uint64_t *tail, uint64_t *next_sequence);

/* deaths.c: false where Python has to. */
bool orphans_freed(Core *core);

/* batches.c */
typedef struct {
    uint64_t tube, sequence, through, count, slices, payload_bytes, accepted_us, taken_us, last_record;
    uint64_t attempts, first_failed_us, last_failed_us, failed_by; /* of its message, where that failed before */
    int64_t priority;
} Batch;

bool batch_find(Core *core, uint64_t thread, const Tubes *tubes, PyObject *terms, Batch *found);
void batch_hand_out(Core *core, uint64_t thread, PyObject *terms, Batch *batch);
void note_end(Core *core, uint64_t thread, uint64_t done);
PyObject *batch_read_out(const Core *core, const Batch *batch, PyObject **ends);

/* plan.c */
typedef struct {
    Place *place;
    PyObject **messages; /* as many bytes objects as `count` says, borrowed */
    uint64_t count, payload_bytes, size;
    uint64_t word;     /* of its tube */
    uint64_t handler;  /* the number of its thread's handler */
    uint64_t tail;     /* the last record of the tube, 0: none */
    uint64_t sequence; /* of the first message */
    uint64_t target;   /* where the record goes */
    uint64_t link;     /* where the jump to it stands, 0: it follows the last record */
    uint64_t goal;     /* bytes of memory that the extent has to have, 0: those that it has */
    Extent extent;
    uint64_t left; /* the extent that is left by the jump */
    bool lends;
} Part;

typedef struct {
    Part parts[AT_MOST_PARTS];
    uint64_t count, messages, payload_bytes, record_bytes;
    int share;
} Call;

void call_begin(Call *call, int share);
bool call_take(Core *core, Call *call, PyObject *parts);
bool call_plan(Core *core, Call *call);

/* bells.c */
void ring_ahead(Core *core, const Call *call);
uint64_t ring_called(Core *core, uint64_t *slots);

/* append.c: what an append does with a call, and a turn with its outputs. */
void call_keep(Core *core, const Call *call);
bool call_write(Core *core, const Call *call);
uint64_t call_note(Core *core, const Call *call, uint64_t entry);
bool call_offer(Core *core, const Call *call);
void call_count(Core *core, const Call *call);

typedef enum { GENERAL_WAY, STORED, STORED_TO_MEND } Appended;

Appended append_call(Core *core, Call *call);

/* acknowledge.c: in the general way nothing was changed, or the journal stands for Python to mend. */
typedef enum { ACKNOWLEDGE_GENERAL, ACKNOWLEDGED_TO_MEND, ACKNOWLEDGED } Acknowledged;

Acknowledged acknowledge(Core *core, const Place *place, uint64_t token, uint64_t through, Call *outputs);

/* turn.c */
typedef enum { TURN_GENERAL, TURN_ACKNOWLEDGED, TURN_RELEASED, TURN_DONE } Turned;

typedef struct {
    PyObject *hand, *names, *terms;
    bool stays, has_hand, rests, may_sleep, was_asleep;
    const Place *place; /* of the batch in hand, NULL: it is empty */
    Call *outputs;      /* what the handler sends on, NULL: nothing */
    uint64_t thread, token, through;
    int64_t last_served;
    uint64_t asleep, watched; /* coroutines that sleep, and which servers are watched */
    /* What comes of it. */
    bool found, falls_asleep, passes_on;
    Batch batch;
} Turn;

Turned turn_take(Core *core, Turn *turn);

/* results.c */
bool turn_read(Core *core, Turn *turn, PyObject *hand, PyObject *names, PyObject *terms);
PyObject *turn_told(Core *core, const Turn *turn, Turned turned);
PyObject *slots_due(Core *core);

/* step.c: of the module, without a segment */
PyObject *one_step(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
