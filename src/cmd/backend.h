/*
 * The store that [storaged] and [s3] say.
 */
#ifndef CMD_BACKEND_H
#define CMD_BACKEND_H

#include "base/settings.h"
#include "store/store.h"

/** True for backend = "s3": there is no folder of ours. E_INVALID for a word that is none. */
enum status backend_is_s3(const struct settings *settings, bool *out, struct err *err) MUST_USE;
/** Open it. For s3 nothing is sent yet. */
enum status backend_open(const struct settings *settings, bool read_only, struct store **out,
                         struct err *err) MUST_USE;

#endif
