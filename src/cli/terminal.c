/*
 * What the terminal is and may be shown.
 */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli_priv.h"

enum { SCREEN_WIDTH_DEFAULT = 80 };

size_t cli_screen_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO)) {
        return 0;
    }
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                           : SCREEN_WIDTH_DEFAULT;
}

bool cli_redraws(int fd)
{
    const char *terminal = getenv("TERM");
    return isatty(fd) && terminal != NULL && terminal[0] != '\0' && strcmp(terminal, "dumb") != 0;
}

bool cli_paints(int fd)
{
    const char *unwanted = getenv("NO_COLOR"); /* no-color.org: set and not empty */
    return cli_redraws(fd) && (unwanted == NULL || unwanted[0] == '\0');
}
