/*
 * The table of settings: every name, type, default and word of help that the program knows. Flags,
 * environment, file, `--help` and docs/reference/settings.md come from it.
 */
#ifndef CMD_OPTIONS_H
#define CMD_OPTIONS_H

#include "base/settings.h"

extern const struct setting_def option_defs[];
extern const size_t option_count;

/**
 * Defaults, then `-config FILE` (taken out of argv; without it ./lakehouse.toml is NOT read), the
 * environment, the flags. argv begins with the command's own word; what is left behind it are plain
 * words. E_INVALID with one clear line.
 */
enum status options_load(int *argc, char **argv, struct settings **out, struct err *err) MUST_USE;

#endif
