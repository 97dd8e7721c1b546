/*
 * The end of a block of gemm_hopper.cuh: bias, embedding, activation, scale and residual. Each warp
 * does its own 16 rows through its own part of shared memory: the residual comes in and y goes
 * out in pieces of 16 bytes, whole lines at a time.
 */
#ifndef SD_CUDA_GEMM_HOPPER_EPILOGUE_CUH
#define SD_CUDA_GEMM_HOPPER_EPILOGUE_CUH

static __device__ __forceinline__ uint32_t pack(float a, float b, __half) {
    const __half2 h = __floats2half2_rn(a, b);
    return *(const uint32_t *)&h;
}

static __device__ __forceinline__ uint32_t pack(float a, float b, __nv_bfloat16) {
    const __nv_bfloat162 h = __floats2bfloat162_rn(a, b);
    return *(const uint32_t *)&h;
}

static __device__ __forceinline__ float2 unpack(uint32_t v, __half) {
    return __half22float2(*(const __half2 *)&v);
}

static __device__ __forceinline__ float2 unpack(uint32_t v, __nv_bfloat16) {
    return __bfloat1622float2(*(const __nv_bfloat162 *)&v);
}

#include "gemm_hopper_stats.cuh"

static __device__ __forceinline__ float to_float(__half v) {
    return __half2float(v);
}

static __device__ __forceinline__ float to_float(__nv_bfloat16 v) {
    return __bfloat162float(v);
}

/* x times the normal distribution function, 0.5 + x P(x^2) where that is not 0 or 1: the minimax
 * polynomial on [-4.2, 4.2], within 1.2e-5. Further out P stays, and the product only grows. */
static __device__ __forceinline__ float fast_gelu(float x) {
    const float u = fminf(x * x, 4.2f * 4.2f);
    float p = 5.99802664e-11f;
    p = fmaf(p, u, -5.63328749e-09f);
    p = fmaf(p, u, 2.34366517e-07f);
    p = fmaf(p, u, -5.76075513e-06f);
    p = fmaf(p, u, 9.45742708e-05f);
    p = fmaf(p, u, -1.11414735e-03f);
    p = fmaf(p, u, 9.83012866e-03f);
    p = fmaf(p, u, -6.63603694e-02f);
    p = fmaf(p, u, 3.98907437e-01f);
    return x * __saturatef(fmaf(p, x, 0.5f));
}

static __device__ __forceinline__ float fast_sigmoid(float x) {
    return __fdividef(1.0f, 1.0f + __expf(-x));
}

template <int N> static __device__ __forceinline__ void activate(float (&v)[N], sdb_act act) {
    if (act == SDB_ACT_GELU) {
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] = fast_gelu(v[i]);
    } else if (act == SDB_ACT_RELU) {
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] = v[i] < 0.0f ? 0.0f : v[i];
    } else {
        const float slope = act == SDB_ACT_QUICK_GELU ? 1.702f : 1.0f;
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] *= fast_sigmoid(slope * v[i]);
    }
}

/* The groups of 16 columns that this block finishes. */
template <int BN> struct hopper_share {
    int lo, hi;
    __device__ __forceinline__ hopper_share(const hopper_params &p, int kr) {
        lo = kr * p.share + min(kr, p.share_left);
        hi = lo + p.share + (kr < p.share_left ? 1 : 0);
    }
    __device__ __forceinline__ bool has(int g) const {
        return g >= lo && g < hi;
    }
    /* Bytes of a staged row: an odd number of 16 bytes, so that no banks conflict. */
    static __device__ __forceinline__ int row_bytes(const hopper_params &p) {
        return (p.share + (p.share_left ? 1 : 0)) * 32 + 16;
    }
    /* The place of another's group among the parts that this block keeps for others. */
    __device__ __forceinline__ int slot(int g) const {
        return g < lo ? g : g - (hi - lo);
    }
};

/* Adds the cluster's parts of the sum to this block's share of acc. `parts` are at the same
 * address in each block. */
template <int BN>
static __device__ __forceinline__ void add_parts(const hopper_params &p, const hopper_tile &t,
                                                 float (&acc)[BN / 2], uint8_t *parts) {
    const hopper_share<BN> own(p, t.kr);
    const int place = (int)threadIdx.x / 32 * 64 + (int)threadIdx.x % 32;
#pragma unroll
    for (int g = 0; g < BN / 16; g++)
        if (!own.has(g)) {
            float4 *to = (float4 *)parts + own.slot(g) * 512 + place;
            to[0] = make_float4(acc[8 * g], acc[8 * g + 1], acc[8 * g + 2], acc[8 * g + 3]);
            to[32] = make_float4(acc[8 * g + 4], acc[8 * g + 5], acc[8 * g + 6], acc[8 * g + 7]);
        }
    cluster_arrive();
    cluster_wait();
    for (int s = 1; s < p.ck.by; s++) {
        const int kr = t.kr + s < p.ck.by ? t.kr + s : t.kr + s - p.ck.by;
        const hopper_share<BN> other(p, kr);
        const uint32_t from = cluster_map(shared_address((float4 *)parts + place), (uint32_t)kr);
#pragma unroll
        for (int g = 0; g < BN / 16; g++) {
            const float4 u = cluster_load(from + other.slot(g) * 8192, own.has(g));
            const float4 v = cluster_load(from + other.slot(g) * 8192 + 512, own.has(g));
            acc[8 * g] += u.x, acc[8 * g + 1] += u.y;
            acc[8 * g + 2] += u.z, acc[8 * g + 3] += u.w;
            acc[8 * g + 4] += v.x, acc[8 * g + 5] += v.y;
            acc[8 * g + 6] += v.z, acc[8 * g + 7] += v.w;
        }
    }
}

/* Walks over a warp's 16 rows in pieces of 8 columns, `per_row` of them: the lane's next piece. */
struct hopper_walk {
    int row, piece, per_row, rows_on, pieces_on;
    __device__ __forceinline__ hopper_walk(int per_row) : per_row(per_row) {
        const float one = __frcp_rn((float)per_row); /* exact enough for lane / per_row; if that is
                                                        0, the first row is past the last */
        const int lane = (int)threadIdx.x % 32;
        rows_on = (int)(32.5f * one);
        pieces_on = 32 - rows_on * per_row;
        row = (int)(((float)lane + 0.5f) * one);
        piece = lane - row * per_row;
    }
    __device__ __forceinline__ void next() {
        row += rows_on;
        piece += pieces_on;
        if (piece >= per_row) {
            piece -= per_row;
            row++;
        }
    }
};

/* How many pieces a lane has under way at once. More would hide more of their waits, but their code
 * has to be fetched, too, and a short product waits for its code longest. */
#define HOPPER_PIECES 2

/* The residual of a warp's rows, columns column .. column + 8 per_row - 1, to its staging rows. */
template <class T>
static __device__ __forceinline__ void fetch_residual(const hopper_params &p, const int *pixel,
                                                      int column, int per_row, uint32_t staging,
                                                      int row_bytes) {
#pragma unroll 1
    for (hopper_walk w(per_row); w.row < 16;) {
        const T *from[HOPPER_PIECES];
        uint32_t to[HOPPER_PIECES];
        int bytes[HOPPER_PIECES]; /* -1: no piece */
#pragma unroll
        for (int i = 0; i < HOPPER_PIECES; i++) {
            const int at = w.row < 16 ? pixel[w.row] : -1, c = column + 8 * w.piece;
            const int left = at < 0 ? 0 : 2 * max(0, min(8, p.n_out - c));
            from[i] = (const T *)p.residual + (left > 0 ? at * p.residual_ld + c : 0);
            to[i] = staging + w.row * row_bytes + 16 * w.piece;
            bytes[i] = w.row < 16 ? left : -1;
            w.next();
        }
#pragma unroll
        for (int i = 0; i < HOPPER_PIECES; i++)
            if (bytes[i] >= 0)
                copy_async(to[i], from[i], bytes[i]);
    }
}

/* The first row of the warp's 16 of the block's box m. */
static __device__ __forceinline__ int first_row(int m) {
    const int warp = (int)threadIdx.x / 32;
    return m * HOPPER_BOX + warp * 16;
}

/* The number that is added to the column of place i of [half][BN]; an embedding's images differ
 * between the halves of boxes. */
template <class T, int BN>
static __device__ __forceinline__ float term_of(const hopper_params &p, const hopper_tile &t,
                                                int i) {
    const int half = i / BN, row = t.n0 + i - half * BN;
    float v = p.bias && row < p.n_rows ? p.bias[row] : 0.0f;
    if (p.emb) { /* then half a box is of one image */
        const int n = box_origin(p, t.first_box + half / 2).z + half % 2 * p.half_image;
        if (row < p.n_rows && n < p.n)
            v += to_float(((const T *)p.emb)[n * p.emb_ld + row]);
    }
    return v;
}

/* Before the products: where each warp's rows go, what is added to each column, and, where there is
 * room for it, the residual. */
template <class T, int BN, int MT>
static __device__ __forceinline__ void
prepare_epilogue(const hopper_params &p, const hopper_tile &t, uint8_t *memory, uint8_t *after) {
    using layout = hopper_layout<BN, MT>;
    int *pixel = (int *)(after + layout::pixel);
    const int lane = (int)threadIdx.x % 32;
    if (lane < 16 * MT) {
        const int i = first_row(lane / 16) + lane % 16;
        const int3 o = box_origin(p, t.first_box + i / HOPPER_BOX);
        const int r = i % HOPPER_BOX, line = divide(r, p.bw), b = divide(line, p.bh);
        const int x = o.x + r - line * p.bw.by, y = o.y + line - b * p.bh.by, n = o.z + b;
        const bool inside = x < p.ow && y < p.oh && b < p.bn && n < p.n;
        pixel[i] = inside ? (n * p.y_h + y * p.y_step + t.py) * p.y_w + x * p.y_step + t.px : -1;
    }
    __syncwarp();
    if (p.early) { /* MT is 1 */
        const hopper_share<BN> own(p, t.kr);
        const int row_bytes = own.row_bytes(p);
        fetch_residual<T>(
            p, pixel + first_row(0), t.n0 + own.lo * 16, (own.hi - own.lo) * 2,
            shared_address(memory + p.staging) + (int)threadIdx.x / 32 * 16 * row_bytes, row_bytes);
    }
    float *add = (float *)(after + layout::add);
#pragma unroll 1
    for (int i = (int)threadIdx.x; i < 2 * MT * BN; i += HOPPER_THREADS)
        add[i] = term_of<T, BN>(p, t, i);
}

/* A piece of 8 columns of y, of which `left` are inside. */
template <class T>
static __device__ __forceinline__ void store_piece(T *to, const uint4 &piece, int left) {
    if (left >= 8) {
        *(uint4 *)to = piece;
        return;
    }
    const uint32_t pairs[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i < left)
            ((uint16_t *)to)[i] = (uint16_t)(pairs[i / 2] >> i % 2 * 16);
}

template <class T>
static __device__ __forceinline__ void store_rows(const hopper_params &p, const int *pixel,
                                                  int column, int per_row, const uint8_t *staging,
                                                  int row_bytes) {
#pragma unroll 1
    for (hopper_walk w(per_row); w.row < 16;) {
        T *to[HOPPER_PIECES];
        uint4 piece[HOPPER_PIECES];
        int left[HOPPER_PIECES];
#pragma unroll
        for (int i = 0; i < HOPPER_PIECES; i++) {
            const int at = w.row < 16 ? pixel[w.row] : -1, c = column + 8 * w.piece;
            left[i] = at < 0 ? 0 : p.n_out - c;
            to[i] = (T *)p.y + (left[i] > 0 ? at * p.y_ld + c : 0);
            piece[i] = *(const uint4 *)(staging + min(w.row, 15) * row_bytes + 16 * w.piece);
            w.next();
        }
#pragma unroll
        for (int i = 0; i < HOPPER_PIECES; i++)
            if (left[i] > 0)
                store_piece(to[i], piece[i], left[i]);
    }
}

/* The numbers that are added to a lane's share of a group of 16 columns: bias and embedding,
 * residual. */
struct hopper_terms {
    float2 b0, b1;
    uint32_t r[4];
};

static __device__ __forceinline__ hopper_terms load_terms(const float *add, bool residual,
                                                          uint32_t at) {
    hopper_terms u = {*(const float2 *)add, *(const float2 *)(add + 8), {}};
    if (residual)
        load_matrices(u.r, at);
    return u;
}

/* One group of 16 columns: v[0..3] of the first 8, v[4..7] of the next; rows lane / 4 and + 8. */
template <class T, hopper_end END>
static __device__ __forceinline__ void finish_group(const hopper_params &p, float (&v)[8],
                                                    const hopper_terms &u, bool residual) {
    v[0] += u.b0.x, v[1] += u.b0.y, v[2] += u.b0.x, v[3] += u.b0.y;
    v[4] += u.b1.x, v[5] += u.b1.y, v[6] += u.b1.x, v[7] += u.b1.y;
    if (END == HOPPER_ACT)
        activate(v, p.act);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 f = residual ? unpack(u.r[i], T()) : make_float2(0.0f, 0.0f);
        v[2 * i] = fmaf(v[2 * i], p.scale, f.x);
        v[2 * i + 1] = fmaf(v[2 * i + 1], p.scale, f.y);
    }
}

/* One group of 8 values, v[0..3], which are to be finished, and their gates, v[4..7]. */
static __device__ __forceinline__ void finish_gates(const hopper_params &p, float (&v)[8],
                                                    const hopper_terms &u) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float value = v[i] + (i % 2 ? u.b0.y : u.b0.x);
        v[i] = p.scale * value * fast_gelu(v[4 + i] + (i % 2 ? u.b1.y : u.b1.x));
    }
}

template <class T>
static __device__ __forceinline__ void store_group(uint32_t at, const float (&v)[8]) {
    store_matrices(at, pack(v[0], v[1], T()), pack(v[2], v[3], T()), pack(v[4], v[5], T()),
                   pack(v[6], v[7], T()));
}

template <class T>
static __device__ __forceinline__ void store_gates(uint32_t at, const float (&v)[8]) {
    store_matrices(at, pack(v[0], v[1], T()), pack(v[2], v[3], T()));
}

/* The statistics of the block's half `half`, whose rows its four warps staged; `staging` is this
 * warp's. */
template <class T, int BN, int MT>
static __device__ __forceinline__ void
make_stats(const hopper_params &p, const hopper_tile &t, int half, int column, int groups,
           const uint8_t *staging, int row_bytes, const uint8_t *after) {
    const int *pixel = (const int *)(after + hopper_layout<BN, MT>::pixel) + half * CUDA_PART;
    const uint32_t rows = shared_address(staging) - (int)threadIdx.x / 32 % 4 * 16 * row_bytes;
    warpgroup_sync();
    if (*pixel >= 0) { /* a whole part, or none: see halves_are_parts */
        float2 *to = stats_of_half(p, 2 * t.first_box + half, 2 * t.py + t.px);
        column_stats<T>(p, to, column, groups, rows, row_bytes);
    }
    if (MT > 1)
        warpgroup_sync(); /* before the rows are overwritten */
}

template <class T, int BN, int MT, hopper_end END>
static __device__ __forceinline__ void epilogue(const hopper_params &p, const hopper_tile &t,
                                                float (&acc)[MT][BN / 2], uint8_t *memory,
                                                uint8_t *after) {
    using layout = hopper_layout<BN, MT>;
    constexpr bool GEGLU = END == HOPPER_GEGLU;
    const int warp = (int)threadIdx.x / 32;
    const int lane = (int)threadIdx.x % 32;
    const hopper_share<BN> own(p, t.kr);
    const int width = GEGLU ? 8 : 16; /* columns of y in a group */
    const int per_row = (own.hi - own.lo) * width / 8;
    const int column = (GEGLU ? t.n0 / 2 : t.n0) + own.lo * width;
    const int row_bytes = own.row_bytes(p);
    uint8_t *staging = memory + p.staging + warp * 16 * row_bytes;
    const uint32_t lane_at =
        shared_address(staging) + (lane / 8 % 2 * 8 + lane % 8) * row_bytes + lane / 16 * 16;
    __syncthreads(); /* all warps are done with the stages */
#pragma unroll
    for (int m = 0; m < MT; m++) {
        const int half = 2 * m + warp / 4, row = first_row(m);
        const int *pixel = (const int *)(after + layout::pixel) + row;
        const float *add = (const float *)(after + layout::add) + half * BN + lane % 4 * 2;
        if (!GEGLU && p.residual && !p.early)
            fetch_residual<T>(p, pixel, column, per_row, shared_address(staging), row_bytes);
        if (p.ck.by > 1) /* then MT is 1 */
            add_parts<BN>(p, t, acc[m], memory + (p.early ? 0 : 128 * row_bytes));
        if (!GEGLU && p.residual)
            copy_async_wait();
        __syncwarp();
#pragma unroll
        for (int g = 0; g < BN / 16; g++)
            if (own.has(g)) {
                float(&v)[8] = *(float(*)[8]) & acc[m][8 * g];
                const uint32_t at = lane_at + (g - own.lo) * width * 2;
                const hopper_terms u = load_terms(add + 16 * g, !GEGLU && p.residual, at);
                if (GEGLU) {
                    finish_gates(p, v, u);
                    store_gates<T>(at, v);
                } else {
                    finish_group<T, END>(p, v, u, p.residual);
                    store_group<T>(at, v);
                }
            }
        __syncwarp();
        store_rows<T>(p, pixel, column, per_row, staging, row_bytes);
        __syncwarp();
        if (!GEGLU && p.stats)
            make_stats<T, BN, MT>(p, t, 2 * m + warp / 4, column, per_row / 2, staging, row_bytes,
                                  after);
    }
}

#endif
