/*
 * Any text as a client's statement: the guard says no or yes, and a yes stays one when a comment
 * and a semicolon stand around the text.
 */
#include "duck/guard_check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str sql = str_from((const char *)data, size);
    struct err err = { 0 };
    size_t count = 0;
    size_t again = 0;
    if (!str_is_utf8(sql)) {
        return 0; /* refused before the guard */
    }
    enum status first = duck_guard_check(sql, &count, &err);
    struct buf text;
    buf_init(&text, 0);
    if (first == OK && buf_append(&text, STR("/* x */ ")) == OK && buf_append(&text, sql) == OK &&
        buf_append(&text, STR("\n;")) == OK) {
        enum status second = duck_guard_check(buf_str(&text), &again, &err);
        if (second != OK || again != count) {
            abort();
        }
    }
    buf_done(&text);
    return 0;
}
