/*
 * 3x3 convolutions to a handful of channels, the networks' last layers: to be fast is to read x
 * once. A block takes a square of outputs and the pixels around it. For each of those pixels it
 * computes the products with all taps of all outputs, one matrix product with N = 9 * n_rows (tap,
 * output), and each output then adds its nine pixels' products up in shared memory.
 *
 * x goes from device memory right into the tensor cores' fragments. In a dot product the order of
 * k is free, so lane t of four takes channels 8 t .. 8 t + 7 of 32 as one load, and the weights lie
 * likewise.
 */
#include "gemm_common.cuh"
#include "mma.cuh"

enum { NARROW_THREADS = 256, NARROW_ROWS = 8 };

struct narrow_work {
    int tile;         /* outputs along an edge */
    int across, down; /* tiles of an image */
    int chunks;       /* of 32 channels */
    bool aligned;
};

/* Pixels of a tile with its border, in whole fragments. */
static __host__ __device__ int narrow_pixels(int tile) {
    return ((tile + 2) * (tile + 2) + 15) / 16 * 16;
}

/* The weights' fragments: [chunks][NT][32 lanes] of 16 bytes. */
template <int NT>
__device__ __forceinline__ void load_weights(const cuda_gemm &g, int chunks, uint4 *weights) {
    for (int at = (int)threadIdx.x; at < chunks * NT * 32; at += NARROW_THREADS) {
        int lane = at % 32, column = at / 32 % NT * 8 + lane / 4, chunk = at / 32 / NT;
        int tap = column / g.n_rows, row = column - tap * g.n_rows;
        const uint16_t *from =
            (const uint16_t *)g.weight + ((int64_t)row * 9 + tap) * g.k + chunk * 32 + lane % 4 * 8;
        weights[at] = tap < 9 ? __ldg((const uint4 *)from) : make_uint4(0, 0, 0, 0);
    }
}

/* The first channels of this lane in pixel `at` of the tile; NULL outside of the image. */
__device__ __forceinline__ const uint16_t *pixel_of(const cuda_gemm &g, int tile, int image, int y0,
                                                    int x0, int at) {
    int row = at / (tile + 2), y = y0 + row, x = x0 + at - row * (tile + 2);
    if (row >= tile + 2 || y < 0 || y >= g.h || x < 0 || x >= g.w)
        return nullptr;
    return (const uint16_t *)g.x + (((int64_t)image * g.h + y) * g.w + x) * g.x_ld +
           threadIdx.x % 4 * 8;
}

/* acc += 16 pixels times all columns; lo and hi are this lane's two pixels. */
template <typename T, int NT>
__device__ __forceinline__ void multiply_pixels(const cuda_gemm &g, int chunks,
                                                const uint4 *weights, const uint16_t *lo,
                                                const uint16_t *hi, float (&acc)[NT][4]) {
    int lane = (int)threadIdx.x % 32, left = g.c - lane % 4 * 8;
#pragma unroll 4
    for (int chunk = 0; chunk < chunks; chunk++) {
        uint4 p = {}, q = {};
        if (lo && chunk * 32 < left)
            p = *(const uint4 *)(lo + chunk * 32);
        if (hi && chunk * 32 < left)
            q = *(const uint4 *)(hi + chunk * 32);
        const uint32_t first[4] = {p.x, q.x, p.y, q.y}, second[4] = {p.z, q.z, p.w, q.w};
#pragma unroll
        for (int j = 0; j < NT; j++) {
            uint4 w = weights[(chunk * NT + j) * 32 + lane];
            mma16816<T>(acc[j], first, w.x, w.y);
            mma16816<T>(acc[j], second, w.z, w.w);
        }
    }
}

template <typename T, int NT>
__global__ void __launch_bounds__(NARROW_THREADS, NT < 5 ? 3 : 2)
    narrow_kernel(const __grid_constant__ cuda_gemm g, const __grid_constant__ narrow_work work) {
    constexpr int PITCH = NT * 8 + 1; /* odd: neighbours in different banks */
    extern __shared__ __align__(16) char shared[];
    uint4 *weights = (uint4 *)shared;
    float *products = (float *)(weights + work.chunks * NT * 32); /* [pixels][PITCH] */
    int block = (int)blockIdx.x, tile = work.tile;
    int image = block / (work.across * work.down);
    block -= image * work.across * work.down;
    int oy = block / work.across * tile, ox = block % work.across * tile;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;

    load_weights<NT>(g, work.chunks, weights);
    cuda_let_next_start();
    cuda_wait_for_previous();
    __syncthreads();
    for (int at = warp * 16; at < narrow_pixels(tile); at += NARROW_THREADS / 2) {
        int lo = at + lane / 4, hi = lo + 8;
        float acc[NT][4] = {};
        multiply_pixels<T, NT>(g, work.chunks, weights,
                               pixel_of(g, tile, image, oy - g.pad_y, ox - g.pad_x, lo),
                               pixel_of(g, tile, image, oy - g.pad_y, ox - g.pad_x, hi), acc);
#pragma unroll
        for (int j = 0; j < NT; j++) {
            int column = j * 8 + lane % 4 * 2;
            products[lo * PITCH + column] = acc[j][0];
            products[lo * PITCH + column + 1] = acc[j][1];
            products[hi * PITCH + column] = acc[j][2];
            products[hi * PITCH + column + 1] = acc[j][3];
        }
    }
    __syncthreads();
    int y = (int)threadIdx.x / tile, x = (int)threadIdx.x % tile;
    if (y >= tile || oy + y >= g.oh || ox + x >= g.ow)
        return;
    float v[NARROW_ROWS] = {};
    for (int tap = 0; tap < 9; tap++) {
        const float *from =
            products + ((y + tap / 3) * (tile + 2) + x + tap % 3) * PITCH + tap * g.n_rows;
#pragma unroll
        for (int i = 0; i < NARROW_ROWS; i++)
            if (i < g.n_rows)
                v[i] += from[i];
    }
    float bias[8];
    load_bias8(g, work.aligned, 0, bias);
    int m = (image * g.oh + oy + y) * g.ow + ox + x;
    finish8<T>(g, work.aligned, output8_of<T>(g, work.aligned, m, 0, 0, 0), 0, bias, v);
}

/* Groups of eight columns, of which there are kernels. */
static int narrow_groups(int n_rows) {
    int groups = (9 * n_rows + 7) / 8;
    return groups <= 4 ? 4 : groups <= 5 ? 5 : 9;
}

static narrow_work narrow_plan(const sdb_device *dev, const cuda_gemm *g) {
    narrow_work work;
    /* With its border 16 fragments of pixels, two for each warp, or for small pictures 7. */
    int64_t large = (int64_t)g->n * ((g->oh + 13) / 14) * ((g->ow + 13) / 14);
    work.tile = large >= 2 * dev->n_sms ? 14 : 8;
    work.across = (g->ow + work.tile - 1) / work.tile;
    work.down = (g->oh + work.tile - 1) / work.tile;
    work.chunks = (g->c + 31) / 32;
    work.aligned = epilogue_is_aligned(g);
    return work;
}

static int narrow_shared(const narrow_work *work, int groups) {
    return work->chunks * groups * 512 + narrow_pixels(work->tile) * (groups * 8 + 1) * 4;
}

extern "C" bool cuda_gemm_narrow_fits(const sdb_device *dev, const cuda_gemm *g) {
    if (g->n_rows > NARROW_ROWS || g->kh != 3 || g->kw != 3 || g->stride != 1 || g->phases != 1 ||
        g->type == SDB_F32 || g->c % 8 != 0 || g->c > 65536)
        return false;
    if ((uintptr_t)g->x % 16 != 0 || g->x_ld % 8 != 0)
        return false;
    narrow_work work = narrow_plan(dev, g);
    return narrow_shared(&work, narrow_groups(g->n_rows)) <= dev->max_shared;
}

template <typename T> static cudaError_t launch(sdb_queue *q, const cuda_gemm *g) {
    narrow_work work = narrow_plan(q->dev, g);
    int groups = narrow_groups(g->n_rows);
    cuda_grid grid = cuda_early(g->n * work.across * work.down, NARROW_THREADS);
    grid.shared = (size_t)narrow_shared(&work, groups);
    return groups == 4   ? cuda_launch(q, narrow_kernel<T, 4>, grid, *g, work)
           : groups == 5 ? cuda_launch(q, narrow_kernel<T, 5>, grid, *g, work)
                         : cuda_launch(q, narrow_kernel<T, 9>, grid, *g, work);
}

extern "C" sd_status cuda_gemm_narrow(sdb_queue *q, const cuda_gemm *g) {
    if (q->planning)
        return SD_OK;
    cudaError_t error = g->type == SDB_F16 ? launch<__half>(q, g) : launch<__nv_bfloat16>(q, g);
    return cuda_check(q->dev, error, "launch of a narrow convolution");
}
