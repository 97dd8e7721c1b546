/* A queue is a stream with its scratch memory; a recorded region is a CUDA graph. */
#include "cuda.h"

#include <string.h>

static sd_status open_queue(sdb_queue *q) {
    sdb_device *dev = q->dev;
    void *counters;
    size_t size = CUDA_N_COUNTERS * sizeof *q->counters;
    sd_status status =
        cuda_check(dev, cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking), "a stream");
    if (!status)
        status = cuda_alloc(dev, size, &counters);
    if (status)
        return status;
    q->counters = counters;
    return cuda_check(dev, cudaMemsetAsync(q->counters, 0, size, q->stream), "clearing counters");
}

sd_status cuda_queue_new(sdb_device *dev, sdb_queue **out) {
    sd_status status = cuda_enter(dev);
    if (status)
        return status;
    sdb_queue *q = dev->host->alloc(dev->host->user, sizeof *q, 64);
    status = q ? SD_OK : SD_ERROR_MEMORY;
    if (q) {
        memset(q, 0, sizeof *q);
        q->dev = dev;
        status = open_queue(q);
    }
    cuda_leave(dev);
    if (status)
        cuda_queue_free(q);
    else
        *out = q;
    return status;
}

void cuda_queue_free(sdb_queue *q) {
    if (!q)
        return;
    sdb_device *dev = q->dev;
    if (cuda_reach(dev)) {
        if (q->recording)
            cuda_record_end(q, NULL);
        if (q->stream) {
            cudaStreamSynchronize(q->stream); /* operations may still use weights and buffers */
            cudaStreamDestroy(q->stream);
        }
        cuda_free_pieces(q);
        cuda_free(dev, q->scratch);
        cuda_free(dev, q->counters);
        (void)cudaGetLastError();
        cuda_leave(dev);
    }
    dev->host->free(dev->host->user, q);
}

/* ----------------------------------------------------------------------------------- scratch */

sd_status cuda_queue_plan(sdb_queue *q, bool planning) {
    q->planning = planning;
    sd_status status = cuda_enter(q->dev); /* a device that is gone is told before any work */
    if (status)
        return status;
    cuda_leave(q->dev);
    if (planning || q->noted <= q->capacity)
        return SD_OK;
    status = cuda_sync(q); /* operations before may still use the old one */
    if (status)
        return status;
    cuda_free(q->dev, q->scratch);
    q->scratch = NULL;
    q->capacity = 0;
    q->moves++;
    status = cuda_buffer_alloc(q->dev, q->noted, &q->scratch);
    if (!status)
        q->capacity = q->noted;
    return status;
}

size_t cuda_queue_scratch(const sdb_queue *q) {
    return q->noted;
}

sd_status cuda_scratch(sdb_queue *q, size_t size, void **out) {
    const sdb_host *host = q->dev->host;
    *out = NULL;
    size += q->kept;
    if (q->planning) {
        if (size > q->noted)
            q->noted = size;
        return SD_OK;
    }
    if (size > q->capacity)
        return host->error(host->user, SD_ERROR_INTERNAL,
                           "an operation needs %zu bytes of scratch memory, %zu were planned", size,
                           q->capacity);
    *out = (char *)q->scratch + q->kept;
    return SD_OK;
}

/* ------------------------------------------------------------------------------------- waiting */

sd_status cuda_refuse_while_recording(sdb_queue *q, const char *what) {
    const sdb_host *host = q->dev->host;
    if (!q->recording)
        return SD_OK;
    return host->error(host->user, SD_ERROR_INTERNAL, "%s while a region is recorded", what);
}

sd_status cuda_sync(sdb_queue *q) {
    sd_status status = cuda_refuse_while_recording(q, "sync");
    if (!status)
        status = cuda_enter(q->dev);
    if (status)
        return status;
    status = cuda_check(q->dev, cudaStreamSynchronize(q->stream), "computing");
    cuda_leave(q->dev);
    return status;
}

/* A region waits for nothing outside of itself: its weights are those of before record_begin. */
sd_status cuda_await_weights(sdb_queue *q) {
    sdb_device *dev = q->dev;
    unsigned n = __atomic_load_n(&dev->n_uploads, __ATOMIC_ACQUIRE);
    if (n == q->n_uploads || q->recording)
        return SD_OK;
    pthread_mutex_lock(&dev->lock);
    n = dev->n_uploads;
    cudaError_t error = cudaStreamWaitEvent(q->stream, dev->uploaded, 0);
    pthread_mutex_unlock(&dev->lock);
    if (error == cudaSuccess)
        q->n_uploads = n;
    return cuda_check(dev, error, "waiting for weights");
}

/* ------------------------------------------------------------------------------------- regions */

sd_status cuda_record_begin(sdb_queue *q) {
    sd_status status = cuda_refuse_while_recording(q, "record_begin");
    if (!status)
        status = cuda_enter(q->dev);
    if (status)
        return status;
    status = cuda_await_weights(q);
    if (!status)
        status =
            cuda_check(q->dev, cudaStreamBeginCapture(q->stream, cudaStreamCaptureModeThreadLocal),
                       "recording");
    q->recording = status == SD_OK;
    cuda_leave(q->dev);
    return status;
}

static sd_status instantiate(sdb_queue *q, cudaGraph_t recorded, sdb_graph **out) {
    const sdb_host *host = q->dev->host;
    sdb_graph *graph = host->alloc(host->user, sizeof *graph, 64);
    if (!graph)
        return SD_ERROR_MEMORY;
    *graph = (sdb_graph){.moves = q->moves};
    cudaError_t error = cudaGraphInstantiate(&graph->exec, recorded, 0);
    if (error == cudaSuccess)
        error = cudaGraphUpload(graph->exec, q->stream); /* or the first replay would do it */
    sd_status status = cuda_check(q->dev, error, "making a graph of a region");
    if (!status) {
        *out = graph;
        return SD_OK;
    }
    if (graph->exec)
        cudaGraphExecDestroy(graph->exec);
    host->free(host->user, graph);
    return status;
}

/* Ends the capture in any case; a device that is broken has no capture left to end. */
sd_status cuda_record_end(sdb_queue *q, sdb_graph **out) {
    sdb_device *dev = q->dev;
    cudaGraph_t recorded = NULL;
    if (out)
        *out = NULL;
    if (!q->recording)
        return dev->host->error(dev->host->user, SD_ERROR_INTERNAL,
                                "record_end without record_begin");
    q->recording = false;
    if (!cuda_reach(dev))
        return cuda_enter(dev);
    cudaError_t error = cudaStreamEndCapture(q->stream, &recorded);
    sd_status status = SD_OK;
    if (out) {
        status = cuda_check(dev, error, "recording");
        if (!status)
            status = instantiate(q, recorded, out);
    }
    if (recorded)
        cudaGraphDestroy(recorded);
    if (!out)
        (void)cudaGetLastError(); /* a failed region's error was reported where it failed */
    cuda_leave(dev);
    return status;
}

sd_status cuda_graph_replay(sdb_queue *q, sdb_graph *graph) {
    const sdb_host *host = q->dev->host;
    sd_status status = cuda_refuse_while_recording(q, "graph_replay");
    if (!status && graph->moves != q->moves)
        status = host->error(host->user, SD_ERROR_INTERNAL,
                             "a region is replayed that was recorded for smaller operations");
    if (!status)
        status = cuda_enter(q->dev);
    if (status)
        return status;
    status = cuda_await_weights(q);
    if (!status)
        status = cuda_check(q->dev, cudaGraphLaunch(graph->exec, q->stream), "replaying a region");
    cuda_leave(q->dev);
    return status;
}

void cuda_graph_free(sdb_queue *q, sdb_graph *graph) {
    sdb_device *dev = q->dev;
    if (!graph)
        return;
    if (cuda_reach(dev)) {
        cudaStreamSynchronize(q->stream);
        cudaGraphExecDestroy(graph->exec);
        (void)cudaGetLastError();
        cuda_leave(dev);
    }
    dev->host->free(dev->host->user, graph);
}

/* --------------------------------------------------------------------------------------- marks */

/* A region has no time of its own while it is recorded: *out is NULL then. */
sd_status cuda_mark_new(sdb_queue *q, sdb_mark **out) {
    sdb_device *dev = q->dev;
    *out = NULL;
    if (q->recording)
        return SD_OK;
    sd_status status = cuda_enter(dev);
    if (status)
        return status;
    sdb_mark *mark = dev->host->alloc(dev->host->user, sizeof *mark, 64);
    status = mark ? cuda_check(dev, cudaEventCreate(&mark->event), "an event") : SD_ERROR_MEMORY;
    if (mark && status)
        mark->event = NULL;
    if (!status)
        status = cuda_check(dev, cudaEventRecord(mark->event, q->stream), "an event");
    cuda_leave(dev);
    if (status)
        cuda_mark_free(dev, mark);
    else
        *out = mark;
    return status;
}

sd_status cuda_mark_seconds(sdb_device *dev, const sdb_mark *begin, const sdb_mark *end,
                            double *seconds) {
    float milliseconds = 0.0f;
    sd_status status = cuda_enter(dev);
    if (status)
        return status;
    cudaError_t error = cudaEventSynchronize(end->event);
    if (error == cudaSuccess)
        error = cudaEventElapsedTime(&milliseconds, begin->event, end->event);
    status = cuda_check(dev, error, "measuring time");
    *seconds = (double)milliseconds * 1e-3;
    cuda_leave(dev);
    return status;
}

void cuda_mark_free(sdb_device *dev, sdb_mark *mark) {
    if (!mark)
        return;
    if (mark->event && cuda_reach(dev)) {
        cudaEventDestroy(mark->event);
        (void)cudaGetLastError();
        cuda_leave(dev);
    }
    dev->host->free(dev->host->user, mark);
}
