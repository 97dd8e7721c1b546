/*
 * Shared by the programs: a command line from a table, a progress bar on a terminal, Ctrl-C that
 * ends a run cleanly, and errors as sentences.
 */
#ifndef SD_EXAMPLES_CLI_H
#define SD_EXAMPLES_CLI_H

#include <sd/sd.h>
#include <stdbool.h>

typedef enum cli_kind {
    CLI_TEXT,
    CLI_INT,
    CLI_U64,
    CLI_FLOAT,
    CLI_FLAG,
    CLI_LIST,
    CLI_DOUBLE,
    CLI_SEED
} cli_kind;

/* The texts of an option that may be given many times. */
#define CLI_LIST_MAX 64
typedef struct cli_list {
    const char *items[CLI_LIST_MAX];
    int n;
} cli_list;

typedef struct cli_option {
    const char *name; /* without the dashes */
    cli_kind kind;
    void *value; /* const char **, int *, uint64_t *, float *, bool *, cli_list *, double *,
                    uint64_t * */
    const char *help;
} cli_option;

typedef struct cli_program {
    const char *name;
    const char *about;    /* a sentence or two */
    const char *operands; /* "FILE", or NULL: none are taken */
    const cli_option *options;
    int n_options;
} cli_program;

/* Fills the options' values. Returns the index of the first operand, or -1 when the program is to
 * end with *exit_code (help was asked for, or the line is wrong and that was said). */
int cli_parse(const cli_program *program, int argc, char **argv, int *exit_code);

/* Options of all programs that load a model, for the parts that come from files of their own. */
#define CLI_N_PARTS 5
void cli_part_rows(sd_model_params *params, cli_option rows[CLI_N_PARTS]);

/* "program: sentence" on standard error; returns the exit code 1 (130 when cancelled). */
int cli_fail(const char *program, sd_status status);

/* Ctrl-C (and SIGTERM) cancels what runs on `ctx`; a second one ends the process. NULL undoes it.
 */
void cli_cancel_on_interrupt(sd_context *ctx);

/* Whether Ctrl-C came: for the moments between two calls of the library. */
bool cli_interrupted(void);

/* A bar on standard error where that is a terminal; nothing in a pipe. */
typedef struct cli_progress {
    const char *what;
    double begin;
    bool shown;
} cli_progress;

void cli_progress_begin(cli_progress *p, const char *what);
void cli_progress_update(cli_progress *p, int done, int total);
void cli_progress_end(cli_progress *p);

/* Log callback: warnings and errors to standard error. */
void cli_log(void *user, sd_log_level level, const char *message);

/* Side in latents of the VAE's tiles with --tiled, a quarter of which neighbours share. */
#define CLI_TILE 64

#define CLI_PATH 4400 /* room for a path */

/* mkdir -p of a folder that can be written to. False with a sentence printed. */
bool cli_make_directory(const char *program, const char *path);

/* How many files a folder has: where the original scripts begin to count. */
int cli_count_entries(const char *dir);

/* `path` becomes PREFIX%0*d.png with the first number from `number` on that is free, which is
 * returned. */
int cli_free_path(char path[CLI_PATH], const char *prefix, int digits, int number);

/* The lines of a UTF-8 text file, whatever ends them, without a byte order mark, as one block that
 * the caller frees. NULL with a sentence printed. */
char **cli_read_lines(const char *program, const char *path, int *n_lines);

/* The largest resident memory of this process so far, in bytes; 0 where it cannot be told. */
uint64_t cli_peak_memory(void);

/* "2.13 GB" into a buffer that is returned. */
const char *cli_bytes(char *text, size_t size, uint64_t bytes);

#endif
