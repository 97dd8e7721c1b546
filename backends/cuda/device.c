/* The CUDA device: what is there, its memory, its errors. */
#include "cuda.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ errors */

/* Errors after which the process's context on the card cannot be used any more. */
static bool is_sticky(cudaError_t error) {
    switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
        return true;
    default:
        return false;
    }
}

static void free_memory(size_t *available, size_t *total) {
    *available = *total = 0;
    if (cudaMemGetInfo(available, total) != cudaSuccess)
        (void)cudaGetLastError();
}

/* Memory that the driver wanted for itself: code, a graph, a stream. */
static sd_status out_of_memory(sdb_device *dev, const char *what) {
    const sdb_host *host = dev->host;
    size_t available, total;
    free_memory(&available, &total);
    return host->error(host->user, SD_ERROR_MEMORY,
                       "cuda:%d: %s: out of memory; %zu of the device's %zu bytes are free",
                       dev->ordinal, what, available, total);
}

sd_status cuda_check(sdb_device *dev, cudaError_t error, const char *what) {
    const sdb_host *host = dev->host;
    if (error == cudaSuccess)
        return SD_OK;
    (void)cudaGetLastError(); /* the next call is not to see it again */
    if (is_sticky(error)) {
        int none = 0;
        __atomic_compare_exchange_n(&dev->broken, &none, (int)error, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    }
    if (error == cudaErrorMemoryAllocation)
        return out_of_memory(dev, what);
    return host->error(host->user, SD_ERROR_BACKEND, "cuda:%d: %s: %s", dev->ordinal, what,
                       cudaGetErrorString(error));
}

sd_status cuda_refuse_types(sdb_queue *q, const char *op, sdb_type x, sdb_type y) {
    static const char *const names[SDB_N_TYPES] = {"float32", "float16", "bfloat16", "int32",
                                                   "int64",   "float64", "uint8"};
    const sdb_host *host = q->dev->host;
    return host->error(host->user, SD_ERROR_UNSUPPORTED, "backend 'cuda' has no %s from %s to %s",
                       op, names[x], names[y]);
}

/* While the host records a graph of its own, calls that take memory or wait would spoil it, on any
 * thread in the strictest mode. Those of this module have nothing to do with the host's streams. */
static _Thread_local struct {
    int depth;
    enum cudaStreamCaptureMode before;
} relaxed;

static void relax(void) {
    if (relaxed.depth++ > 0)
        return;
    relaxed.before = cudaStreamCaptureModeRelaxed;
    if (cudaThreadExchangeStreamCaptureMode(&relaxed.before) != cudaSuccess)
        (void)cudaGetLastError();
}

static void unrelax(void) {
    enum cudaStreamCaptureMode mode = relaxed.before;
    if (--relaxed.depth == 0 && cudaThreadExchangeStreamCaptureMode(&mode) != cudaSuccess)
        (void)cudaGetLastError();
}

/* A context that was reset and made again may have the old one's address; its number is new. */
static CUresult push(sdb_device *dev) {
    unsigned long long id = 0;
    CUcontext popped;
    CUresult error = dev->push(dev->context);
    if (error != CUDA_SUCCESS)
        return error;
    if (dev->context_id(dev->context, &id) == CUDA_SUCCESS && id == dev->id) {
        relax();
        return CUDA_SUCCESS;
    }
    dev->pop(&popped);
    return CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

sd_status cuda_enter(sdb_device *dev) {
    const sdb_host *host = dev->host;
    int broken = __atomic_load_n(&dev->broken, __ATOMIC_RELAXED);
    if (broken)
        return host->error(host->user, SD_ERROR_BACKEND,
                           "cuda:%d cannot be used since an earlier error: %s", dev->ordinal,
                           cudaGetErrorString((cudaError_t)broken));
    CUresult error = push(dev);
    if (error == CUDA_SUCCESS)
        return SD_OK;
    return host->error(host->user, SD_ERROR_BACKEND, "cuda:%d: %s", dev->ordinal,
                       error == CUDA_ERROR_NOT_INITIALIZED
                           ? "opened before this process was forked; CUDA serves the parent alone"
                           : "the device's context is gone: the host has reset the device");
}

bool cuda_reach(sdb_device *dev) {
    return dev->context && push(dev) == CUDA_SUCCESS;
}

void cuda_leave(sdb_device *dev) {
    CUcontext popped;
    unrelax();
    dev->pop(&popped);
}

/* ----------------------------------------------------------------------------------- opening */

static sd_status fail(const sdb_host *host, const char *why) {
    return host->error(host->user, SD_ERROR_BACKEND, "%s", why);
}

/* Why there is no device at all, or OK. */
static sd_status find_driver(const sdb_host *host, int *count) {
    int driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        (void)cudaGetLastError();
        return fail(host, "no NVIDIA driver was found (libcuda.so.1 cannot be loaded)");
    }
    cudaError_t error = cudaGetDeviceCount(count);
    (void)cudaGetLastError();
    if (error == cudaErrorInsufficientDriver)
        return host->error(host->user, SD_ERROR_BACKEND,
                           "the NVIDIA driver is too old: it serves CUDA %d.%d, and this module "
                           "was built with CUDA %d.%d",
                           driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                           CUDART_VERSION % 1000 / 10);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && *count == 0))
        return fail(host, "the NVIDIA driver finds no CUDA device");
    if (error != cudaSuccess)
        return host->error(host->user, SD_ERROR_BACKEND, "the NVIDIA driver fails: %s",
                           cudaGetErrorString(error));
    return SD_OK;
}

static int attribute(int ordinal, enum cudaDeviceAttr which) {
    int value = 0;
    if (cudaDeviceGetAttribute(&value, which, ordinal) != cudaSuccess)
        (void)cudaGetLastError();
    return value;
}

static sd_status read_properties(sdb_device *dev) {
    const sdb_host *host = dev->host;
    struct cudaDeviceProp properties;
    sd_status status = cuda_check(dev, cudaGetDeviceProperties(&properties, dev->ordinal),
                                  "reading the device's properties");
    if (status)
        return status;
    dev->major = properties.major;
    dev->minor = properties.minor;
    dev->n_sms = properties.multiProcessorCount;
    dev->l2_size = (size_t)properties.l2CacheSize;
    dev->memory_total = properties.totalGlobalMem;
    dev->max_shared = attribute(dev->ordinal, cudaDevAttrMaxSharedMemoryPerBlockOptin);
    snprintf(dev->name, sizeof dev->name, "%.63s", properties.name);
    if (dev->major < 8)
        return host->error(host->user, SD_ERROR_BACKEND,
                           "cuda:%d: %s has compute capability %d.%d; 8.0 or later is needed",
                           dev->ordinal, dev->name, dev->major, dev->minor);
    return SD_OK;
}

static sd_status driver_function(sdb_device *dev, const char *name, void *out) {
    enum cudaDriverEntryPointQueryResult found;
    void *function = NULL;
    cudaError_t error =
        cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found);
    (void)cudaGetLastError();
    if (error != cudaSuccess || found != cudaDriverEntryPointSuccess || !function)
        return dev->host->error(dev->host->user, SD_ERROR_BACKEND, "cuda:%d: the driver has no %s",
                                dev->ordinal, name);
    memcpy(out, &function, sizeof function); /* ISO C has no cast from object to function */
    return SD_OK;
}

/* Without its code the portable kernels serve. */
static sd_status find_hopper(sdb_device *dev) {
    cudaError_t error = cuda_probe_hopper();
    dev->hopper = error == cudaSuccess;
    if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidKernelImage ||
        error == cudaErrorInvalidDeviceFunction || error == cudaErrorJitCompilationDisabled) {
        (void)cudaGetLastError();
        return SD_OK;
    }
    return cuda_check(dev, error, "loading the code for Hopper");
}

/* Calls that need the device's context, which is made current first. */
static sd_status open_in_context(sdb_device *dev) {
    cudaError_t error = cudaSetDevice(dev->ordinal);
    if (error == cudaErrorInitializationError) {
        (void)cudaGetLastError();
        return fail(dev->host, "the NVIDIA driver does not start: it does not serve the children "
                               "of a process that has used it");
    }
    sd_status status = cuda_check(dev, error, "opening the device");
    if (!status)
        status = cuda_check(dev, cudaFree(NULL), "opening the device");
    CUresult (*current)(CUcontext *) = NULL;
    int ptx_version = 0;
    if (!status)
        status = driver_function(dev, "cuCtxGetCurrent", &current);
    if (!status && (current(&dev->context) != CUDA_SUCCESS || !dev->context ||
                    dev->context_id(dev->context, &dev->id) != CUDA_SUCCESS))
        status = fail(dev->host, "the CUDA device has no context after it was opened");
    if (!status)
        status =
            cuda_check(dev, cuda_probe_code(&ptx_version), "this module has no code for the card");
    dev->early = ptx_version >= 90;
    if (!status && dev->major == 9 && dev->minor == 0)
        status = find_hopper(dev);
    if (!status)
        status = cuda_check(dev, cudaStreamCreateWithFlags(&dev->upload, cudaStreamNonBlocking),
                            "a stream");
    if (!status)
        status = cuda_check(dev, cudaEventCreateWithFlags(&dev->uploaded, cudaEventDisableTiming),
                            "an event");
    return status;
}

/* The caller's context is put back whatever happens. */
static sd_status open_device(sdb_device *dev) {
    CUresult (*get)(CUcontext *) = NULL;
    CUresult (*set)(CUcontext) = NULL;
    CUcontext before = NULL;
    sd_status status = read_properties(dev);
    if (!status)
        status = driver_function(dev, "cuCtxGetCurrent", &get);
    if (!status)
        status = driver_function(dev, "cuCtxSetCurrent", &set);
    if (!status)
        status = driver_function(dev, "cuCtxPushCurrent", &dev->push);
    if (!status)
        status = driver_function(dev, "cuCtxPopCurrent", &dev->pop);
    if (!status)
        status = driver_function(dev, "cuCtxGetId", &dev->context_id);
    if (!status)
        status = driver_function(dev, "cuMemGetAddressRange", &dev->address_range);
    if (!status)
        status = driver_function(dev, "cuTensorMapEncodeTiled", &dev->encode_tiled);
    if (status)
        return status;
    get(&before);
    relax();
    status = open_in_context(dev);
    unrelax();
    set(before);
    return status;
}

sd_status cuda_device_open(const sdb_host *host, int index, sdb_device **out) {
    int count = 0;
    sd_status status = find_driver(host, &count);
    if (status)
        return status;
    if (index < 0 || index >= count)
        return host->error(host->user, SD_ERROR_BACKEND,
                           "cuda:%d: no such device; there %s %d, from cuda:0", index,
                           count == 1 ? "is" : "are", count);
    sdb_device *dev = host->alloc(host->user, sizeof *dev, 64);
    if (!dev)
        return SD_ERROR_MEMORY;
    memset(dev, 0, sizeof *dev);
    dev->host = host;
    dev->ordinal = index;
    pthread_mutex_init(&dev->lock, NULL);
    status = open_device(dev);
    if (status == SD_ERROR_MEMORY) /* of the card: "auto" then takes the CPU */
        status = host->error(host->user, SD_ERROR_BACKEND,
                             "cuda:%d: no device memory is left to open it with", index);
    if (status) {
        cuda_device_close(dev);
        return status;
    }
    *out = dev;
    return SD_OK;
}

/* After a sticky error the driver has let go of everything; the calls below then fail, and what
 * they return changes nothing. Of a context that is gone no handle may be touched. */
void cuda_device_close(sdb_device *dev) {
    if (!dev)
        return;
    const sdb_host *host = dev->host;
    cuda_weights_close(dev);
    if (cuda_reach(dev)) {
        if (dev->uploaded)
            cudaEventDestroy(dev->uploaded);
        if (dev->upload)
            cudaStreamDestroy(dev->upload);
        (void)cudaGetLastError();
        cuda_leave(dev);
    }
    pthread_mutex_destroy(&dev->lock);
    host->free(host->user, dev);
}

void cuda_device_info(const sdb_device *dev, sdb_device_info *info) {
    memset(info, 0, sizeof *info);
    snprintf(info->name, sizeof info->name, "cuda:%d (%.63s, compute capability %d.%d)",
             dev->ordinal, dev->name, dev->major, dev->minor);
    info->memory_total = dev->memory_total;
    info->autocast_type = SDB_F16;
}

/* ------------------------------------------------------------------------------------ memory */

/* The bytes of an allocation, which are more than were asked for. */
static uint64_t size_of(const sdb_device *dev, const void *ptr) {
    CUdeviceptr base = 0;
    size_t size = 0;
    return dev->address_range(&base, &size, (CUdeviceptr)(uintptr_t)ptr) == CUDA_SUCCESS ? size : 0;
}

static void count(sdb_device *dev, uint64_t size) {
    uint64_t now = __atomic_add_fetch(&dev->memory, size, __ATOMIC_RELAXED);
    uint64_t peak = __atomic_load_n(&dev->memory_peak, __ATOMIC_RELAXED);
    while (now > peak && !__atomic_compare_exchange_n(&dev->memory_peak, &peak, now, false,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

sd_status cuda_alloc(sdb_device *dev, size_t size, void **out) {
    const sdb_host *host = dev->host;
    size_t available, total;
    *out = NULL;
    cudaError_t error = cudaMalloc(out, size ? size : 1);
    if (error == cudaSuccess)
        count(dev, size_of(dev, *out));
    if (error != cudaErrorMemoryAllocation)
        return cuda_check(dev, error, "allocating memory");
    (void)cudaGetLastError();
    *out = NULL;
    free_memory(&available, &total);
    return host->error(host->user, SD_ERROR_MEMORY,
                       "cuda:%d: out of device memory: %zu bytes were wanted, %zu of %zu are free",
                       dev->ordinal, size, available, total);
}

void cuda_free(sdb_device *dev, void *ptr) {
    if (!ptr || !cuda_reach(dev))
        return;
    uint64_t size = size_of(dev, ptr);
    if (cudaFree(ptr) == cudaSuccess)
        __atomic_sub_fetch(&dev->memory, size, __ATOMIC_RELAXED);
    else
        (void)cudaGetLastError(); /* a broken device: nothing is left to free */
    cuda_leave(dev);
}

sd_status cuda_buffer_alloc(sdb_device *dev, size_t size, void **out) {
    *out = NULL;
    sd_status status = cuda_enter(dev);
    if (status)
        return status;
    status = cuda_alloc(dev, size, out);
    cuda_leave(dev);
    return status;
}

void cuda_memory_used(const sdb_device *dev, uint64_t *now, uint64_t *peak) {
    *now = __atomic_load_n(&dev->memory, __ATOMIC_RELAXED);
    *peak = __atomic_load_n(&dev->memory_peak, __ATOMIC_RELAXED);
}
