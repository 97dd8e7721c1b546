/*
 * Copies between the device and the host's memory. That is pageable as a rule, which the driver
 * copies slowly; so all but small uploads go through two pieces of pinned memory that take turns:
 * while one is on its way, the other is filled or emptied.
 */
#include "cuda.h"

#include <string.h>

#define PIECE ((size_t)256 << 10)
#define SMALL ((size_t)64 << 10) /* the driver puts such an upload into its commands */

static sd_status need_pieces(sdb_queue *q) {
    sdb_device *dev = q->dev;
    sd_status status = SD_OK;
    for (int i = 0; i < 2 && !status; i++) {
        cuda_piece *p = &q->pieces[i];
        if (!p->data)
            status = cuda_check(dev, cudaMallocHost(&p->data, PIECE), "pinned memory");
        if (!status && !p->moved)
            status = cuda_check(dev, cudaEventCreateWithFlags(&p->moved, cudaEventDisableTiming),
                                "an event");
    }
    return status;
}

void cuda_free_pieces(sdb_queue *q) {
    for (int i = 0; i < 2; i++) {
        if (q->pieces[i].data)
            cudaFreeHost(q->pieces[i].data);
        if (q->pieces[i].moved)
            cudaEventDestroy(q->pieces[i].moved);
    }
}

static size_t piece_at(size_t i, size_t size) {
    return size - i * PIECE < PIECE ? size - i * PIECE : PIECE;
}

static size_t count_pieces(size_t size) {
    return (size + PIECE - 1) / PIECE;
}

static cudaError_t copy_in(sdb_queue *q, uint8_t *dst, const uint8_t *src, size_t size) {
    cudaError_t error = cudaSuccess;
    for (size_t i = 0; i < count_pieces(size) && error == cudaSuccess; i++) {
        cuda_piece *p = &q->pieces[i % 2];
        size_t at = i * PIECE, n = piece_at(i, size);
        error = cudaEventSynchronize(p->moved);
        if (error != cudaSuccess)
            break;
        memcpy(p->data, src + at, n);
        error = cudaMemcpyAsync(dst + at, p->data, n, cudaMemcpyHostToDevice, q->stream);
        if (error == cudaSuccess)
            error = cudaEventRecord(p->moved, q->stream);
    }
    return error;
}

static cudaError_t copy_out(sdb_queue *q, uint8_t *dst, const uint8_t *src, size_t size) {
    size_t count = count_pieces(size);
    cudaError_t error = cudaSuccess;
    for (size_t i = 0; i <= count && error == cudaSuccess; i++) {
        cuda_piece *p = &q->pieces[i % 2], *before = &q->pieces[(i + 1) % 2];
        if (i < count) {
            error = cudaMemcpyAsync(p->data, src + i * PIECE, piece_at(i, size),
                                    cudaMemcpyDeviceToHost, q->stream);
            if (error == cudaSuccess)
                error = cudaEventRecord(p->moved, q->stream);
        }
        if (i > 0 && error == cudaSuccess) {
            error = cudaEventSynchronize(before->moved);
            if (error == cudaSuccess)
                memcpy(dst + (i - 1) * PIECE, before->data, piece_at(i - 1, size));
        }
    }
    return error;
}

/* The driver copies pageable memory before cudaMemcpyAsync returns, but memory that the host has
 * pinned is read later. */
static cudaError_t copy_in_small(sdb_queue *q, void *dst, const void *src, size_t size) {
    struct cudaPointerAttributes source;
    cudaError_t error = cudaMemcpyAsync(dst, src, size, cudaMemcpyHostToDevice, q->stream);
    if (error == cudaSuccess)
        error = cudaPointerGetAttributes(&source, src);
    if (error == cudaSuccess && source.type != cudaMemoryTypeUnregistered)
        error = cudaStreamSynchronize(q->stream);
    return error;
}

sd_status cuda_upload(sdb_queue *q, void *dst, const void *src, size_t size) {
    sd_status status = cuda_refuse_while_recording(q, "upload");
    if (status || size == 0)
        return status;
    status = cuda_enter(q->dev);
    if (status)
        return status;
    if (size <= SMALL)
        status = cuda_check(q->dev, copy_in_small(q, dst, src, size), "upload");
    else
        status = need_pieces(q);
    if (!status && size > SMALL)
        status = cuda_check(q->dev, copy_in(q, dst, src, size), "upload");
    cuda_leave(q->dev);
    return status;
}

sd_status cuda_download(sdb_queue *q, void *dst, const void *src, size_t size) {
    sd_status status = cuda_refuse_while_recording(q, "download");
    if (status || size == 0)
        return status;
    status = cuda_enter(q->dev);
    if (status)
        return status;
    status = need_pieces(q);
    if (!status)
        status = cuda_check(q->dev, copy_out(q, dst, src, size), "download");
    cuda_leave(q->dev);
    return status;
}
