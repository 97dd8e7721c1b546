/* Operations of first stages on latents: the posterior, doubling and halving, the nearest code. And
 * what samplers do to them besides sums. */
#include "convert.cuh"
#include "launch.cuh"

/* A tensor for a kernel: element c of pixel p (counted through all images) is at p * ld + c. */
typedef struct view {
    void *data;
    sdb_type type;
    int64_t ld;
} view;

static view view_of(const sdb_tensor *t) {
    return {t->data, t->type, t->ld};
}

static int64_t pixels_of(const sdb_tensor *t) {
    return (int64_t)t->n * t->h * t->w;
}

static __device__ __forceinline__ float get(const view &v, int64_t pixel, int64_t c) {
    float x[1];
    cuda_load_any(x, v.data, v.type, pixel * v.ld + c);
    return x[0];
}

static __device__ __forceinline__ void put(const view &v, int64_t pixel, int64_t c, float value) {
    float x[1] = {value};
    cuda_store_any(v.data, v.type, pixel * v.ld + c, x);
}

/* ---------------------------------------------------------------------------------- posterior */

static __global__ void posterior(view moments, view noise, view y, int c, int64_t total,
                                 float scale) {
    int64_t i = cuda_thread();
    if (i >= total)
        return;
    int64_t pixel = i / c, channel = i % c;
    float value = get(moments, pixel, channel);
    if (noise.data) {
        float logvar = fminf(fmaxf(get(moments, pixel, c + channel), -30.0f), 20.0f);
        value += expf(0.5f * logvar) * get(noise, pixel, channel);
    }
    put(y, pixel, channel, scale * value);
}

sd_status cuda_posterior(sdb_queue *q, const sdb_posterior *op) {
    bool noise = op->noise.c > 0;
    if (!cuda_is_float(op->moments.type) || !cuda_is_float(op->y.type) ||
        (noise && !cuda_is_float(op->noise.type)))
        return cuda_refuse_types(q, "posterior", op->moments.type, op->y.type);
    if (q->planning)
        return SD_OK;
    view none = {NULL, SDB_F32, 0};
    int64_t total = pixels_of(&op->y) * op->y.c;
    posterior<<<cuda_blocks(total), CUDA_THREADS, 0, q->stream>>>(
        view_of(&op->moments), noise ? view_of(&op->noise) : none, view_of(&op->y), op->y.c, total,
        op->scale);
    return CUDA_LAUNCHED(q, "posterior");
}

/* ----------------------------------------------------------------------------------- resample */

typedef struct resample_args {
    view x, y;
    int x_h, x_w, y_h, y_w;
    int vectors; /* of a pixel */
    int64_t total;
} resample_args;

template <int N> static __global__ void resample(resample_args a) {
    int64_t i = cuda_thread();
    if (i >= a.total)
        return;
    int64_t pixel = i / a.vectors, c = i % a.vectors * N;
    int column = (int)(pixel % a.y_w);
    int64_t line = pixel / a.y_w % a.y_h, image = pixel / a.y_w / a.y_h;
    float v[N];
    if (a.y_h >= a.x_h) { /* doubled, perhaps less a line or column: conv2d.cu */
        int64_t source = (image * a.x_h + line / 2) * a.x_w + column / 2;
        cuda_load_any(v, a.x.data, a.x.type, source * a.x.ld + c);
    } else {
        int64_t source = (image * a.x_h + 2 * line) * a.x_w + 2 * column;
        float sum[4][N];
        for (int j = 0; j < 4; j++)
            cuda_load_any(sum[j], a.x.data, a.x.type,
                          (source + (j >> 1) * a.x_w + (j & 1)) * a.x.ld + c);
        for (int j = 0; j < N; j++)
            v[j] = 0.25f * (sum[0][j] + sum[1][j] + sum[2][j] + sum[3][j]);
    }
    cuda_store_any(a.y.data, a.y.type, pixel * a.y.ld + c, v);
}

sd_status cuda_resample(sdb_queue *q, const sdb_resample *op) {
    if (!cuda_is_float(op->x.type) || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "resample", op->x.type, op->y.type);
    if (q->planning)
        return SD_OK;
    int width = cuda_vectors<4>(&op->x) && cuda_vectors<4>(&op->y) ? 4 : 1;
    resample_args a = {view_of(&op->x), view_of(&op->y), op->x.h, op->x.w, op->y.h, op->y.w};
    a.vectors = op->y.c / width;
    a.total = pixels_of(&op->y) * a.vectors;
    if (width == 4)
        resample<4><<<cuda_blocks(a.total), CUDA_THREADS, 0, q->stream>>>(a);
    else
        resample<1><<<cuda_blocks(a.total), CUDA_THREADS, 0, q->stream>>>(a);
    return CUDA_LAUNCHED(q, "resample");
}

/* ----------------------------------------------------------------------------------- quantize */

typedef struct quantize_args {
    view x, y, codes;
    int rows, c;
    int32_t *ids; /* or NULL */
    int64_t ids_ld, pixels;
} quantize_args;

/* The squared distance in float64: which of two codes is nearer may hang on the last bits. */
static __device__ double distance(const quantize_args &a, int64_t pixel, int row) {
    double sum = 0.0;
    for (int c = 0; c < a.c; c++) {
        double d = (double)get(a.x, pixel, c) - (double)get(a.codes, row, c);
        sum += d * d;
    }
    return sum;
}

/* A warp for each pixel; among equals the first row wins. */
static __global__ void quantize(quantize_args a) {
    int64_t pixel = cuda_thread() / 32;
    int lane = threadIdx.x % 32, found = lane < a.rows ? lane : 0;
    if (pixel >= a.pixels)
        return;
    double least = distance(a, pixel, found);
    for (int row = lane + 32; row < a.rows; row += 32) {
        double d = distance(a, pixel, row);
        if (d < least) {
            least = d;
            found = row;
        }
    }
    for (int step = 16; step > 0; step /= 2) {
        double d = __shfl_xor_sync(0xffffffffu, least, step);
        int row = __shfl_xor_sync(0xffffffffu, found, step);
        if (d < least || (d == least && row < found)) {
            least = d;
            found = row;
        }
    }
    __syncwarp(); /* y may be x */
    for (int c = lane; c < a.c; c += 32)
        put(a.y, pixel, c, get(a.codes, found, c));
    if (a.ids && lane == 0)
        a.ids[pixel * a.ids_ld] = found;
}

sd_status cuda_quantize(sdb_queue *q, const sdb_quantize *op) {
    const sdb_weight *codes = op->codebook;
    if (!cuda_is_float(op->x.type) || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "quantize", op->x.type, op->y.type);
    if (q->planning)
        return SD_OK;
    quantize_args a = {view_of(&op->x), view_of(&op->y), {codes->data, codes->type, codes->in}};
    a.rows = codes->n;
    a.c = op->x.c;
    a.ids = op->ids.c ? (int32_t *)op->ids.data : NULL;
    a.ids_ld = op->ids.ld;
    a.pixels = pixels_of(&op->x);
    quantize<<<cuda_blocks(a.pixels * 32), CUDA_THREADS, 0, q->stream>>>(a);
    return CUDA_LAUNCHED(q, "quantize");
}

/* ---------------------------------------------------------------------------- blend and clamp */

typedef struct blend_args {
    view m, a, b, y;
    int c;
    int64_t total;
} blend_args;

static __global__ void blend(blend_args a) {
    cuda_let_next_start();
    cuda_wait_for_previous();
    int64_t i = cuda_thread();
    if (i >= a.total)
        return;
    int64_t pixel = i / a.c, c = i % a.c;
    float m = get(a.m, pixel, 0);
    put(a.y, pixel, c, fmaf(m, get(a.a, pixel, c), (1.0f - m) * get(a.b, pixel, c)));
}

sd_status cuda_blend(sdb_queue *q, const sdb_blend *op) {
    if (!cuda_is_float(op->m.type) || !cuda_is_float(op->a.type) || !cuda_is_float(op->b.type) ||
        !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "blend", op->a.type, op->y.type);
    if (q->planning)
        return SD_OK;
    blend_args a = {view_of(&op->m), view_of(&op->a), view_of(&op->b), view_of(&op->y), op->y.c};
    a.total = pixels_of(&op->y) * op->y.c;
    cudaError_t error =
        cuda_launch(q, blend, cuda_early(dim3(cuda_blocks(a.total)), CUDA_THREADS), a);
    return cuda_check(q->dev, error, "blend");
}

static __global__ void clamp(view x, view y, int c, int64_t total, float low, float high) {
    cuda_let_next_start();
    cuda_wait_for_previous();
    int64_t i = cuda_thread();
    if (i < total)
        put(y, i / c, i % c, fminf(fmaxf(get(x, i / c, i % c), low), high));
}

sd_status cuda_clamp(sdb_queue *q, const sdb_clamp *op) {
    if (!cuda_is_float(op->x.type) || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "clamp", op->x.type, op->y.type);
    if (q->planning)
        return SD_OK;
    int64_t total = pixels_of(&op->y) * op->y.c;
    cudaError_t error =
        cuda_launch(q, clamp, cuda_early(dim3(cuda_blocks(total)), CUDA_THREADS), view_of(&op->x),
                    view_of(&op->y), op->y.c, total, op->low, op->high);
    return cuda_check(q->dev, error, "clamp");
}

/* ------------------------------------------------------------------------------------ rescale */

#define RESCALE_THREADS 1024

typedef struct rescale_args {
    view x, like, y;
    int c;
    int64_t count; /* elements of an image */
    float phi;
} rescale_args;

/* The sum of all threads' values, to each of them, in one order. */
static __device__ double block_sum(double value, double *parts) {
    for (int step = 16; step > 0; step /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, step);
    __syncthreads(); /* the sum before was read */
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = value;
    __syncthreads();
    value = parts[threadIdx.x % 32];
    for (int step = 16; step > 0; step /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

/* `first`: the image's first pixel. */
static __device__ double spread(const view &v, int64_t first, const rescale_args &a,
                                double *parts) {
    double sum = 0.0, squares = 0.0;
    for (int64_t i = threadIdx.x; i < a.count; i += RESCALE_THREADS)
        sum += (double)get(v, first + i / a.c, i % a.c);
    double mean = block_sum(sum, parts) / (double)a.count;
    for (int64_t i = threadIdx.x; i < a.count; i += RESCALE_THREADS) {
        double d = (double)get(v, first + i / a.c, i % a.c) - mean;
        squares += d * d;
    }
    return sqrt(block_sum(squares, parts) / (double)a.count);
}

/* A block for each image. */
static __global__ void __launch_bounds__(RESCALE_THREADS) rescale(rescale_args a) {
    cuda_let_next_start();
    cuda_wait_for_previous();
    __shared__ double parts[RESCALE_THREADS / 32];
    int64_t first = blockIdx.x * (a.count / a.c);
    double own = spread(a.x, first, a, parts), wanted = spread(a.like, first, a, parts);
    double phi = (double)a.phi;
    float factor = own > 0.0 ? (float)(phi * wanted / own + 1.0 - phi) : 1.0f;
    for (int64_t i = threadIdx.x; i < a.count; i += RESCALE_THREADS)
        put(a.y, first + i / a.c, i % a.c, factor * get(a.x, first + i / a.c, i % a.c));
}

sd_status cuda_rescale(sdb_queue *q, const sdb_rescale *op) {
    if (!cuda_is_float(op->x.type) || !cuda_is_float(op->like.type) || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "rescale", op->x.type, op->y.type);
    if (q->planning)
        return SD_OK;
    rescale_args a = {view_of(&op->x), view_of(&op->like), view_of(&op->y), op->y.c};
    a.count = (int64_t)op->y.h * op->y.w * op->y.c;
    a.phi = op->phi;
    cudaError_t error =
        cuda_launch(q, rescale, cuda_early(dim3((unsigned)op->y.n), RESCALE_THREADS), a);
    return cuda_check(q->dev, error, "rescale");
}
