/* Operations that look at one element or gather rows. Arithmetic is float32. */
#include "convert.cuh"
#include "launch.cuh"

/* --------------------------------------------------------------------------- places of elements */

/*
 * The elements of an operation as rows of vectors. Where all tensors are packed a row is an image,
 * and otherwise a pixel. Vectors are VECTOR elements where all tensors allow it, and otherwise 1.
 */
#define VECTOR 4

typedef struct places {
    int64_t total;     /* vectors */
    int64_t per_row;   /* vectors */
    int64_t per_image; /* rows */
    int width;         /* elements of a vector */
    bool packed;
} places;

static places places_of(const sdb_tensor *y, const sdb_tensor *x, int n_x) {
    int64_t pixels = (int64_t)y->h * y->w;
    places p = {};
    bool vectors = cuda_vectors<VECTOR>(y);
    p.packed = y->ld == y->c;
    for (int i = 0; i < n_x; i++) {
        p.packed = p.packed && x[i].ld == x[i].c;
        vectors = vectors && cuda_vectors<VECTOR>(&x[i]);
    }
    p.width = vectors ? VECTOR : 1;
    p.per_image = p.packed ? 1 : pixels;
    p.per_row = (p.packed ? pixels * y->c : y->c) / p.width;
    p.total = p.per_row * p.per_image * y->n;
    return p;
}

/* A tensor for a kernel. */
typedef struct view {
    void *data;
    sdb_type type;
    int64_t row, image; /* elements from row to row and image to image; image 0: broadcast */
} view;

static view view_of(const places &p, const sdb_tensor *t) {
    int64_t pixels = (int64_t)t->h * t->w;
    return {t->data, t->type, p.packed ? 0 : t->ld, t->n == 1 ? 0 : pixels * t->ld};
}

typedef struct place {
    int64_t image, row, element;
} place;

static __device__ __forceinline__ place place_at(const places &p, int64_t i) {
    int64_t row = i / p.per_row;
    return {row / p.per_image, row % p.per_image, i % p.per_row * p.width};
}

static __device__ __forceinline__ int64_t offset(const view &v, const place &at) {
    return at.image * v.image + at.row * v.row + at.element;
}

static bool all_float(const sdb_tensor *x, int n) {
    for (int i = 0; i < n; i++)
        if (!cuda_is_float(x[i].type))
            return false;
    return true;
}

/* ------------------------------------------------------------------------------------- combine */

typedef struct combine_args {
    places places;
    view y, x[SDB_MAX_TERMS];
    int n_terms;
    const float *coef;
} combine_args;

template <int N> static __global__ void combine(combine_args a) {
    cuda_let_next_start();
    cuda_wait_for_previous();
    int64_t i = cuda_thread();
    if (i >= a.places.total)
        return;
    place at = place_at(a.places, i);
    float sum[N] = {};
    for (int t = 0; t < a.n_terms; t++) {
        float x[N], coef = a.coef ? a.coef[t] : 1.0f;
        cuda_load_any(x, a.x[t].data, a.x[t].type, offset(a.x[t], at));
        for (int j = 0; j < N; j++)
            sum[j] = t == 0 ? coef * x[j] : fmaf(coef, x[j], sum[j]);
    }
    cuda_store_any(a.y.data, a.y.type, offset(a.y, at), sum);
}

sd_status cuda_combine(sdb_queue *q, const sdb_combine *op) {
    if (!all_float(op->x, op->n_terms) || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "combine", op->x[0].type, op->y.type);
    if (q->planning)
        return SD_OK;
    combine_args a = {places_of(&op->y, op->x, op->n_terms)};
    a.y = view_of(a.places, &op->y);
    for (int i = 0; i < op->n_terms; i++)
        a.x[i] = view_of(a.places, &op->x[i]);
    a.n_terms = op->n_terms;
    a.coef = (const float *)op->coef.data;
    unsigned blocks = cuda_blocks(a.places.total);
    cudaError_t error = a.places.width == VECTOR
                            ? cuda_launch(q, combine<VECTOR>, cuda_early(blocks, CUDA_THREADS), a)
                            : cuda_launch(q, combine<1>, cuda_early(blocks, CUDA_THREADS), a);
    return cuda_check(q->dev, error, "combine");
}

/* ------------------------------------------------------------------------ activation, modulate */

/* y = act((1 + scale) x + shift), or act(x) where scale.data is NULL. */
typedef struct map_args {
    places places;
    view y, x, scale, shift;
    int channels;
    sdb_act act;
} map_args;

template <int N> static __global__ void map(map_args a) {
    cuda_let_next_start();
    cuda_wait_for_previous();
    int64_t i = cuda_thread();
    if (i >= a.places.total)
        return;
    place at = place_at(a.places, i);
    float x[N];
    cuda_load_any(x, a.x.data, a.x.type, offset(a.x, at));
    if (a.scale.data) {
        float scale[N], shift[N];
        int64_t c = at.element % a.channels;
        cuda_load_any(scale, a.scale.data, a.scale.type, at.image * a.scale.image + c);
        cuda_load_any(shift, a.shift.data, a.shift.type, at.image * a.shift.image + c);
        for (int j = 0; j < N; j++)
            x[j] = fmaf(1.0f + scale[j], x[j], shift[j]);
    }
    for (int j = 0; j < N; j++)
        x[j] = cuda_activate(a.act, x[j]);
    cuda_store_any(a.y.data, a.y.type, offset(a.y, at), x);
}

static sd_status run_map(sdb_queue *q, const map_args *a, const char *what) {
    unsigned blocks = cuda_blocks(a->places.total);
    cudaError_t error = a->places.width == VECTOR
                            ? cuda_launch(q, map<VECTOR>, cuda_early(blocks, CUDA_THREADS), *a)
                            : cuda_launch(q, map<1>, cuda_early(blocks, CUDA_THREADS), *a);
    return cuda_check(q->dev, error, what);
}

sd_status cuda_activation(sdb_queue *q, const sdb_activation *op) {
    if (!cuda_is_float(op->x.type) || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "activation", op->x.type, op->y.type);
    if (q->planning)
        return SD_OK;
    map_args a = {places_of(&op->y, &op->x, 1)};
    a.y = view_of(a.places, &op->y);
    a.x = view_of(a.places, &op->x);
    a.channels = op->y.c;
    a.act = op->act;
    return run_map(q, &a, "activation");
}

sd_status cuda_modulate(sdb_queue *q, const sdb_modulate *op) {
    const sdb_tensor x[] = {op->x, op->scale, op->shift};
    if (!all_float(x, 3) || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "modulate", op->x.type, op->y.type);
    if (q->planning)
        return SD_OK;
    map_args a = {places_of(&op->y, &op->x, 1)};
    if (!cuda_vectors<VECTOR>(&op->scale) || !cuda_vectors<VECTOR>(&op->shift)) {
        a.places.per_row *= a.places.width;
        a.places.total *= a.places.width;
        a.places.width = 1;
    }
    a.y = view_of(a.places, &op->y);
    a.x = view_of(a.places, &op->x);
    a.scale = view_of(a.places, &op->scale);
    a.shift = view_of(a.places, &op->shift);
    a.channels = op->y.c;
    a.act = op->act;
    return run_map(q, &a, "modulate");
}

/* -------------------------------------------------------------------------------------- embed */

typedef struct embed_args {
    const int32_t *ids;
    int64_t ids_ld, y_ld, total; /* total: elements of y */
    const void *token, *position;
    sdb_type token_type, position_type, y_type;
    void *y;
    int c, tokens;
} embed_args;

static __global__ void embed(embed_args a) {
    cuda_let_next_start();
    cuda_wait_for_previous();
    int64_t i = cuda_thread();
    if (i >= a.total)
        return;
    int64_t row = i / a.c, c = i % a.c;
    float value[1], position[1];
    cuda_load_any(value, a.token, a.token_type, a.ids[row * a.ids_ld] * (int64_t)a.c + c);
    if (a.position) {
        cuda_load_any(position, a.position, a.position_type, row % a.tokens * a.c + c);
        value[0] += position[0];
    }
    cuda_store_any(a.y, a.y_type, row * a.y_ld + c, value);
}

sd_status cuda_embed(sdb_queue *q, const sdb_embed *op) {
    const sdb_weight *token = op->token, *position = op->position;
    if (op->ids.type != SDB_I32 || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "embed", op->ids.type, op->y.type);
    if (q->planning)
        return SD_OK;
    embed_args a = {};
    a.ids = (const int32_t *)op->ids.data;
    a.ids_ld = op->ids.ld;
    a.y = op->y.data;
    a.y_ld = op->y.ld;
    a.y_type = op->y.type;
    a.c = op->y.c;
    a.tokens = op->y.h * op->y.w;
    a.total = (int64_t)op->y.n * a.tokens * a.c;
    a.token = token->data;
    a.token_type = token->type;
    if (position) {
        a.position = position->data;
        a.position_type = position->type;
    }
    cudaError_t error = cuda_launch(q, embed, cuda_early(cuda_blocks(a.total), CUDA_THREADS), a);
    return cuda_check(q->dev, error, "embed");
}

/* -------------------------------------------------------------------------- timestep_embedding */

/* Angles are up to 1000 and their cosines are wanted to float32's accuracy, so they are float64. */
static __global__ void timestep_embedding(const float *t, int64_t t_ld, void *y, sdb_type type,
                                          int64_t y_ld, int c, int64_t total) {
    int64_t i = cuda_thread();
    if (i >= total)
        return;
    int64_t n = i / c;
    int column = (int)(i % c), half = c / 2;
    float value[1] = {0.0f};
    if (column < 2 * half) {
        double frequency = exp(-9.2103403719761836 * (column % half) / half); /* ln(10000) */
        double angle = (double)t[n * t_ld] * frequency;
        value[0] = (float)(column < half ? cos(angle) : sin(angle));
    }
    cuda_store_any(y, type, n * y_ld + column, value);
}

sd_status cuda_timestep_embedding(sdb_queue *q, const sdb_timestep_embedding *op) {
    if (op->t.type != SDB_F32 || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "timestep_embedding", op->t.type, op->y.type);
    if (q->planning)
        return SD_OK;
    int64_t total = (int64_t)op->y.n * op->y.c;
    timestep_embedding<<<cuda_blocks(total), CUDA_THREADS, 0, q->stream>>>(
        (const float *)op->t.data, op->t.ld, op->y.data, op->y.type, op->y.ld, op->y.c, total);
    return CUDA_LAUNCHED(q, "timestep_embedding");
}
