/*
 * Every command's page: those of the clients, of the services and of the rest. Help, man page,
 * completion and docs/reference/commands.md come from here.
 */
#ifndef CMD_PAGES_H
#define CMD_PAGES_H

#include "base/settings.h"
#include "cli/page.h"

struct cmd_pages {
    const struct cli_page *const *pages; /* in the order in which they are taught */
    size_t count;
    const struct cli_option *settings; /* all settings, as options */
    size_t setting_count;
};

/** Made at the first call, for the life of the program. One thread. */
const struct cmd_pages *cmd_pages(void);
/** A setting is read by the service (or by `serve`). */
bool cmd_page_has_setting(const char *service, const struct setting_def *def);

extern const struct cli_page cmd_config_page, cmd_version_page, cmd_completion_page,
    cmd_doctor_page;

#endif
