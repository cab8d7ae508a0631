/* What the files that processes share hold: a number that changes with it. */
#include "tracer.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

uint64_t state_of_files(const struct run *run)
{
    uint64_t state = 0xcbf29ce484222325UL;
    for (int n = 0; n < run->file_count; n++)
        state = hash_of_file(run->files[n], state);
    return state;
}

void note_change(struct run *run)
{
    uint64_t state = state_of_files(run);
    if (state != run->state && run->change_count < run->most_changes)
        run->changes[run->change_count++] = run->steps;
    run->state = state;
}
