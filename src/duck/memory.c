/*
 * What DuckDB's allocator keeps.
 *
 * jemalloc, which libduckdb carries, gives freed pages back to the system when they have been free
 * for a second, but looks at them only while it is called: an engine that has nothing more to do
 * keeps them for ever, and one that works hard has as many again as it uses (measured on
 * 2026-11-26, while a CSV of 1 GiB went in: 212 MiB used, 521 MiB resident). Its memory limit
 * counts what is used only. So whoever promises a size asks for them.
 */
#include "duck/duck.h"

#include <malloc.h>
#include <stdio.h>

enum { ALL_ARENAS = 4096 }; /* jemalloc's MALLCTL_ARENAS_ALL */

/* Of libduckdb; where it was built without jemalloc there is none, and malloc is the system's. */
int duckdb_je_mallctl(const char *name, void *old, size_t *old_len, void *fresh, size_t fresh_len)
    __attribute__((weak));

void duck_memory_trim(void)
{
    char name[64];
    snprintf(name, sizeof(name), "arena.%d.purge", ALL_ARENAS);
    if (duckdb_je_mallctl == NULL || duckdb_je_mallctl(name, NULL, NULL, NULL, 0) != 0) {
        (void)malloc_trim(0);
    }
}
