/* The command line, the progress bar, Ctrl-C and errors of the programs. */
#define _GNU_SOURCE /* getopt_long */

#include "cli.h"

#include "peak.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_OPTIONS 96
#define FIRST 256 /* of the options' values: characters are getopt's own, '?' among them */
#define HELP (FIRST + MAX_OPTIONS)

/* ------------------------------------------------------------------------- command line */

static void print_default(const cli_option *o) {
    switch (o->kind) {
    case CLI_TEXT:
        if (*(const char **)o->value)
            printf(" [%s]", *(const char **)o->value);
        break;
    case CLI_INT:
        printf(" [%d]", *(int *)o->value);
        break;
    case CLI_U64:
    case CLI_SEED:
        printf(" [%llu]", (unsigned long long)*(uint64_t *)o->value);
        break;
    case CLI_FLOAT:
        if (isfinite(*(float *)o->value))
            printf(" [%g]", (double)*(float *)o->value);
        break;
    case CLI_DOUBLE:
        printf(" [%g]", *(double *)o->value);
        break;
    case CLI_FLAG:
    case CLI_LIST:
        break;
    }
}

static void print_help(const cli_program *p) {
    static const char *const kinds[] = {"TEXT", "N", "N", "X", "", "TEXT", "X", "N"};
    printf("usage: %s [options]%s%s\n\n%s\n\n", p->name, p->operands ? " " : "",
           p->operands ? p->operands : "", p->about);
    for (int i = 0; i < p->n_options; i++) {
        const cli_option *o = &p->options[i];
        int width = printf("  --%s %s", o->name, kinds[o->kind]);
        printf("%*s%s", width < 24 ? 24 - width : 1, "", o->help);
        print_default(o);
        printf("\n");
    }
    printf("  --help                this text\n");
}

/* A seed of 32 bits, as the web UIs have them. */
static uint64_t random_seed(void) {
    uint32_t seed;
    FILE *random = fopen("/dev/urandom", "rb");
    if (!random || fread(&seed, sizeof seed, 1, random) != 1)
        seed = (uint32_t)(peak_clock() * 1e6) ^ (uint32_t)getpid() << 16;
    if (random)
        fclose(random);
    return seed;
}

/* -1 is a random seed, which is said so that the picture can be had again. */
static bool read_seed(uint64_t *value, const char *text) {
    char *end = NULL;
    if (!strcmp(text, "-1")) {
        *value = random_seed();
        fprintf(stderr, "seed: %llu\n", (unsigned long long)*value);
        return true;
    }
    *value = strtoull(text, &end, 10);
    return !errno && end != text && !*end && text[0] != '-';
}

static bool read_value(const cli_option *o, const char *text) {
    char *end = NULL;
    errno = 0;
    switch (o->kind) {
    case CLI_TEXT:
        *(const char **)o->value = text;
        return true;
    case CLI_FLAG:
        *(bool *)o->value = true;
        return true;
    case CLI_INT: {
        long n = strtol(text, &end, 10);
        *(int *)o->value = (int)n;
        return !errno && end != text && !*end && n >= -2147483647L && n <= 2147483647L;
    }
    case CLI_U64:
        *(uint64_t *)o->value = strtoull(text, &end, 10);
        return !errno && end != text && !*end && text[0] != '-';
    case CLI_SEED:
        return read_seed(o->value, text);
    case CLI_FLOAT:
        *(float *)o->value = strtof(text, &end);
        return end != text && !*end && isfinite(*(float *)o->value);
    case CLI_DOUBLE:
        *(double *)o->value = strtod(text, &end);
        return end != text && !*end && isfinite(*(double *)o->value);
    case CLI_LIST: {
        cli_list *list = o->value;
        if (list->n == CLI_LIST_MAX)
            return false;
        list->items[list->n++] = text;
        return true;
    }
    }
    return false;
}

int cli_parse(const cli_program *p, int argc, char **argv, int *exit_code) {
    struct option table[MAX_OPTIONS + 2] = {{0}};
    for (int i = 0; i < p->n_options; i++)
        table[i] = (struct option){p->options[i].name,
                                   p->options[i].kind == CLI_FLAG ? no_argument : required_argument,
                                   NULL, FIRST + i};
    table[p->n_options] = (struct option){"help", no_argument, NULL, HELP};
    *exit_code = 2;
    int found;
    while ((found = getopt_long(argc, argv, "h", table, NULL)) != -1) {
        if (found == HELP || found == 'h') {
            print_help(p);
            *exit_code = 0;
            return -1;
        }
        if (found < FIRST) {
            fprintf(stderr, "%s --help lists the options\n", p->name);
            return -1;
        }
        if (!read_value(&p->options[found - FIRST], optarg)) {
            const char *text = "a number was expected";
            if (p->options[found - FIRST].kind == CLI_LIST)
                text = "it was given too often";
            fprintf(stderr, "%s: --%s '%s': %s\n", p->name, p->options[found - FIRST].name, optarg,
                    text);
            return -1;
        }
    }
    if (!p->operands && optind < argc) {
        fprintf(stderr, "%s: '%s' was not expected; %s --help lists the options\n", p->name,
                argv[optind], p->name);
        return -1;
    }
    return optind;
}

void cli_part_rows(sd_model_params *params, cli_option rows[CLI_N_PARTS]) {
    const cli_option parts[CLI_N_PARTS] = {
        {"unet", CLI_TEXT, &params->unet,
         "a file or folder whose UNet takes the place of the checkpoint's"},
        {"vae", CLI_TEXT, &params->vae, "one whose VAE does"},
        {"text_encoder", CLI_TEXT, &params->text_encoder, "one whose text encoder does"},
        {"text_encoder_2", CLI_TEXT, &params->text_encoder_2, "one whose second one does (SDXL)"},
        {"taesd", CLI_TEXT, &params->taesd,
         "small autoencoder (TAESD, TAESDXL) of the model's latents: a file or diffusers' folder"},
    };
    memcpy(rows, parts, sizeof parts);
}

int cli_fail(const char *program, sd_status status) {
    const char *sentence = sd_last_error();
    fprintf(stderr, "%s: %s\n", program, *sentence ? sentence : sd_status_string(status));
    return status == SD_ERROR_CANCELLED ? 130 : 1;
}

void cli_log(void *user, sd_log_level level, const char *message) {
    (void)user;
    const char *name = level == SD_LOG_LEVEL_ERROR  ? "error: "
                       : level == SD_LOG_LEVEL_WARN ? "warning: "
                                                    : "";
    fprintf(stderr, "%s%s\n", name, message);
}

/* ------------------------------------------------------------------------------ Ctrl-C */

static sd_context *volatile interrupted_context;
static volatile sig_atomic_t interrupted;

bool cli_interrupted(void) {
    return interrupted != 0;
}

static void on_interrupt(int signal_number) {
    interrupted = 1;
    sd_context *ctx = interrupted_context;
    if (ctx)
        sd_context_cancel(ctx);
    signal(signal_number, SIG_DFL);
}

void cli_cancel_on_interrupt(sd_context *ctx) {
    interrupted_context = ctx;
    struct sigaction action = {.sa_handler = ctx ? on_interrupt : SIG_DFL, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---------------------------------------------------------------------------- progress */

#define BAR 30

void cli_progress_begin(cli_progress *p, const char *what) {
    *p = (cli_progress){what, peak_clock(), isatty(STDERR_FILENO) == 1};
}

void cli_progress_update(cli_progress *p, int done, int total) {
    if (!p->shown || total <= 0)
        return;
    double seconds = peak_clock() - p->begin;
    char bar[BAR + 1];
    int filled = (int)((long)done * BAR / total);
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)filled);
    bar[BAR] = '\0';
    double each = done ? seconds / done : 0;
    fprintf(stderr, "\r%s [%s] %d/%d", p->what, bar, done, total);
    if (done)
        fprintf(stderr, "  %.2f s/step, %.0f s left \033[K", each, each * (total - done));
    fflush(stderr);
}

void cli_progress_end(cli_progress *p) {
    if (p->shown)
        fprintf(stderr, "\r\033[K");
}

/* ------------------------------------------------------------------------------- files */

bool cli_make_directory(const char *program, const char *path) {
    char part[4096];
    size_t n = strlen(path);
    if (n >= sizeof part) {
        fprintf(stderr, "%s: %s: the path is too long\n", program, path);
        return false;
    }
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            fprintf(stderr, "%s: cannot make the directory %s: %s\n", program, part,
                    strerror(errno));
            return false;
        }
    }
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        errno = ENOTDIR;
    else if (access(path, W_OK | X_OK) == 0)
        return true;
    fprintf(stderr, "%s: cannot write to %s: %s\n", program, path, strerror(errno));
    return false;
}

/* len(os.listdir(dir)) */
int cli_count_entries(const char *dir) {
    int n = 0;
    DIR *folder = opendir(dir);
    if (!folder)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(folder);
    return n;
}

int cli_free_path(char path[CLI_PATH], const char *prefix, int digits, int number) {
    struct stat st;
    for (; number < INT_MAX; number++) {
        int n = snprintf(path, CLI_PATH, "%s%0*d.png", prefix, digits, number);
        if (n < 0 || n >= CLI_PATH || lstat(path, &st) != 0)
            break; /* also where it cannot be looked at: saving will say why */
    }
    return number;
}

/* The whole file with a NUL at its end. */
static char *read_text(FILE *file, size_t *n) {
    char *text = NULL;
    size_t size = 0, room = 0;
    do {
        room = room ? 2 * room : 4096;
        char *more = realloc(text, room);
        if (!more)
            break;
        text = more;
        size += fread(text + size, 1, room - size - 1, file);
        text[size] = '\0';
        if (size < room - 1 && !ferror(file)) {
            *n = size;
            return text;
        }
    } while (!ferror(file));
    free(text);
    return NULL;
}

/* Bytes of the line end at `at`, 0 where there is none: those of Python's splitlines, which the
 * original scripts call. */
static size_t line_end(const char *at) {
    static const char *const ends[] = {"\r\n",     "\n",           "\r",          "\v",
                                       "\f",       "\x1c",         "\x1d",        "\x1e",
                                       "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (!strncmp(at, ends[i], strlen(ends[i])))
            return strlen(ends[i]);
    return 0;
}

/* Pointers to the lines of `text`, and the text itself, in one block. A last line without an end
 * counts. */
static char **split_lines(const char *text, int *n_lines) {
    size_t n = 0, size = strlen(text);
    for (const char *p = text; *p; n++) {
        while (*p && !line_end(p))
            p++;
        p += line_end(p);
    }
    char **lines = malloc((n + 1) * sizeof *lines + size + 1);
    if (!lines)
        return NULL;
    char *at = (char *)(lines + n + 1);
    memcpy(at, text, size + 1);
    for (size_t i = 0; i < n; i++) {
        lines[i] = at;
        while (*at && !line_end(at))
            at++;
        size_t length = line_end(at);
        *at = '\0';
        at += length;
    }
    lines[n] = NULL;
    *n_lines = (int)n;
    return lines;
}

char **cli_read_lines(const char *program, const char *path, int *n_lines) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: cannot open %s: %s\n", program, path, strerror(errno));
        return NULL;
    }
    size_t size = 0;
    char *text = read_text(file, &size), **lines = NULL;
    fclose(file);
    if (text && strlen(text) != size) { /* every ASCII letter of UTF-16 has a zero beside it */
        fprintf(stderr, "%s: %s is no UTF-8 text: it has zero bytes%s\n", program, path,
                !memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2)
                    ? " (UTF-16? save it as UTF-8)"
                    : "");
    } else {
        size_t mark = text && !strncmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
        lines = text ? split_lines(text + mark, n_lines) : NULL;
        if (!lines)
            fprintf(stderr, "%s: cannot read %s\n", program, path);
    }
    free(text);
    return lines;
}

uint64_t cli_peak_memory(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (uint64_t)usage.ru_maxrss * 1024;
}

const char *cli_bytes(char *text, size_t size, uint64_t bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1000 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(text, size, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
    return text;
}
