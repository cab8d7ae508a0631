/* How messages lie in memory: the frame that `shm/memory/record.py` draws. */
#include <string.h>

#include "core.h"

typedef struct {
    uint16_t format, flags;
    uint32_t count;
    uint64_t payload_bytes, sequence, accepted_us;
    uint32_t trace_bytes, reserved;
    uint64_t next_record;
} Frame;

_Static_assert(sizeof(Frame) == RECORD_HEADER_BYTES, "the frame of a record is that of record.py");

uint64_t record_size(uint64_t count, uint64_t payload_bytes, uint64_t trace_bytes)
{
    uint64_t bits = (count + 63) / 64 * 8;
    return (RECORD_HEADER_BYTES + bits + 4 * count + trace_bytes + payload_bytes + 7) & ~(uint64_t)7;
}

/* The header at an address inside the mapping. */
void record_read(const Core *core, uint64_t address, Record *found)
{
    Frame frame;
    memcpy(&frame, core->bytes + address, sizeof frame);
    *found = (Record){
        .address = address,
        .count = frame.count,
        .payload_bytes = frame.payload_bytes,
        .sequence = frame.sequence,
        .accepted_us = frame.accepted_us,
        .trace_bytes = frame.trace_bytes,
        .next_record = frame.next_record,
        .format = frame.format,
    };
}

/* Whether it is a record of messages that ends in the memory that ends there. */
bool record_is_sound(const Record *found, uint64_t end)
{
    if (found->format != RECORD_MESSAGES || !found->count || found->payload_bytes > UINT32_MAX)
        return false;
    return found->address + record_size(found->count, found->payload_bytes, found->trace_bytes) <= end;
}

void record_write_header(const Core *core, uint64_t address, const Record *its)
{
    Frame frame = {
        .format = RECORD_MESSAGES,
        .count = (uint32_t)its->count,
        .payload_bytes = its->payload_bytes,
        .sequence = its->sequence,
        .accepted_us = its->accepted_us,
    };
    memcpy(core->bytes + address, &frame, sizeof frame);
}

void record_write_jump(const Core *core, uint64_t address, uint64_t target)
{
    Frame frame = {.format = RECORD_JUMP, .next_record = target};
    memcpy(core->bytes + address, &frame, sizeof frame);
}
