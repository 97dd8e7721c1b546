/*
 * The backend vtable: what a processor must be able to do to run the networks.
 *
 * A backend includes this header, and with it <sd/base.h>, and nothing else of libsd; memory,
 * threads, log and errors of the host come in through sdb_host. The backends `reference` and `cpu`
 * are linked into libsd; others are modules that export sdb_module_entry.
 *
 * Conventions
 *   - Tensors are NHWC. `ld` is the distance in elements from one pixel (or token) to the next, so
 *     a tensor may be a channel range of a wider one; ld >= c. Images of a batch and rows follow
 *     each other without gaps: pixel (n, y, x) is at ((n * h + y) * w + x) * ld.
 *   - Tokens [n, t, c] are tensors with h = t, w = 1.
 *   - An operation may be called with planning on (see queue_plan): it then only notes the scratch
 *     memory that it will need and touches no data. Data pointers are not valid at that time.
 *   - Operations validate nothing that libsd's model code guarantees, except what they cannot
 *     serve, for which they return SD_ERROR_UNSUPPORTED with a sentence through host->error.
 *   - Output never overlaps an input, unless the operation says "in place is fine".
 *   - The result of an operation does not depend on the number of threads, bit for bit.
 */
#ifndef SD_BACKEND_BACKEND_H
#define SD_BACKEND_BACKEND_H

#include <sd/base.h>
#include <stdbool.h>
#include <string.h>

#define SDB_API_VERSION 7

typedef enum sdb_type {
    SDB_F32 = 0,
    SDB_F16 = 1,
    SDB_BF16 = 2,
    SDB_I32 = 3,
    SDB_I64 = 4,
    SDB_F64 = 5,
    SDB_U8 = 6,
    SDB_N_TYPES
} sdb_type;

static inline size_t sdb_type_size(sdb_type type) {
    return type == SDB_I64 || type == SDB_F64    ? 8
           : type == SDB_F32 || type == SDB_I32  ? 4
           : type == SDB_F16 || type == SDB_BF16 ? 2
                                                 : 1;
}

typedef struct sdb_tensor {
    void *data;
    sdb_type type;
    int n, h, w, c;
    int buffer; /* libsd's own, for backends without meaning */
    int64_t ld;
} sdb_tensor;

/* Functions that the host lends to a backend for the device's lifetime. */
typedef struct sdb_host {
    void *user;
    int n_threads; /* workers that parallel_for may use, the caller's included */
    void *(*alloc)(void *user, size_t size, size_t alignment); /* NULL when there is none */
    void (*free)(void *user, void *ptr);
    /* Records the sentence for sd_last_error and returns `status`. */
    sd_status (*error)(void *user, sd_status status, const char *format, ...)
#ifdef __GNUC__
        __attribute__((format(printf, 3, 4)))
#endif
        ;
    void (*log)(void *user, sd_log_level level, const char *format, ...)
#ifdef __GNUC__
        __attribute__((format(printf, 3, 4)))
#endif
        ;
    /* Calls fn(arg, task, worker) for every task in 0 .. n_tasks - 1 on the context's threads and
     * returns when all are done; 0 <= worker < n_threads, and no two tasks run with one worker
     * number at the same time. Which worker gets which task is not defined. */
    void (*parallel_for)(void *user, int n_tasks, void (*fn)(void *arg, int task, int worker),
                         void *arg);
    /* Where the function `symbol` of the system's library `library` is: the library is opened, and
     * stays open for the rest of the process. NULL: there is no such library or function, or the
     * process may not take `room` bytes of addresses for each of its processor's cores. */
    void *(*find_function)(void *user, const char *library, const char *symbol, size_t room);
    /* Grows in each child of a fork: what another thread held before, nobody holds now. */
    unsigned (*forks)(void *user);
} sdb_host;

typedef struct sdb_device sdb_device; /* each backend defines its own */
typedef struct sdb_queue sdb_queue;   /* an order of operations with its scratch memory */
typedef struct sdb_weight sdb_weight; /* prepared weights */
typedef struct sdb_graph sdb_graph;   /* a recorded region */
typedef struct sdb_mark sdb_mark;     /* a point in time of a queue */

typedef struct sdb_device_info {
    char name[128];         /* "cpu (avx512, 2 threads)" */
    uint64_t memory_total;  /* 0: the host's */
    sdb_type autocast_type; /* activations under SD_PRECISION_AUTOCAST and AUTO */
} sdb_device_info;

/* ------------------------------------------------------------------------------- weights */

typedef enum sdb_weight_kind {
    SDB_WEIGHT_LINEAR = 0,   /* [out, in], torch.nn.Linear; a 1x1 conv is one too */
    SDB_WEIGHT_GEGLU = 1,    /* [2 * out, in]: value rows, then gate rows */
    SDB_WEIGHT_CONV3X3 = 2,  /* [out, in, 3, 3] */
    SDB_WEIGHT_VECTOR = 3,   /* [n], e.g. gamma; bias is beta, n too */
    SDB_WEIGHT_EMBEDDING = 4 /* [rows, width], gathered by row */
} sdb_weight_kind;

/* Rows of one checkpoint tensor: row-major, contiguous, 16-bit or 32-bit float. They are in memory
 * at `data`, at any alignment, or are to be read. */
typedef struct sdb_weight_part {
    const void *data;
    sdb_type type;
    int rows; /* output features of this part */
    /* data NULL: gives n elements, from element `at` of the source, into dst, on any thread and on
     * several at once. Where it fails, weight_prepare returns its status, and the host has the
     * sentence. It is best asked for some 100 KiB at once, front to back. NULL too: no part. */
    sd_status (*read)(void *source, size_t at, size_t n, void *dst);
    void *source;
    size_t first; /* the element of the source that the part begins with */
} sdb_weight_part;

static inline bool sdb_part_is_there(const sdb_weight_part *part) {
    return part->data || part->read;
}

/* n elements of the part from its element `at`. */
static inline sd_status sdb_part_read(const sdb_weight_part *part, size_t at, size_t n, void *dst) {
    size_t size = sdb_type_size(part->type);
    if (!part->data)
        return part->read(part->source, part->first + at, n, dst);
    memcpy(dst, (const uint8_t *)part->data + at * size, n * size);
    return SD_OK;
}

/*
 * Parts are stacked along the output: q, k and v as one GEMM are three parts. `bias` has the same
 * number of parts or none; a part's bias may not be there, which means zeros. `in` is the input
 * features (1 for vectors). `compute` is the type of the activations that it will meet. `upsample`
 * says of a 3x3 weight that it meets conv2d with upsample and nothing else; without it the weight
 * never meets that. `scratch` is SDB_WEIGHT_SCRATCH bytes for each worker, aligned to 64, which may
 * be used until weight_prepare returns; NULL: the host has none to lend.
 */
typedef struct sdb_weight_desc {
    sdb_weight_kind kind;
    int in;
    int n_parts;
    const sdb_weight_part *parts;
    const sdb_weight_part *bias;
    sdb_type compute;
    bool upsample;
    void *scratch;
} sdb_weight_desc;

#define SDB_WEIGHT_SCRATCH ((size_t)512 << 10)

/* ---------------------------------------------------------------------------- operations */

/*
 * Statistics that the product which writes a tensor [n, h, w, c] makes for the group norm which
 * reads it: [n, parts, c / 2, 2] of SDB_F32. An image's pixels are in `parts` parts of equal size
 * (see stats_parts; which pixels, is the backend's own affair), and of each part and each two
 * neighbouring channels there are the mean and the sum of squared differences from it, of the
 * elements as the tensor holds them.
 */

typedef enum sdb_act {
    SDB_ACT_NONE = 0,
    SDB_ACT_SILU = 1,
    SDB_ACT_QUICK_GELU = 2, /* x sigmoid(1.702 x) */
    SDB_ACT_GELU = 3,       /* exact, with erf */
    SDB_ACT_RELU = 4        /* max(x, 0); NaN stays NaN */
} sdb_act;

/*
 * y = scale * act(conv(x) + bias + emb[n, c]) + residual, 3x3 kernel.
 * Padding is zeros: a row and a column above and left, unless pad_end (AutoencoderKL's Downsample),
 * and what y's size asks for below and right: y.h = (x.h + before + after - 3) / stride + 1. stride
 * is 1 or 2. With upsample, which takes neither stride nor pad_end, x is doubled (nearest) first
 * and cut to y's size: 2 x.h or 2 x.h - 1 rows, without the last, and columns alike. What is cut
 * off is padding for what is left.
 */
typedef struct sdb_conv2d {
    sdb_tensor x, y;
    const sdb_weight *weight;
    sdb_tensor emb;      /* [n, 1, 1, c] added before act; data NULL and c 0: none */
    sdb_tensor residual; /* of y's shape; c 0: none. May be y itself */
    int stride;          /* networks may leave it 0: 1 */
    bool pad_end, upsample;
    sdb_act act;
    float scale;      /* networks may leave it 0: 1 */
    sdb_tensor stats; /* of y, to be made; c 0: not wanted */
} sdb_conv2d;

/* y = scale * act(x W^T + bias) + residual. `geglu` goes with a GEGLU weight, which gives value *
 * gelu(gate); act is NONE. */
typedef struct sdb_linear {
    sdb_tensor x, y;
    const sdb_weight *weight;
    sdb_tensor residual; /* of y's shape; c 0: none. May be y itself */
    bool geglu;
    sdb_act act;
    float scale;      /* networks may leave it 0: 1 */
    sdb_tensor stats; /* of y, to be made; c 0: not wanted. Not with a GEGLU weight */
} sdb_linear;

/* Group normalisation over h, w and c / groups channels (Wu and He 2018), then act. In place is
 * fine. */
typedef struct sdb_group_norm {
    sdb_tensor x, y;
    const sdb_weight *weight; /* gamma, bias beta */
    int groups;
    float eps;
    sdb_act act; /* NONE or SILU */
    /* Statistics of x's first 2 * stats[0].w channels and, where x is a concatenation, of the next
     * 2 * stats[1].w; c 0: none. They say nothing that x does not: a backend need not look at them,
     * and cannot use them where they are not of all channels. */
    sdb_tensor stats[2];
} sdb_group_norm;

/* Layer normalisation over c for each pixel or token. In place is fine. */
typedef struct sdb_layer_norm {
    sdb_tensor x, y;
    const sdb_weight *weight;
    float eps;
} sdb_layer_norm;

/*
 * y = softmax(scale q k^T) v for each image and head. q and y: [n, tq, heads * dim];
 * k and v: [n, tk, heads * dim]. Head j is channels j * dim .. (j + 1) * dim - 1. causal: token i
 * sees 0 .. i. dim up to 1024.
 */
typedef struct sdb_attention {
    sdb_tensor q, k, v, y;
    int heads;
    bool causal;
    float scale;
} sdb_attention;

/* y[i] = token[ids[i]] + position[i mod tokens]; ids [n, t, 1] of SDB_I32, all within range.
 * position NULL: nothing is added. */
typedef struct sdb_embed {
    sdb_tensor ids, y;
    const sdb_weight *token, *position;
} sdb_embed;

/* [cos(t f), sin(t f)], f_i = exp(-ln(10000) i / half), i < half = c / 2, last column 0 where c is
 * odd. t: [n, 1, 1, 1] of SDB_F32. */
typedef struct sdb_timestep_embedding {
    sdb_tensor t, y;
} sdb_timestep_embedding;

#define SDB_MAX_TERMS 8

/*
 * y = sum_i coef[i] x_i, with types converted. `coef` is a device array of SDB_F32, so that a
 * recorded region reads each step's numbers. In place is fine. coef.data NULL means all ones. A
 * term with n = 1 is broadcast over y.n. One term with no coef is a (strided, converting) copy.
 * The order of sums is that of the terms.
 */
typedef struct sdb_combine {
    int n_terms;
    sdb_tensor x[SDB_MAX_TERMS];
    sdb_tensor coef; /* [1, 1, 1, n_terms] */
    sdb_tensor y;
} sdb_combine;

/* y = act(x). In place is fine. */
typedef struct sdb_activation {
    sdb_tensor x, y;
    sdb_act act;
} sdb_activation;

/* AutoencoderKL's posterior: moments [n, h, w, 2c] = (mean, logvar), logvar clamped to [-30, 20];
 * y = scale * (mean + exp(logvar / 2) * noise); noise c 0: scale * mean. */
typedef struct sdb_posterior {
    sdb_tensor moments, noise, y;
    float scale;
} sdb_posterior;

/* y.h = 2 x.h: each pixel becomes four (nearest). 2 y.h = x.h: the mean of each two by two. */
typedef struct sdb_resample {
    sdb_tensor x, y;
} sdb_resample;

/* y = act((1 + scale[n, c]) x + shift[n, c]); scale and shift [n, 1, 1, c]. In place is fine.
 * ADM's scale-shift normalisation (Dhariwal and Nichol 2021, "AdaGN") after its group norm. */
typedef struct sdb_modulate {
    sdb_tensor x, scale, shift, y;
    sdb_act act; /* NONE or SILU */
} sdb_modulate;

/* y = the row of the codebook, an EMBEDDING weight [rows, c], that is nearest to x's pixel in the
 * 2-norm; the first of equals. ids [n, h, w, 1] of SDB_I32 gets its index; c 0: not wanted. In
 * place is fine. c up to 1024. */
typedef struct sdb_quantize {
    sdb_tensor x, y, ids;
    const sdb_weight *codebook;
} sdb_quantize;

/* y = m a + (1 - m) b; m [n, h, w, 1] is of all channels. In place is fine. */
typedef struct sdb_blend {
    sdb_tensor m, a, b, y;
} sdb_blend;

/* y = min(max(x, low), high). In place is fine. */
typedef struct sdb_clamp {
    sdb_tensor x, y;
    float low, high;
} sdb_clamp;

/*
 * y = (phi std(like) / std(x) + 1 - phi) x, standard deviations over h, w and c of each image: Lin
 * et al. 2024, eq. 15 and 16. y = x where std(x) is 0. In place is fine. Deviations come from sums
 * in float64.
 */
typedef struct sdb_rescale {
    sdb_tensor x, like, y;
    float phi;
} sdb_rescale;

/*
 * The list of operations: kinds, the tagged union and all that the rest of libsd makes of them come
 * from it. SDB_OP_linear is what sdb_linear describes.
 */
#define SDB_OPERATIONS(X)                                                                          \
    X(conv2d)                                                                                      \
    X(linear)                                                                                      \
    X(attention)                                                                                   \
    X(group_norm)                                                                                  \
    X(layer_norm)                                                                                  \
    X(embed)                                                                                       \
    X(timestep_embedding)                                                                          \
    X(combine)                                                                                     \
    X(activation)                                                                                  \
    X(posterior)                                                                                   \
    X(resample)                                                                                    \
    X(modulate)                                                                                    \
    X(quantize)                                                                                    \
    X(blend)                                                                                       \
    X(clamp)                                                                                       \
    X(rescale)

typedef enum sdb_op_kind {
#define X(name) SDB_OP_##name,
    SDB_OPERATIONS(X)
#undef X
        SDB_N_OPS
} sdb_op_kind;

typedef struct sdb_op {
    sdb_op_kind kind;
    union {
#define X(name) sdb_##name name;
        SDB_OPERATIONS(X)
#undef X
    };
} sdb_op;

/* ---------------------------------------------------------------------------- the vtable */

typedef struct sdb_backend {
    uint32_t api_version; /* SDB_API_VERSION */
    uint32_t flags;       /* none yet */
    const char *name;     /* "cpu" */

    /* `index` is N of "name:N". *out stays valid until device_close. `host` outlives the device. */
    sd_status (*device_open)(const sdb_host *host, int index, sdb_device **out);
    void (*device_close)(sdb_device *dev);
    void (*device_info)(const sdb_device *dev, sdb_device_info *info);

    /* Memory of the device, aligned to 256 bytes. */
    sd_status (*buffer_alloc)(sdb_device *dev, size_t size, void **out);
    void (*buffer_free)(sdb_device *dev, void *ptr);

    /* Weights: immutable after preparation, shared by queues. The source may go away. May be called
     * from several threads at once. */
    sd_status (*weight_prepare)(sdb_device *dev, const sdb_weight_desc *desc, sdb_weight **out);
    void (*weight_free)(sdb_device *dev, sdb_weight *weight);
    size_t (*weight_size)(const sdb_weight *weight); /* bytes on the device */

    /* A queue belongs to one thread at a time. Operations run in order, perhaps after the call
     * returned; upload copies the source before it returns, download and sync wait. */
    sd_status (*queue_new)(sdb_device *dev, sdb_queue **out);
    void (*queue_free)(sdb_queue *q);
    /* plan(q, true): operations only note their scratch needs; plan(q, false): the scratch is
     * allocated (growing what is there) and operations run again. */
    sd_status (*queue_plan)(sdb_queue *q, bool planning);
    size_t (*queue_scratch)(const sdb_queue *q); /* bytes noted so far */
    sd_status (*upload)(sdb_queue *q, void *dst, const void *src, size_t size);
    sd_status (*download)(sdb_queue *q, void *dst, const void *src, size_t size);
    sd_status (*sync)(sdb_queue *q);

    /* A region that is recorded once and replayed; NULL means that regions are always run anew. It
     * is not replayed any more once a buffer that it names is freed or queue_scratch has grown. */
    sd_status (*record_begin)(sdb_queue *q);
    sd_status (*record_end)(sdb_queue *q,
                            sdb_graph **out); /* also ends a failed region; out NULL */
    sd_status (*graph_replay)(sdb_queue *q, sdb_graph *graph);
    void (*graph_free)(sdb_queue *q, sdb_graph *graph);

    /* Each kind of operation, by its kind. NULL: not offered, and a model or sampler that needs it
     * is refused when it runs; Stable Diffusion does without resample, modulate and quantize, and
     * samplers without blend (masks), clamp (clip_denoised) and rescale (guidance_rescale). */
    sd_status (*run[SDB_N_OPS])(sdb_queue *q, const sdb_op *op);

    /* Points in time after all that was given to the queue, and the seconds between two of one
     * queue (waits for the later). NULL, all three: the host's clock is read after sync. */
    sd_status (*mark_new)(sdb_queue *q, sdb_mark **out);
    sd_status (*mark_seconds)(sdb_device *dev, const sdb_mark *begin, const sdb_mark *end,
                              double *seconds);
    void (*mark_free)(sdb_device *dev, sdb_mark *mark);

    /* Bytes of the device that buffers and weights take now, and took at most. NULL: unknown. */
    void (*memory_used)(const sdb_device *dev, uint64_t *now, uint64_t *peak);

    /* How many parts the statistics of a tensor of this type have for an image of h x w pixels (and
     * for h * w tokens); 0: its products make none. NULL: none ever do. */
    int (*stats_parts)(const sdb_device *dev, sdb_type type, int h, int w);
} sdb_backend;

/* Backends that are linked in. */
extern const sdb_backend sdb_reference_backend;
extern const sdb_backend sdb_cpu_backend;

/* A module exports `const sdb_backend *sdb_module_entry(void)`. */
typedef const sdb_backend *(*sdb_module_entry_fn)(void);

#endif
