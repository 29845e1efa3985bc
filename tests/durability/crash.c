/* One folder is prepared for a workload, and copied for each of its points. */
#include "crash.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

bool crash_wrong(struct crash_run *run, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(run->why, sizeof(run->why), format, args);
    va_end(args);
    return false;
}

static bool open_run(struct crash_run *run)
{
    struct poly_session_options all = {.rights = POLY_RIGHTS_ALL};

    run->instance = NULL;
    run->session = NULL;
    if (lab_try_open(run->data, run->workload->config, &run->instance, &run->err) != POLY_OK)
        return crash_wrong(run, "it does not open again: %s", run->err.message);
    if (poly_session_open(run->instance, &all, &run->session, &run->err) != POLY_OK)
        return crash_wrong(run, "session: %s", run->err.message);
    return true;
}

static void close_run(struct crash_run *run)
{
    poly_session_close(run->session);
    poly_close(run->instance);
    run->session = NULL;
    run->instance = NULL;
}

/* --- the process that dies --- */

static enum poly_status all_steps(struct crash_run *run)
{
    for (unsigned i = 1; i <= run->workload->steps; i++) {
        enum poly_status status;

        atomic_store(&run->page->begun[0], i);
        status = run->workload->step(run, i);
        if (status != POLY_OK)
            return status;
        atomic_store(&run->page->acked[0], i);
        poly_session_reset(run->session);
    }
    return POLY_OK;
}

static void child(struct crash_run *run, const struct fault_plan *plan, uint64_t *calls)
{
    enum poly_status status;

    if (run->workload->from_open)
        fault_arm(plan);
    if (!open_run(run)) {
        fprintf(stderr, "%s: %s\n", run->workload->name, run->why);
        _exit(1);
    }
    if (!run->workload->from_open)
        fault_arm(plan);
    if (run->recovering) {
        close_run(run);
        status = POLY_OK;
    } else {
        status = run->workload->work != NULL ? run->workload->work(run) : all_steps(run);
    }
    *calls = fault_count();
    if (status != POLY_OK)
        fprintf(stderr, "%s: %s\n", run->workload->name, run->err.message);
    _exit(status == POLY_OK ? 0 : 1);
}

static int spawn(struct crash_run *run, const struct fault_plan *plan, uint64_t *calls)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        child(run, plan, calls);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* --- the one that looks --- */

static bool steps_are_right(struct crash_run *run, uint64_t *done)
{
    uint64_t begun = atomic_load(&run->page->begun[0]), acked = atomic_load(&run->page->acked[0]);

    *done = lab_stream_version(run->session, "step-1");
    if (*done < acked)
        return crash_wrong(run, "%llu steps were acknowledged, %llu are there",
                           (unsigned long long)acked, (unsigned long long)*done);
    if (*done > begun)
        return crash_wrong(run, "%llu steps were begun, %llu are there", (unsigned long long)begun,
                           (unsigned long long)*done);
    return true;
}

static bool all_is_well(struct crash_run *run)
{
    const struct crash_workload *workload = run->workload;
    char why[CRASH_WHY - 100];
    uint64_t done = 0, position;

    if (workload->step != NULL && !steps_are_right(run, &done))
        return false;
    position = lab_verify(run->session, why, sizeof(why));
    if (position != 0)
        return crash_wrong(run, "log verify: %llu: %s", (unsigned long long)position, why);
    if (workload->check != NULL && !workload->check(run, done))
        return false;
    if (!lab_settled(run->session, why, sizeof(why)))
        return crash_wrong(run, "projections: %s", why);
    if (!crash_documents_match(run))
        return false;
    /* And it goes on working. */
    if (workload->step != NULL && done < workload->steps &&
        workload->step(run, (unsigned)done + 1) != POLY_OK)
        return crash_wrong(run, "the next step fails: %s", run->err.message);
    return true;
}

static bool look(struct crash_run *run)
{
    bool well = open_run(run) && all_is_well(run);

    close_run(run);
    return well;
}

/* --- a sweep --- */

static bool make_template(struct crash_run *run)
{
    const struct crash_workload *workload = run->workload;
    struct fault_plan none = {.fault = FAULT_COUNT};
    uint64_t calls;
    bool well = true;

    if (workload->seed != NULL) {
        well = open_run(run) && workload->seed(run) == POLY_OK;
        if (!well)
            crash_wrong(run, "seed: %.400s", run->err.message);
        close_run(run);
    }
    if (well && workload->unclean && spawn(run, &none, &calls) != 0)
        well = crash_wrong(run, "the first process failed");
    return well;
}

static void one_point(struct crash_run *run, const struct fault_plan *plan, const char *template,
                      struct crash_tally *tally)
{
    uint64_t calls;
    int code;

    lab_folder_copy(template, run->data);
    memset(run->page, 0, sizeof(*run->page));
    if (run->workload->unclean) { /* the first process did them all */
        atomic_store(&run->page->begun[0], run->workload->steps);
        atomic_store(&run->page->acked[0], run->workload->steps);
    }
    code = spawn(run, plan, &calls);
    if (code == 0) /* it needed fewer calls this time: threads */
        return;
    tally->points++;
    if (code != FAULT_EXIT)
        crash_wrong(run, "the process ended with %d", code);
    else if (look(run))
        return;
    if (tally->bad++ == 0)
        snprintf(tally->first, sizeof(tally->first), "%s, fault %d at call %llu: %.480s",
                 run->workload->name, (int)plan->fault, (unsigned long long)plan->at, run->why);
}

void crash_sweep(const struct crash_workload *workload, const struct fault_plan *plan,
                 uint64_t max_points, struct crash_tally *tally)
{
    size_t size = sizeof(struct crash_page) + sizeof(uint64_t);
    struct crash_run run = {.workload = workload}, first = {.workload = workload};
    struct fault_plan now = {.fault = FAULT_COUNT};
    uint64_t *calls;

    run.page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run.page == MAP_FAILED)
        abort();
    calls = (uint64_t *)(run.page + 1);
    first.page = run.page;
    lab_folder_make(first.data);
    lab_folder_make(run.data);
    *calls = 0;
    run.recovering = workload->unclean;
    if (!make_template(&first)) {
        tally->bad++;
        snprintf(tally->first, sizeof(tally->first), "%s: %.500s", workload->name, first.why);
    } else {
        lab_folder_copy(first.data, run.data);
        if (spawn(&run, &now, calls) != 0 || *calls == 0) {
            tally->bad++;
            snprintf(tally->first, sizeof(tally->first), "%s: it fails when nothing fails",
                     workload->name);
        }
    }

    uint64_t every = *calls > max_points ? *calls / max_points : 1;

    tally->calls += *calls;
    now = *plan;
    for (uint64_t at = 1 + plan->seed % every; at <= *calls; at += every) {
        now.at = at;
        now.seed = plan->seed * 1000003 + at;
        one_point(&run, &now, first.data, tally);
    }
    lab_folder_remove(first.data);
    lab_folder_remove(run.data);
    munmap(run.page, size);
}
