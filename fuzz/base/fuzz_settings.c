/*
 * Any bytes as a settings file: it is refused with a line, or what it sets can be printed, and the
 * printed file (without what is masked) is taken again and prints the same.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct setting_def defs[] = {
    { .section = "gateway",
      .name = "bind",
      .type = SETTING_STR,
      .default_value = "x",
      .help = "." },
    { .section = "queryd",
      .name = "timeout_seconds",
      .type = SETTING_INT,
      .default_value = "300",
      .min = 1,
      .max = 3600,
      .help = "." },
    { .section = "queryd",
      .name = "memory_limit",
      .type = SETTING_BYTES,
      .default_value = "1GiB",
      .help = "." },
    { .section = "queryd",
      .name = "extensions",
      .type = SETTING_LIST,
      .default_value = "a, b",
      .help = "." },
    { .section = "http",
      .name = "allow_remote",
      .type = SETTING_BOOL,
      .default_value = "false",
      .help = "." },
    { .section = "s3api.keys",
      .name = "access_key",
      .type = SETTING_LIST,
      .default_value = "",
      .help = "." },
    { .section = "s3api.keys",
      .name = "rights",
      .type = SETTING_LIST,
      .default_value = "rw",
      .help = "." },
};

/** False: refused. */
static bool load(struct str text, struct buf *printed)
{
    char path[64];
    struct settings *settings = NULL;
    struct err err = { 0 };
    int fd = memfd_create("settings", MFD_CLOEXEC);
    assert(fd >= 0 && io_write_full(fd, text.ptr, text.len, NULL) == OK);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    assert(settings_new(defs, ARRAY_LEN(defs), &settings, NULL) == OK);
    bool taken = settings_load_file(settings, path, &err) == OK;
    assert(taken || (err.kind != OK && err.msg[0] != '\0'));
    assert(!taken || settings_print(settings, printed) == OK);
    settings_free(settings);
    close(fd);
    return taken;
}

/** The values alone: the comments say where each came from. */
static void values_only(const struct buf *printed, struct buf *out)
{
    struct str rest = buf_str(printed);
    while (rest.ptr != NULL) {
        struct str line = str_split(&rest, '\n');
        size_t comment = str_find(line, STR("  # "));
        while (comment != SIZE_MAX &&
               str_find(str_skip(line, comment + 1), STR("  # ")) != SIZE_MAX) {
            comment += 1 + str_find(str_skip(line, comment + 1), STR("  # "));
        }
        assert(buf_append(out, comment == SIZE_MAX ? line : str_take(line, comment)) == OK);
        assert(buf_append_char(out, '\n') == OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf first, second, values, again;
    buf_init(&first, 0);
    buf_init(&second, 0);
    buf_init(&values, 0);
    buf_init(&again, 0);
    if (load(str_from((const char *)data, size), &first)) {
        assert(load(buf_str(&first), &second));
        values_only(&first, &values);
        values_only(&second, &again);
        assert(str_eq(buf_str(&values), buf_str(&again)));
    }
    buf_done(&first);
    buf_done(&second);
    buf_done(&values);
    buf_done(&again);
    return 0;
}
