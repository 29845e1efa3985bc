#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { INTERVAL_US = 100 * 1000, WIDTH = 30, SECOND_US = 1000 * 1000 };

void cli_progress_open(struct cli_progress *progress, const char *what, bool quiet)
{
    *progress = (struct cli_progress){
        .what = quiet || !isatty(STDERR_FILENO) ? NULL : what,
        .started = poly_clock_monotonic(),
    };
}

void cli_progress_format(char *text, int size, uint64_t done, uint64_t total, int width)
{
    int filled, at = 0;

    if (done > total)
        done = total;
    filled = total == 0 ? 0 : (int)((double)done / (double)total * width);
    if (at < size - 1)
        text[at++] = '[';
    for (int i = 0; i < width && at < size - 1; i++)
        text[at++] = i < filled ? '#' : '.';
    text[at] = '\0';
    if (at < size)
        snprintf(text + at, (size_t)(size - at), "] %3d %%",
                 total == 0 ? 0 : (int)((double)done / (double)total * 100));
}

/* How long the rest takes at the pace so far: " 3 s left". Not known: nothing. */
static void format_rest(char *text, size_t size, double seconds, uint64_t done, uint64_t total)
{
    text[0] = '\0';
    if (done == 0 || done > total)
        return;
    double left = seconds * ((double)(total - done) / (double)done);

    if (left < 90)
        snprintf(text, size, "  %d s left", (int)left + (done < total));
    else
        snprintf(text, size, "  %.0f min left", left / 60);
}

void cli_progress_tell(struct cli_progress *progress, uint64_t done, uint64_t total, uint64_t count)
{
    int64_t now = poly_clock_monotonic();
    char bar[WIDTH + 16] = "", rest[48];

    if (progress->what == NULL || now < progress->next)
        return;
    progress->next = now + INTERVAL_US;
    progress->shown = true;
    double seconds = (double)(now - progress->started) / SECOND_US;

    if (total > 0)
        cli_progress_format(bar, sizeof(bar), done, total, WIDTH);
    format_rest(rest, sizeof(rest), seconds, done, total);
    fprintf(stderr, "\r%s %s  %" PRIu64 "  %.0f/s%s\033[K", progress->what, bar, count,
            seconds > 0 ? (double)count / seconds : 0, rest);
    fflush(stderr);
}

void cli_progress_close(struct cli_progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
    progress->what = NULL;
}
