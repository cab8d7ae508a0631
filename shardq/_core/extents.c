/* Memory for messages: see `shm/memory/extents.py` and `shm/memory/reserve.py`. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core.h"

static bool locate(const Core *core, uint64_t address, Extent *found)
{
    for (int number = core->at.class_count - 1; number >= 0; number--) {
        const ExtentClass *its = &core->at.classes[number];
        if (address < its->base)
            continue;
        uint64_t index = (address - its->base) / its->size;
        if (index >= its->count)
            return false;
        *found = (Extent){.number = its->first + index, .start = its->base + index * its->size, .size = its->size};
        found->class_number = number;
        return true;
    }
    return false;
}

static void read_backed(const Core *core, Extent *extent)
{
    uint64_t backed = load(core, core->at.extent_backed_word + extent->number);
    extent->punched = backed & EXTENT_PUNCHED;
    extent->backed = backed & ~(uint64_t)EXTENT_PUNCHED;
}

/* The extent around the address of a record: it is lent, and a record's header there has memory. */
bool extent_around(const Core *core, uint64_t address, Extent *found)
{
    if ((address & 7) || !locate(core, address, found))
        return false;
    read_backed(core, found);
    if (found->backed > found->size || !load_byte(core, core->at.extent_map + found->number))
        return false;
    return address + RECORD_HEADER_BYTES <= found->start + found->backed;
}

/* The lowest free extent for so many bytes, of the class `at_least` or above. `taken`: of each class, how many of the
   lowest extents are lent or promised. */
bool extent_free(const Core *core, uint64_t nbytes, int at_least, uint64_t *taken, Extent *found)
{
    int last = core->at.class_count - 1;
    for (int number = at_least < last ? at_least : last; number <= last; number++) {
        const ExtentClass *its = &core->at.classes[number];
        if (its->size < nbytes)
            continue;
        const uint8_t *map = core->bytes + core->at.extent_map + its->first;
        const uint8_t *free = memchr(map + taken[number], 0, its->count - taken[number]);
        taken[number] = free ? (uint64_t)(free - map) + 1 : its->count;
        if (!free)
            continue;
        uint64_t index = (uint64_t)(free - map);
        *found = (Extent){.number = its->first + index, .start = its->base + index * its->size, .size = its->size};
        found->class_number = number;
        read_backed(core, found);
        return !found->punched && found->backed <= found->size;
    }
    return false;
}

/* The tube entry + 1 that the extent was lent to. */
uint64_t extent_owner(const Core *core, const Extent *extent)
{
    return load(core, core->at.extent_owners_word + extent->number);
}

/* How much memory an extent gets that has to have so many bytes. */
uint64_t extent_goal(const Extent *extent, uint64_t nbytes)
{
    uint64_t step = least(largest(extent->backed, AT_PAGE), EXTENT_LARGEST_STEP);
    return least(extent->size, largest(whole_pages(nbytes), extent->backed + step));
}

/* Memory that the segment takes beside its reserve and what its processes count. */
static bool used_bytes(const Core *core, uint64_t *used)
{
    struct stat file;
    if (fstat(core->segment_file, &file) != 0)
        return false;
    uint64_t taken = (uint64_t)file.st_blocks * 512;
    uint64_t beside = load(core, AT_RESERVED_BYTES) + load(core, AT_TALLIES_BYTES);
    if (beside > taken)
        return false;
    *used = taken - beside;
    return true;
}

bool memory_is_scarce(const Core *core)
{
    uint64_t used;
    return !used_bytes(core, &used) || 2 * used > core->at.storing_bytes;
}

/* What an operation with this share leaves in the reserve. */
static uint64_t left_in_reserve(const Core *core, int share)
{
    uint64_t kept = largest(core->reserve_half, load(core, AT_KEPT_BYTES));
    if (share == AT_FOLLOW_UP)
        return kept;
    return kept + largest(core->reserve_half, load(core, AT_WANTED_BYTES));
}

/* Whether there is plenty of memory, also once the segment has so much more. Where it becomes scarce, Python decides
   who gets it. */
bool memory_allows(const Core *core, uint64_t more_bytes, int share)
{
    uint64_t used, capacity = core->at.storing_bytes, left = left_in_reserve(core, share);
    uint64_t reserved = load(core, AT_RESERVED_BYTES);
    if (left > capacity || reserved < left || reserved > capacity || !used_bytes(core, &used))
        return false;
    used += more_bytes;
    return 2 * used <= capacity && used <= capacity - left && used <= capacity - reserved;
}

void extent_lend(Core *core, const Extent *extent, uint64_t tube)
{
    /* The owner before the byte: the owner word of an extent that is marked as lent is always right. */
    store(core, core->at.extent_owners_word + extent->number, tube + 1);
    store_byte(core, core->at.extent_map + extent->number, 1);
}

/* Give the extent memory up to `goal` bytes. False: /dev/shm has none. */
bool extent_grow(Core *core, const Extent *extent, uint64_t goal)
{
    off_t start = (off_t)(extent->start + extent->backed), nbytes = (off_t)(goal - extent->backed);
    if (posix_fallocate(core->segment_file, start, nbytes) != 0)
        return false;
    store(core, core->at.extent_backed_word + extent->number, goal | (extent->punched ? EXTENT_PUNCHED : 0));
    return true;
}
