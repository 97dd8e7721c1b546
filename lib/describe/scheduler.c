/*
 * scheduler_config.json of diffusers: the noise schedule, and what becomes a sampler's defaults. A
 * missing key has the default of the class's constructor, and keys that the class does not know are
 * not looked at, as in ConfigMixin.from_config.
 */
#include "describe/config.h"
#include "io/reader.h"

#include <stdio.h>
#include <string.h>

/* Which keys a class knows. */
enum {
    OFFSET = 1,         /* timestep_spacing and steps_offset */
    KARRAS = 2,         /* use_karras_sigmas */
    CURVES = 4,         /* use_exponential_sigmas and use_beta_sigmas */
    FINAL = 8,          /* final_sigmas_type */
    CLIP = 16,          /* clip_sample and clip_sample_range */
    ALPHA = 32,         /* set_alpha_to_one */
    ZERO_SNR = 64,      /* rescale_betas_zero_snr */
    THRESHOLD = 128,    /* thresholding */
    SOLVER = 256,       /* solver_order and lower_order_final */
    CLIPS = 512,        /* clip_sample is true where it is not said */
    ALPHA_ONE = 1024,   /* set_alpha_to_one is */
    SD_BETAS = 2048,    /* beta_start 0.00085 and beta_end 0.012 */
    SCALED_BETAS = 4096 /* beta_schedule scaled_linear */
};
#define ON_SIGMAS (OFFSET | KARRAS | CURVES)
#define OF_SOLVERS (ON_SIGMAS | FINAL | SOLVER | THRESHOLD)
#define OF_DDIM (OFFSET | CLIP | CLIPS | ALPHA | ALPHA_ONE | ZERO_SNR | THRESHOLD)
#define OF_LCM (OFFSET | CLIP | ALPHA | ALPHA_ONE | ZERO_SNR | THRESHOLD | SD_BETAS | SCALED_BETAS)

typedef struct scheduler_class {
    const char *name;   /* less "Scheduler" */
    const char *method; /* ours */
    bool same;          /* it is this scheduler; else the nearest that is here */
    sd_timestep_spacing spacing;
    unsigned keys;
} scheduler_class;

static const scheduler_class classes[] = {
    {"DDIM", "ddim", true, SD_SPACING_LEADING, OF_DDIM},
    {"DDIMParallel", "ddim", true, SD_SPACING_LEADING, OF_DDIM},
    {"DDIMInverse", "ddim", false, SD_SPACING_LEADING, OF_DDIM},
    {"DDPM", "ddpm", true, SD_SPACING_LEADING, OF_DDIM & ~(unsigned)(ALPHA | ALPHA_ONE)},
    {"DDPMParallel", "ddpm", true, SD_SPACING_LEADING, OF_DDIM & ~(unsigned)(ALPHA | ALPHA_ONE)},
    {"PNDM", "plms", true, SD_SPACING_LEADING, OFFSET | ALPHA},
    {"IPNDM", "plms", false, SD_SPACING_LEADING, 0},
    {"EulerDiscrete", "euler", true, SD_SPACING_LINSPACE, ON_SIGMAS | FINAL | ZERO_SNR},
    {"EulerAncestralDiscrete", "euler_a", true, SD_SPACING_LINSPACE, OFFSET | ZERO_SNR},
    {"HeunDiscrete", "heun", true, SD_SPACING_LINSPACE, ON_SIGMAS | SD_BETAS},
    {"KDPM2Discrete", "dpm2", true, SD_SPACING_LINSPACE, ON_SIGMAS | SD_BETAS},
    {"KDPM2AncestralDiscrete", "dpm2_a", true, SD_SPACING_LINSPACE, ON_SIGMAS | SD_BETAS},
    {"LMSDiscrete", "lms", true, SD_SPACING_LINSPACE, ON_SIGMAS},
    {"DPMSolverMultistep", "dpmpp_2m", true, SD_SPACING_LINSPACE, OF_SOLVERS | ZERO_SNR},
    {"DPMSolverMultistepInverse", "dpmpp_2m", false, SD_SPACING_LINSPACE, OF_SOLVERS},
    {"DPMSolverSinglestep", "dpmpp_2s", true, SD_SPACING_LINSPACE,
     KARRAS | CURVES | FINAL | THRESHOLD | SOLVER},
    {"DPMSolverSDE", "dpmpp_sde", false, SD_SPACING_LINSPACE, ON_SIGMAS | SD_BETAS},
    {"DEISMultistep", "deis", true, SD_SPACING_LINSPACE, ON_SIGMAS | SOLVER | THRESHOLD},
    {"SASolver", "dpmpp_2m_sde", false, SD_SPACING_LINSPACE, ON_SIGMAS | THRESHOLD},
    {"UniPCMultistep", "unipc", true, SD_SPACING_LINSPACE, OF_SOLVERS | ZERO_SNR},
    {"LCM", "lcm", true, SD_SPACING_LEADING, OF_LCM},
    {"TCD", "tcd", true, SD_SPACING_LEADING, OF_LCM & ~(unsigned)CLIP},
    {"EDMEuler", "euler", false, SD_SPACING_LINSPACE, SD_BETAS | SCALED_BETAS},
    {"EDMDPMSolverMultistep", "dpmpp_2m", false, SD_SPACING_LINSPACE, SD_BETAS | SCALED_BETAS},
};

/* For a class that is not in the list. */
static const scheduler_class other_class = {"", "ddim", false, SD_SPACING_LEADING,
                                            OFFSET | ALPHA | ZERO_SNR | THRESHOLD};

/* "PNDMScheduler", also as "FlaxPNDMScheduler". NULL: not in the list. */
static const scheduler_class *find_class(const char *name) {
    if (strncmp(name, "Flax", 4) == 0)
        name += 4;
    for (size_t i = 0; i < SD_COUNT(classes); i++) {
        size_t n = strlen(classes[i].name);
        if (strncmp(name, classes[i].name, n) == 0 && strcmp(name + n, "Scheduler") == 0)
            return &classes[i];
    }
    return NULL;
}

bool sdi_scheduler_class(int i, const char **name, const char **method) {
    if (i < 0 || (size_t)i >= SD_COUNT(classes))
        return false;
    *name = classes[i].name;
    *method = classes[i].same ? classes[i].method : NULL;
    return true;
}

/* Keys with a value that changes the picture and that is not followed: named once, at the end. */
typedef struct reading {
    sd_reader r;
    sd_description *desc;
    const sd_index *index;
    const scheduler_class *class;
    char ignored[400];
    size_t used;
} reading;

static void ignore(reading *in, const char *key) {
    size_t left = sizeof in->ignored - in->used;
    int n = snprintf(in->ignored + in->used, left, "%s\"%s\"", in->used ? ", " : "", key);
    if (n > 0 && (size_t)n < left)
        in->used += (size_t)n;
    else
        in->ignored[in->used] = 0;
}

static bool knows(const reading *in, unsigned keys) {
    return (in->class->keys & keys) == keys;
}

static bool flag(reading *in, unsigned keys, const char *key, bool fallback) {
    return knows(in, keys) && sdi_reader_bool(&in->r, key, fallback);
}

/* ------------------------------------------------------------------- the noise schedule */

/* The place of the value of `key` in `names`. */
static int read_choice(sd_reader *r, const char *key, const char *fallback,
                       const char *const *names, int n, const char *expected) {
    const char *text = sdi_reader_string(r, key, fallback);
    for (int i = 0; i < n; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    sdi_reader_unsupported(r, key, sdi_reader_get(r, key), expected);
    return 0;
}

/* One beta for each train timestep; more are left. */
static void read_betas(reading *in, sd_schedule_config *c) {
    const json_t *v = sdi_reader_get(&in->r, "trained_betas");
    size_t n = (size_t)c->train_timesteps;
    char expected[96];
    if (!v || in->r.status)
        return;
    snprintf(expected, sizeof expected, "a list of %zu numbers from 0 up to 0.9999", n);
    bool ok = json_is_array(v) && json_array_size(v) >= n;
    double *betas = ok ? sdi_alloc_array(in->r.ctx, n, sizeof *betas) : NULL;
    if (ok && !betas)
        in->r.status = SD_ERROR_MEMORY;
    for (size_t i = 0; ok && betas && i < n; i++) {
        const json_t *item = json_array_get(v, i);
        betas[i] = json_number_value(item);
        ok = json_is_number(item) && betas[i] > 0.0 && betas[i] <= 0.9999;
    }
    c->trained_betas = betas;
    if (!ok)
        sdi_reader_wrong(&in->r, "trained_betas", v, expected);
}

static void read_schedule(reading *in) {
    static const char *const betas[] = {"linear", "scaled_linear", "squaredcos_cap_v2"};
    static const char *const predictions[] = {"epsilon", "v_prediction", "sample"};
    sd_schedule_config *c = &in->desc->schedule;
    sd_reader *r = &in->r;
    bool sd = knows(in, SD_BETAS);
    *c = (sd_schedule_config){0};
    c->beta_schedule = (sd_beta_schedule)read_choice(
        r, "beta_schedule", knows(in, SCALED_BETAS) ? "scaled_linear" : "linear", betas,
        SD_COUNT(betas), "\"linear\", \"scaled_linear\" and \"squaredcos_cap_v2\"");
    c->prediction = (sd_prediction)read_choice(r, "prediction_type", "epsilon", predictions,
                                               SD_COUNT(predictions),
                                               "\"epsilon\", \"v_prediction\" and \"sample\"");
    c->beta_start = sdi_reader_number(r, "beta_start", sd ? 0.00085 : 0.0001, 1e-9, 0.999);
    c->beta_end = sdi_reader_number(r, "beta_end", sd ? 0.012 : 0.02, c->beta_start, 0.999);
    c->train_timesteps = sdi_reader_int(r, "num_train_timesteps", 1000, 1, 100000);
    read_betas(in, c);
    c->zero_snr = sdi_reader_bool(r, "rescale_betas_zero_snr", false);
    if (c->zero_snr && !knows(in, ZERO_SNR)) { /* these classes have no such key */
        c->zero_snr = false;
        ignore(in, "rescale_betas_zero_snr");
    }
    if (c->zero_snr && c->prediction == SD_PREDICT_EPSILON)
        sdi_log(r->ctx, SD_LOG_LEVEL_WARN,
                "%s: \"rescale_betas_zero_snr\" with \"prediction_type\" \"epsilon\": noise alone "
                "does not tell the picture at the last timestep, which is taken as all but noise",
                r->path);
}

/* ------------------------------------------------------------------- a sampler's defaults */

static void read_spacing(reading *in, sd_scheduler_config *c) {
    static const char *const names[] = {"leading", "linspace", "trailing"};
    static const sd_timestep_spacing spacings[] = {SD_SPACING_LEADING, SD_SPACING_LINSPACE,
                                                   SD_SPACING_TRAILING};
    c->spacing = in->class->spacing;
    if (!knows(in, OFFSET))
        return;
    if (sdi_reader_get(&in->r, "timestep_spacing"))
        c->spacing =
            spacings[read_choice(&in->r, "timestep_spacing", names[0], names, SD_COUNT(names),
                                 "\"leading\", \"linspace\" and \"trailing\"")];
    c->steps_offset = sdi_reader_int(&in->r, "steps_offset", 0, 0, 100000);
}

static void read_sigmas(reading *in, sd_scheduler_config *c) {
    if (flag(in, KARRAS, "use_karras_sigmas", false))
        c->curve = SD_CURVE_KARRAS;
    else if (flag(in, CURVES, "use_exponential_sigmas", false))
        c->curve = SD_CURVE_EXPONENTIAL;
    else if (flag(in, CURVES, "use_beta_sigmas", false))
        c->curve = SD_CURVE_BETA;
    const char *final =
        knows(in, FINAL) ? sdi_reader_string(&in->r, "final_sigmas_type", "zero") : "zero";
    c->sigma_min = strcmp(final, "sigma_min") == 0;
    if (!c->sigma_min && strcmp(final, "zero") != 0)
        sdi_reader_unsupported(&in->r, "final_sigmas_type",
                               sdi_reader_get(&in->r, "final_sigmas_type"),
                               "\"zero\" and \"sigma_min\"");
}

static void read_x0(reading *in, sd_scheduler_config *c) {
    c->alpha_to_one = flag(in, ALPHA, "set_alpha_to_one", knows(in, ALPHA_ONE));
    if (flag(in, THRESHOLD, "thresholding", false))
        ignore(in, "thresholding");
    else if (flag(in, CLIP, "clip_sample", knows(in, CLIPS)))
        c->clip = sdi_reader_number(&in->r, "clip_sample_range", 1.0, 1e-6, 1e6);
}

/* solver_order, and which of the last steps are of a lower one. */
static void read_solver(reading *in, sd_scheduler_config *c) {
    bool unipc = strcmp(c->method, "unipc") == 0;
    bool singlestep = strcmp(c->method, "dpmpp_2s") == 0;
    if (!knows(in, SOLVER))
        return;
    int order = sdi_reader_int(&in->r, "solver_order", 2, 1, 3);
    int most = strcmp(c->method, "deis") == 0 ? 3 : 2;
    c->order = order < most ? order : most;
    if (order > most)
        ignore(in, "solver_order");
    c->lower_order_final = sdi_reader_bool(&in->r, "lower_order_final", !singlestep);
    c->euler_at_final = sdi_reader_bool(&in->r, "euler_at_final", false);
    const char *type = sdi_reader_string(&in->r, "solver_type", unipc ? "bh2" : "midpoint");
    c->bh1 = unipc && strcmp(type, "bh1") == 0;
    c->heun = !unipc && strcmp(type, "heun") == 0;
    const char *algorithm = sdi_reader_string(&in->r, "algorithm_type", "dpmsolver++");
    bool sde = strncmp(algorithm, "sde-", 4) == 0;
    if (in->class->same && sde && !singlestep)
        c->method = "dpmpp_2m_sde";
    if (in->class->same && (!strcmp(algorithm, "dpmsolver") ||
                            !strcmp(algorithm, "sde-dpmsolver") || (sde && singlestep)))
        ignore(in, "algorithm_type");
}

static void read_lcm(reading *in, sd_scheduler_config *c) {
    if (strcmp(c->method, "lcm") != 0 && strcmp(c->method, "tcd") != 0)
        return;
    c->original_inference_steps = sdi_reader_int(&in->r, "original_inference_steps", 50, 1, 100000);
    c->timestep_scaling = sdi_reader_number(&in->r, "timestep_scaling", 10.0, 1e-6, 1e9);
}

/* Keys of which only one value is here, or none, by the class that has them. */
static void read_rest(reading *in) {
    static const struct {
        const char *class, *key;
        const char *fine; /* the value that is here: a string, "true" or "false"; NULL: null */
    } rows[] = {
        {"PNDM", "skip_prk_steps", "true"},
        {"DDPM", "variance_type", "fixed_small"},
        {"EulerDiscrete", "interpolation_type", "linear"},
        {"EulerDiscrete", "timestep_type", "discrete"},
        {"EulerDiscrete", "sigma_min", NULL},
        {"EulerDiscrete", "sigma_max", NULL},
        {"HeunDiscrete", "clip_sample", "false"},
        {"DPMSolverMultistep", "use_lu_lambdas", "false"},
        {"DPMSolverMultistep", "use_flow_sigmas", "false"},
        {"DPMSolverMultistep", "lambda_min_clipped", "-Infinity"},
        {"UniPCMultistep", "predict_x0", "true"},
        {"UniPCMultistep", "use_flow_sigmas", "false"},
        {"UniPCMultistep", "sigma_min", NULL},
        {"UniPCMultistep", "sigma_max", NULL},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        const json_t *v = sdi_reader_get(&in->r, rows[i].key);
        if (strncmp(in->class->name, rows[i].class, strlen(rows[i].class)) != 0)
            continue;
        bool prk = !v && !strcmp(rows[i].key, "skip_prk_steps"); /* false where it is not said */
        const char *text =
            json_is_boolean(v) ? (json_is_true(v) ? "true" : "false") : json_string_value(v);
        if (prk || (v && !(text && rows[i].fine && strcmp(text, rows[i].fine) == 0)))
            ignore(in, rows[i].key);
    }
    const json_t *off = sdi_reader_get(&in->r, "disable_corrector");
    if (!strcmp(in->class->name, "UniPCMultistep") && json_array_size(off) > 0)
        ignore(in, "disable_corrector");
}

/* Configs from before 2022-10 had neither key, and clipped latents are no pictures: pipelines of
 * Stable Diffusion set them, whatever is there. */
static void correct(reading *in, sd_scheduler_config *c) {
    bool offset = sdi_reader_get(&in->r, "steps_offset") && c->steps_offset != 1 &&
                  c->spacing == SD_SPACING_LEADING;
    bool clip = sdi_reader_get(&in->r, "clip_sample") && c->clip > 0.0;
    if (offset || clip)
        sdi_log(in->r.ctx, SD_LOG_LEVEL_WARN,
                "%s: as diffusers' StableDiffusionPipeline does, libsd takes%s%s%s", in->r.path,
                offset ? " \"steps_offset\" as 1" : "", offset && clip ? " and" : "",
                clip ? " \"clip_sample\" as false" : "");
    c->steps_offset = 1;
    c->clip = 0.0;
}

static void read_class(reading *in) {
    const sd_context *ctx = in->r.ctx;
    const char *said = in->index->scheduler;
    const char *name = sdi_reader_string(&in->r, "_class_name", said);
    const scheduler_class *found = find_class(name);
    in->class = found ? found : &other_class;
    if (strncmp(name, "FlowMatch", 9) == 0)
        sdi_reader_unsupported(&in->r, "_class_name", sdi_reader_get(&in->r, "_class_name"),
                               "schedulers of Stable Diffusion 1.x and 2.x");
    if (in->r.status)
        return;
    if (said[0] && strcmp(name, said) != 0)
        sdi_log(
            ctx, SD_LOG_LEVEL_WARN,
            "%s: \"_class_name\" is \"%.60s\", model_index.json says \"%s\"; the first is taken",
            in->r.path, name, said);
    if (!in->class->same)
        sdi_log(ctx, SD_LOG_LEVEL_WARN,
                "%s: \"_class_name\" is \"%.60s\", which libsd does not have; the sampling method "
                "\"%s\" is the default in its place",
                in->r.path, name, in->class->method);
}

sd_status sdi_config_scheduler(const sd_context *ctx, const char *path, const sd_index *index,
                               sd_description *desc) {
    reading in = {
        .r = sdi_reader_open(ctx, path), .desc = desc, .index = index, .class = &other_class};
    sd_scheduler_config *c = &desc->scheduler;
    *c = sdi_scheduler_default();
    c->folder = true;
    read_class(&in);
    c->method = in.class->method;
    read_schedule(&in);
    read_spacing(&in, c);
    read_sigmas(&in, c);
    read_x0(&in, c);
    read_solver(&in, c);
    read_lcm(&in, c);
    read_rest(&in);
    if (!in.r.status && index->corrects_scheduler)
        correct(&in, c);
    if (!in.r.status && in.used)
        sdi_log(ctx, SD_LOG_LEVEL_WARN, "%s: libsd does not follow %s", path, in.ignored);
    sdi_reader_close(&in.r);
    return in.r.status;
}

void sdi_config_no_scheduler(const sd_context *ctx, sd_description *desc) {
    bool unknown =
        desc->unet.linear_projection && desc->unet.in_channels == desc->vae.latent_channels;
    desc->schedule = sdi_schedule_default();
    if (unknown)
        desc->schedule.prediction = SD_PREDICT_UNKNOWN;
    sdi_log(ctx, SD_LOG_LEVEL_WARN,
            "%s: there is no scheduler/scheduler_config.json; the schedule of Stable Diffusion is "
            "taken, and the sampling method \"%s\"",
            desc->path, desc->scheduler.method);
}
