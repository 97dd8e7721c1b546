/* Attention whose keys are split among blocks: how many, and the join. See attention.h. */
#include "attention.cuh"
#include "attention.h"

#define DIM 512 /* the head size for which blocks can be few */
#define MAX_SPLITS 8
#define LOG2_E 1.44269504088896340736f

/* One block a query and head: y = sum_i 2^(max_i - max) o_i / sum_i 2^(max_i - max) sum_i */
template <typename T>
static __global__ void __launch_bounds__(DIM / 4)
    attention_join_kernel(const __grid_constant__ cuda_attention_args a,
                          const __grid_constant__ attention_splits s) {
    int64_t rows = (int64_t)a.n * a.heads * a.tq, row = blockIdx.x;
    int64_t image = row / a.tq / a.heads, head = row / a.tq % a.heads, query = row % a.tq;
    cuda_let_next_start();
    cuda_wait_for_previous();
    float max = -INFINITY, sum = 0;
    float4 o = {0, 0, 0, 0};
    for (int i = 0; i < s.n; i++)
        max = fmaxf(max, s.max_sum[i * rows + row].x);
    for (int i = 0; i < s.n; i++) {
        float2 ms = s.max_sum[i * rows + row];
        float4 part = *(const float4 *)(s.o + (i * rows + row) * DIM + threadIdx.x * 4);
        float keep = exp2_approx((ms.x - max) * a.scale * LOG2_E);
        sum += ms.y * keep;
        o.x += part.x * keep;
        o.y += part.y * keep;
        o.z += part.z * keep;
        o.w += part.w * keep;
    }
    T *y = (T *)a.y + (image * a.tq + query) * a.y_ld + head * DIM + threadIdx.x * 4;
    y[0] = cuda_round<T>(o.x / sum);
    y[1] = cuda_round<T>(o.y / sum);
    y[2] = cuda_round<T>(o.z / sum);
    y[3] = cuda_round<T>(o.w / sum);
}

/* Splits so that the blocks fill the device once; each has at least 4 tiles. */
static int count_splits(const sdb_device *dev, const cuda_attention_args *a, int rows, int tiles) {
    int64_t blocks = (int64_t)((a->tq + rows - 1) / rows) * a->heads * a->n;
    int splits = (int)(dev->n_sms / blocks);
    if (splits > tiles / 4)
        splits = tiles / 4;
    if (a->causal || a->dim != DIM || splits < 1)
        return 1;
    return splits > MAX_SPLITS ? MAX_SPLITS : splits;
}

sd_status cuda_attention_split(sdb_queue *q, const cuda_attention_args *a, int rows, int keys,
                               attention_splits *s) {
    int tiles = (a->tk + keys - 1) / keys, n = count_splits(q->dev, a, rows, tiles);
    *s = (attention_splits){.n = 1, .tiles_each = (tiles + n - 1) / n};
    s->n = (tiles + s->tiles_each - 1) / s->tiles_each; /* none is empty */
    if (s->n == 1)
        return SD_OK;
    size_t parts = (size_t)s->n * (size_t)a->n * (size_t)a->heads * (size_t)a->tq;
    void *scratch;
    sd_status status = cuda_scratch(q, parts * (DIM * sizeof(float) + sizeof(float2)), &scratch);
    if (status == SD_OK && !q->planning) {
        s->o = (float *)scratch;
        s->max_sum = (float2 *)(s->o + parts * DIM);
    }
    return status;
}

sd_status cuda_attention_join(sdb_queue *q, const cuda_attention_args *a,
                              const attention_splits *s) {
    if (s->n == 1)
        return SD_OK;
    dim3 grid((unsigned)((int64_t)a->n * a->heads * a->tq));
    return a->type == SDB_F16
               ? launch_kernel(q, attention_join_kernel<__half>, grid, DIM / 4, 0, *a, *s)
               : launch_kernel(q, attention_join_kernel<__nv_bfloat16>, grid, DIM / 4, 0, *a, *s);
}
