/*
 * The prompt of `lakehouse sql`: lines are read with libedit until a statement is whole, each runs
 * in a process of its own, and the prompt is back when that has ended.
 *
 *      lakehouse> SELECT count(*)
 *            ...> FROM flights;
 *
 * Why a process: Ctrl-C then ends a statement the way it ends `lakehouse sql "..."`, whatever it is
 * doing, and nothing of it can stay behind in the prompt; its connection closes, so the server ends
 * the query. At the prompt itself Ctrl-C is a key that drops the line.
 */
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/prompt_priv.h"

/* chosen: a statement above it is refused by the server; more matches are not shown */
enum { STATEMENT_BYTES_MAX = 4 * 1024 * 1024, SHOWN_MAX = 200 };

struct prompt {
    const char *server, *format;
    struct http_client *client; /* for names */
    struct prompt_names *names;
    struct prompt_history history;
    EditLine *edit;
    History *lines;
    struct buf statement; /* what stands on the lines so far */
    bool canceled;        /* Ctrl-C at the prompt */
    bool timing, quit;
};

/* --- one job in a process of its own --- */

enum job_kind { JOB_SQL, JOB_TABLES, JOB_DESCRIBE };

struct job {
    enum job_kind kind;
    struct str text; /* a statement, or a table */
};

static enum status work(const struct prompt *prompt, struct http_client *client,
                        const struct job *job, struct err *err)
{
    switch (job->kind) {
    case JOB_SQL: {
        struct cli_question question = { .format = prompt->format, .sql = job->text };
        return cli_ask(client, &question, err);
    }
    case JOB_TABLES:
        return cli_list(client, err);
    case JOB_DESCRIBE:
        return cli_show_table(client, job->text, err);
    }
    return OK;
}

/** In the new process: does not return. */
static void work_and_exit(const struct prompt *prompt, const struct job *job)
{
    struct err err = { 0 };
    struct http_client *client = NULL;
    signal(SIGINT, SIG_DFL);
    enum status status = cli_connect(prompt->server, &client, &err);
    status = status == OK ? work(prompt, client, job, &err) : status;
    int code = status == OK ? 0 : cli_failed("sql", &err);
    fflush(NULL);
    _exit(code);
}

static void print_time(const struct prompt *prompt, int64_t took_us)
{
    bool paint = cli_paints(STDOUT_FILENO);
    if (prompt->timing) {
        printf("%s%.*f ms%s\n", paint ? "\033[2m" : "", took_us < 100000 ? 1 : 0,
               (double)took_us / 1000, paint ? "\033[0m" : "");
    }
}

static void run(struct prompt *prompt, const struct job *job)
{
    fflush(NULL);
    int64_t start = clock_now_us();
    pid_t pid = fork();
    if (pid == 0) {
        work_and_exit(prompt, job);
    }
    int state = 0;
    while (pid > 0 && waitpid(pid, &state, 0) == -1 && errno == EINTR) {
    }
    prompt_names_forget(prompt->names);
    if (pid == -1) {
        fprintf(stderr, "lakehouse sql: cannot start a process: %s\n", strerror(errno));
    } else if (WIFSIGNALED(state)) {
        fprintf(stderr, WTERMSIG(state) == SIGINT ? "\ncanceled\n" : "\nended by signal %d\n",
                WTERMSIG(state));
    } else if (job->kind == JOB_SQL) {
        print_time(prompt, clock_now_us() - start);
    }
}

/* --- libedit --- */

static char *prompt_text(EditLine *edit)
{
    /* between \1: takes no column */
    static char first[] = "lakehouse> ", more[] = "      ...> ";
    static char bold[] = "\1\033[1m\1lakehouse> \1\033[0m\1";
    struct prompt *prompt = NULL;
    el_get(edit, EL_CLIENTDATA, &prompt);
    return prompt->statement.len > 0 ? more : cli_paints(STDOUT_FILENO) ? bold : first;
}

static unsigned char on_cancel(EditLine *edit, int key)
{
    struct prompt *prompt = NULL;
    el_get(edit, EL_CLIENTDATA, &prompt);
    prompt->canceled = true;
    return CC_NEWLINE;
}

/** libedit's own handler gives the terminal back, and takes it again when the shell lets us go
 * on. */
static unsigned char on_suspend(EditLine *edit, int key)
{
    kill(0, SIGTSTP);
    return CC_REDISPLAY;
}

/** The longest beginning that all matches have. */
static struct str common(const struct prompt_matches *matches)
{
    struct str found = matches->items[0];
    for (size_t i = 1; i < matches->count; i++) {
        size_t same = 0;
        struct str item = matches->items[i];
        while (same < found.len && same < item.len && found.ptr[same] == item.ptr[same]) {
            same++;
        }
        found.len = same;
    }
    while (found.len > 0 && !str_is_utf8(found)) {
        found.len--; /* not in the middle of a character */
    }
    return found;
}

/** The matches in columns below the line. */
static void show(const struct prompt_matches *matches)
{
    size_t width = 1, screen = cli_screen_width();
    size_t count = matches->count < SHOWN_MAX ? matches->count : SHOWN_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t wide = cli_display_width(matches->items[i]) + 2;
        width = wide > width ? wide : width;
    }
    size_t columns = screen / width > 0 ? screen / width : 1,
           rows = (count + columns - 1) / columns;
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    bool fits = true;
    for (size_t i = 0; i < rows * columns && fits; i++) {
        size_t at = i % columns * rows + i / columns;
        struct str item = at < count ? matches->items[at] : STR_EMPTY;
        fits = buf_printf(&out, "%s", i % columns == 0 ? "\n" : "") == OK &&
               cli_append_clean(&out, item) == OK &&
               (item.len == 0 ||
                buf_printf(&out, "%*s", (int)(width - cli_display_width(item)), "") == OK);
    }
    printf("%.*s\n", (int)out.len, out.ptr);
    if (count < matches->count) {
        printf("... and %zu more\n", matches->count - count);
    }
    fflush(stdout);
}

/** Put `text` in the place of the word at the cursor. */
static unsigned char replace(EditLine *edit, size_t bytes, struct str text, bool whole)
{
    char *copy = strndup(text.ptr, text.len);
    if (copy == NULL) {
        return CC_ERROR;
    }
    const LineInfo *line = el_line(edit);
    size_t characters = 0; /* libedit deletes characters, not bytes */
    for (const char *c = line->cursor - bytes; c < line->cursor; c++) {
        characters += ((unsigned char)*c & 0xc0) != 0x80;
    }
    el_deletestr(edit, (int)characters);
    bool done = el_insertstr(edit, copy) == 0 && (!whole || el_insertstr(edit, " ") == 0);
    free(copy);
    return done ? CC_REFRESH : CC_REFRESH_BEEP;
}

static unsigned char complete(struct prompt *prompt, EditLine *edit,
                              const struct prompt_matches *matches)
{
    const LineInfo *line = el_line(edit);
    size_t typed = (size_t)(line->cursor - line->buffer);
    if (matches->count == 0 || matches->replace > typed) {
        return CC_REFRESH_BEEP;
    }
    struct str same = common(matches);
    struct str word = str_from(line->cursor - matches->replace, matches->replace);
    if (matches->count == 1 || same.len > word.len) {
        return replace(edit, matches->replace, same, matches->count == 1);
    }
    show(matches);
    return CC_REDISPLAY;
}

static unsigned char on_tab(EditLine *edit, int key)
{
    struct prompt *prompt = NULL;
    struct prompt_matches matches;
    AUTO(buf_done) struct buf text;
    el_get(edit, EL_CLIENTDATA, &prompt);
    const LineInfo *line = el_line(edit);
    buf_init(&text, 0);
    if (buf_append(&text, buf_str(&prompt->statement)) != OK ||
        buf_append_bytes(&text, line->buffer, (size_t)(line->cursor - line->buffer)) != OK) {
        return CC_REFRESH_BEEP;
    }
    struct str behind = str_from(line->cursor, (size_t)(line->lastchar - line->cursor));
    bool asked = prompt_names_match(prompt->names, buf_str(&text), behind, &matches) == OK;
    unsigned char answer = asked ? complete(prompt, edit, &matches) : CC_REFRESH_BEEP;
    prompt_matches_done(&matches);
    return answer;
}

static void remember(void *ctx, const char *entry)
{
    HistEvent event;
    history(((struct prompt *)ctx)->lines, &event, H_ENTER, entry);
}

static enum status open_editor(struct prompt *prompt, struct err *err)
{
    HistEvent event;
    /* UTF-8 can be typed whatever the user's locale is: that of C.UTF-8 is always there */
    if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
    prompt->edit = el_init("lakehouse", stdin, stdout, stderr);
    prompt->lines = history_init();
    if (prompt->edit == NULL || prompt->lines == NULL) {
        return err_set(err, E_INTERNAL, "the terminal cannot be used for a prompt");
    }
    history(prompt->lines, &event, H_SETSIZE, HISTORY_ENTRIES_MAX);
    history(prompt->lines, &event, H_SETUNIQUE, 1);
    el_set(prompt->edit, EL_CLIENTDATA, prompt);
    el_set(prompt->edit, EL_PROMPT_ESC, prompt_text, '\1');
    el_set(prompt->edit, EL_SIGNAL, 1); /* a screen that changes its size */
    el_set(prompt->edit, EL_HIST, history, prompt->lines);
    el_set(prompt->edit, EL_EDITOR, "emacs");
    /* el_set would copy the names and never free them */
    el_wset(prompt->edit, EL_ADDFN, L"lakehouse-complete", L"complete a name", on_tab);
    el_wset(prompt->edit, EL_ADDFN, L"lakehouse-cancel", L"drop the statement", on_cancel);
    el_wset(prompt->edit, EL_ADDFN, L"lakehouse-suspend", L"back to the shell", on_suspend);
    el_source(prompt->edit, NULL); /* the user's ~/.editrc; a missing one is fine */
    el_set(prompt->edit, EL_BIND, "^I", "lakehouse-complete", NULL);
    el_set(prompt->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(prompt->edit, EL_SETTY, "-d", "-isig", NULL); /* Ctrl-C and Ctrl-Z are keys */
    el_set(prompt->edit, EL_BIND, "^C", "lakehouse-cancel", NULL);
    el_set(prompt->edit, EL_BIND, "^Z", "lakehouse-suspend", NULL);
    prompt_history_open(&prompt->history);
    prompt_history_load(&prompt->history, remember, prompt);
    return OK;
}

/* --- lines --- */

static const char help[] =
    "A statement ends with a semicolon, on as many lines as it wants.\n"
    "\n"
    "  \\d           list the tables (also \\dt)\n"
    "  \\d TABLE     show a table's columns and size\n"
    "  \\timing      show or hide how long a statement took\n"
    "  \\q           leave (also Ctrl-D)\n"
    "  \\?           this help\n"
    "\n"
    "Tab completes names; Ctrl-R searches the history; Ctrl-C drops the line, or ends the\n"
    "statement that runs, here and on the server.\n";

static struct str unquoted(struct str name)
{
    bool quoted = name.len >= 2 && name.ptr[0] == '"' && name.ptr[name.len - 1] == '"';
    return quoted ? str_from(name.ptr + 1, name.len - 2) : name;
}

/** `\d TABLE` and its like. */
static void obey(struct prompt *prompt, struct str line)
{
    struct str rest = line;
    struct str word = str_split(&rest, ' ');
    struct str what = rest.ptr != NULL ? unquoted(str_trim(rest)) : STR_EMPTY;
    while (what.len > 0 && what.ptr[what.len - 1] == ';') {
        what.len--;
    }
    if (str_eq(word, STR("\\q"))) {
        prompt->quit = true;
    } else if (str_eq(word, STR("\\?")) || str_eq(word, STR("\\h"))) {
        fputs(help, stdout);
    } else if (str_eq(word, STR("\\timing"))) {
        prompt->timing = !prompt->timing;
        printf("timing is %s\n", prompt->timing ? "on" : "off");
    } else if (str_eq(word, STR("\\d")) && what.len > 0) {
        run(prompt, &(struct job){ .kind = JOB_DESCRIBE, .text = what });
    } else if (str_eq(word, STR("\\d")) || str_eq(word, STR("\\dt"))) {
        run(prompt, &(struct job){ .kind = JOB_TABLES });
    } else {
        fprintf(stderr, "unknown command \"%.*s\"; \\? lists them\n", STR_ARG(word));
    }
}

/** Whole statements of what has been typed are run; the rest waits for more lines. */
static void run_whole(struct prompt *prompt)
{
    struct cli_scan scan;
    for (;;) {
        struct str text = buf_str(&prompt->statement);
        cli_statement_scan(text, &scan);
        if (scan.end == SIZE_MAX) {
            break;
        }
        if (!scan.blank) {
            run(prompt, &(struct job){ .kind = JOB_SQL, .text = str_take(text, scan.end - 1) });
        }
        buf_consume(&prompt->statement, scan.end);
    }
    if (scan.blank && scan.place == CLI_IN_CODE) {
        buf_clear(&prompt->statement);
    }
}

/** A history entry is what was typed until it was whole, on its lines. */
static void keep(struct prompt *prompt, struct str typed)
{
    AUTO(buf_done) struct buf entry;
    buf_init(&entry, 0);
    typed = str_trim(typed);
    if (typed.len == 0 || buf_append(&entry, typed) != OK || buf_cstr(&entry) == NULL) {
        return;
    }
    remember(prompt, buf_cstr(&entry));
    prompt_history_add(&prompt->history, typed);
}

static void take_line(struct prompt *prompt, struct str line)
{
    struct str words = str_trim(line);
    if (prompt->statement.len == 0) {
        bool leave = str_eq_nocase(words, STR("exit")) || str_eq_nocase(words, STR("quit"));
        if (leave || str_starts(words, STR("\\"))) {
            keep(prompt, words);
            obey(prompt, leave ? STR("\\q") : words);
            return;
        }
        if (str_eq_nocase(words, STR("help"))) {
            fputs(help, stdout);
            return;
        }
    }
    if (buf_append(&prompt->statement, line) != OK) {
        fprintf(stderr, "lakehouse sql: the statement is too long\n");
        buf_clear(&prompt->statement);
        return;
    }
    struct cli_scan scan;
    cli_statement_scan(buf_str(&prompt->statement), &scan);
    if (scan.end != SIZE_MAX) {
        keep(prompt, buf_str(&prompt->statement));
        run_whole(prompt);
    } else if (scan.blank && scan.place == CLI_IN_CODE) {
        buf_clear(&prompt->statement);
    }
}

static void read_lines(struct prompt *prompt)
{
    while (!prompt->quit) {
        int count = 0;
        /* before the prompt is shown: what is typed at once is a key already */
        el_set(prompt->edit, EL_PREP_TERM, 1);
        const char *line = el_gets(prompt->edit, &count);
        if (prompt->canceled) {
            prompt->canceled = false;
            buf_clear(&prompt->statement);
            printf("^C\n");
            continue;
        }
        if (line == NULL || count <= 0) {
            printf("\n");
            return;
        }
        take_line(prompt, str_from(line, (size_t)count));
    }
}

static enum status greet(const struct prompt *prompt, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(cli_get_json(prompt->client, STR("/health"), 0, &doc, err));
    const char *version = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "version"));
    printf("lakehouse %s; statements end with a semicolon, \\? helps, \\q leaves\n",
           version != NULL ? version : "");
    return OK;
}

int cli_prompt(const char *server_option, const char *format)
{
    struct err err = { 0 };
    struct prompt prompt = { .server = server_option, .format = format, .timing = true };
    buf_init(&prompt.statement, STATEMENT_BYTES_MAX);
    if (cli_connect(server_option, &prompt.client, &err) != OK) {
        return cli_usage("sql", "%s", err.msg);
    }
    enum status status = greet(&prompt, &err);
    status = status == OK ? prompt_names_new(prompt.client, &prompt.names, &err) : status;
    status = status == OK ? open_editor(&prompt, &err) : status;
    if (status == OK) {
        signal(SIGINT, SIG_IGN); /* at the prompt it is a key, and else it is for the statement */
        read_lines(&prompt);
    }
    if (prompt.edit != NULL) {
        el_end(prompt.edit);
    }
    if (prompt.lines != NULL) {
        history_end(prompt.lines);
    }
    prompt_names_free(prompt.names);
    http_client_free(prompt.client);
    buf_done(&prompt.statement);
    return status == OK ? 0 : cli_failed("sql", &err);
}
