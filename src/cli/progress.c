/*
 * The bar of an upload, on standard error:
 *
 *   flights.csv   45 %  140 MB of 310 MB  96.1 MB/s  0:02 left
 *   flights.csv  100 %  310 MB of 310 MB, the server works on it  0:04
 *   -            140 MB  96.1 MB/s                    (standard input: nobody knows how much)
 *
 * Drawn only on a terminal, at most ten times a second, and taken away at the end: what stays is
 * the line of the result.
 */
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli_priv.h"

/* chosen: an upload that is over sooner, or smaller, needs no bar; one drawn more often flickers */
enum {
    FIRST_DRAW_US = 300 * 1000,
    REDRAW_US = 100 * 1000,
    BYTES_MIN = 1024 * 1024,
    SCREEN_WIDTH_DEFAULT = 80
};

static size_t width_of_screen(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                           : SCREEN_WIDTH_DEFAULT;
}

void cli_progress_start(struct cli_progress *progress, const char *name, uint64_t total)
{
    *progress = (struct cli_progress){
        .name = name, .total = total, .start_us = clock_now_us(), .on = cli_redraws(STDERR_FILENO)
    };
}

static enum status append_rate(const struct cli_progress *progress, int64_t took_us,
                               struct arena *arena, struct buf *out)
{
    double rate = (double)progress->done / ((double)took_us / 1e6);
    struct str per_second = cli_size(arena, (uint64_t)rate);
    TRY(buf_printf(out, "  %.*s/s", STR_ARG(per_second)));
    if (progress->total <= progress->done || rate < 1) {
        return OK;
    }
    uint64_t left = (uint64_t)((double)(progress->total - progress->done) / rate) + 1;
    return buf_printf(out, "  %llu:%02llu left", (unsigned long long)(left / 60),
                      (unsigned long long)(left % 60));
}

static enum status append_line(const struct cli_progress *progress, int64_t took_us,
                               struct arena *arena, struct buf *out)
{
    struct str name = str_of(progress->name), done = cli_size(arena, progress->done);
    size_t slash = str_rfind_char(name, '/');
    TRY(cli_append_clean(out, slash == SIZE_MAX ? name : str_skip(name, slash + 1)));
    if (progress->total == 0) {
        TRY(buf_printf(out, "  %.*s", STR_ARG(done)));
        return append_rate(progress, took_us, arena, out);
    }
    struct str total = cli_size(arena, progress->total);
    TRY(buf_printf(out, "  %3d %%  %.*s of %.*s",
                   (int)(100.0 * (double)progress->done / (double)progress->total), STR_ARG(done),
                   STR_ARG(total)));
    if (progress->done < progress->total) {
        return append_rate(progress, took_us, arena, out);
    }
    return buf_append(out, STR(", the server works on it"));
}

enum status cli_progress_line(const struct cli_progress *progress, int64_t now_us,
                              size_t screen_width, struct buf *out)
{
    AUTO(arena_done) struct arena arena;
    AUTO(buf_done) struct buf line;
    arena_init(&arena, 0);
    buf_init(&line, 0);
    int64_t took_us = now_us > progress->start_us ? now_us - progress->start_us : 1;
    TRY(append_line(progress, took_us, &arena, &line));
    return buf_append(out, cli_fitting(buf_str(&line), screen_width));
}

static void draw(struct cli_progress *progress, int64_t now_us)
{
    AUTO(buf_done) struct buf line;
    buf_init(&line, 0);
    progress->drawn_us = now_us;
    /* the last column stays free: a full line would wrap */
    if (buf_append(&line, STR("\r\033[K")) == OK &&
        cli_progress_line(progress, now_us, width_of_screen() - 1, &line) == OK) {
        fwrite(line.ptr, 1, line.len, stderr);
        fflush(stderr);
        progress->drawn = true;
    }
}

void cli_progress_add(struct cli_progress *progress, size_t bytes)
{
    int64_t now_us = clock_now_us();
    /* nothing calls again while the server works on what it has */
    bool last = bytes > 0 && progress->done + bytes == progress->total &&
                progress->total >= BYTES_MIN;
    progress->done += bytes;
    bool due = now_us - progress->start_us >= FIRST_DRAW_US &&
               now_us - progress->drawn_us >= REDRAW_US;
    if (progress->on && (due || last)) {
        draw(progress, now_us);
    }
}

void cli_progress_end(struct cli_progress *progress)
{
    if (progress->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        progress->drawn = false;
    }
}
