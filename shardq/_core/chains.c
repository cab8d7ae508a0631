/* How a tube's records hang together: see `shm/memory/record_chain.py`. */
#include "core.h"

void chain_begin(Chain *chain, uint64_t address, uint64_t tail)
{
    chain->next = address;
    chain->tail = tail;
    chain->began = false;
}

static bool is_in(const Extent *extent, uint64_t address)
{
    return !(address & 7) && address >= extent->start &&
           address + RECORD_HEADER_BYTES <= extent->start + extent->backed;
}

/* Go to the next record. False: this was the last one; or there is none, where `chain->next` is not 0. Numbers that
   only grow lead round no circle. */
bool chain_next(const Core *core, Chain *chain)
{
    Record *record = &chain->record;
    uint64_t expected = chain->began ? record->sequence + record->count : 0;
    for (int jumps = 0; chain->next; jumps++) {
        if (!(chain->began && is_in(&chain->extent, chain->next)) && !extent_around(core, chain->next, &chain->extent))
            return false;
        record_read(core, chain->next, record);
        if (record->format == RECORD_JUMP && !jumps) {
            chain->next = record->next_record;
            continue;
        }
        if (!record_is_sound(record, chain->extent.start + chain->extent.backed))
            return false;
        if (chain->began && record->sequence != expected)
            return false;
        uint64_t size = record_size(record->count, record->payload_bytes, record->trace_bytes);
        chain->next = record->address == chain->tail ? 0 : record->address + size;
        chain->began = true;
        return true;
    }
    return false;
}

/* The last record of a tube, 0: it is empty; and the number behind its last message. False: it has none that is sound,
   or its head is behind. */
bool tail_of(const Core *core, uint64_t tube, uint64_t *tail, uint64_t *next_sequence)
{
    uint64_t word = tube_word(core, tube), head = load(core, word + AT_TUBE_HEAD_SEQUENCE);
    *tail = load(core, word + AT_TUBE_TAIL);
    *next_sequence = load(core, word + AT_TUBE_NEXT_SEQUENCE);
    if (!*tail)
        return head == *next_sequence;
    Chain chain;
    chain_begin(&chain, *tail, *tail);
    if (!chain_next(core, &chain) || chain.record.address != *tail)
        return false;
    *next_sequence = chain.record.sequence + chain.record.count;
    /* A tube whose last message is acknowledged has no tail any more. */
    return head < *next_sequence;
}
