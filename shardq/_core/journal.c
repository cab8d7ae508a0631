/* What the process inside the guard is about to change, and the commit that makes it count: see `shm/journal.py`. */
#include "core.h"

void journal_declare(Core *core, uint64_t thread)
{
    store(core, AT_INTENT_THREAD, thread + 1);
}

/* This thread entry stays declared when others are. */
void journal_keep(Core *core, uint64_t thread)
{
    uint64_t count = load(core, AT_TOUCHED);
    if (count >= AT_MOST_TOUCHED)
        count = 0; /* nothing is declared yet: another program wrote there */
    store(core, AT_INTENT_THREAD, thread + 1);
    store(core, core->at.touched_word + count, thread + 1);
    store(core, AT_TOUCHED, count + 1);
}

void journal_clear(Core *core)
{
    store(core, AT_INTENT_TUBE, 0);
    store(core, AT_TOUCHED, 0);
    /* Last: while it stands, the others count. */
    store(core, AT_INTENT_THREAD, 0);
}

/* Write down a store of the commit to come. */
void journal_note(Core *core, uint64_t entry, uint64_t word, uint64_t value)
{
    store(core, core->at.stores_word + 2 * entry, word);
    store(core, core->at.stores_word + 2 * entry + 1, value);
}

/* Make all stores that were noted, or none. */
void journal_commit(Core *core, uint64_t count)
{
    store(core, AT_STORES, count);
    for (uint64_t entry = core->at.stores_word; count; count--, entry += 2) {
        uint64_t word = load(core, entry);
        if (word < core->at.total_bytes / AT_WORD) /* else another program wrote there meanwhile */
            store(core, word, load(core, entry + 1));
    }
    store(core, AT_STORES, 0);
}
