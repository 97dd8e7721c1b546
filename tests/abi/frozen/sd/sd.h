/*
 * libsd: Stable Diffusion as a C library.
 *
 * Its sections are headers that read from simple to advanced; include this one, which has all:
 *
 *   1. sd/context.h   the context: processor, threads, memory, log; ending a call early
 *   2. sd/model.h     models: loading and asking what was loaded; sd/adapter.h: LoRA and its kin
 *   3. sd/generate.h  pictures in one call: sd_generate
 *   4. sd/image.h     images: files, pixels, resizing
 *   5. sd/tensor.h    tensors: float32 arrays in and out
 *   6. sd/stages.h    the stages one by one: text, VAE; noise, schedule, one call of the UNet
 *   7. sd/sampler.h   sampling: whole runs and single steps
 *
 * Versions, statuses and errors are in sd/base.h, which this includes; sd/profile.h has what a run
 * takes and where its time goes, sd/original.h what only reproduces the original programs, and the
 * training objective. A first program:
 *
 *     sd_context *ctx = NULL;
 *     sd_model *model = NULL;
 *     sd_image *image = NULL;
 *     sd_generate_params params = SD_GENERATE_PARAMS_INIT;
 *     params.prompt = "a red boat on a lake";
 *     if (sd_context_new(NULL, &ctx) || sd_model_load(ctx, "model.safetensors", NULL, &model) ||
 *         sd_generate(model, &params, &image, 1) || sd_image_save(image, "boat.png", NULL))
 *         fprintf(stderr, "%s\n", sd_last_error());
 *     sd_image_free(image);
 *     sd_model_free(model);
 *     sd_context_free(ctx);
 *
 * Rules that hold everywhere:
 *
 *   - Every handle is opaque. What a call gives back through its last pointer, the matching _free
 *     releases; _free(NULL) does nothing. On failure the output pointer is set to NULL and there
 *     is nothing to free. A handle keeps what it was made from alive, so the order of _free calls
 *     does not matter.
 *   - A call retains the handles that it was given until it returns. Any of them may be freed
 *     meanwhile, by another thread or in a callback (also of the log and the allocator): the call
 *     goes on, and the memory goes when it returns. Only a sampler's run ends then: see
 *     sd_sampler_free. Until that callback returns the handle may still be used, and to free it
 *     again does nothing. No call may begin with a handle that was freed otherwise.
 *   - Every call that can fail returns an sd_status; sd_last_error() has the sentence.
 *   - Parameter structs begin with `struct_size`. Start from their SD_*_INIT macro (C, C++20) or
 *     their sd_*_init function (any language), which both give the defaults, and set what you need;
 *     NULL in place of a struct is all defaults. The library reads as many bytes as you have and
 *     takes its defaults for the rest, so a program compiled against an older header keeps working.
 *     What the library fills in is cut to, or filled up with 0 to, struct_size. Members named
 *     `reserved` are 0;
 *     what a struct of a newer header asks for beyond what the library knows is
 *     SD_ERROR_UNSUPPORTED, unless it is 0, which members that come later have as their default.
 *   - Numbers are finite. An infinity or NaN in a tensor that is given is SD_ERROR_ARGUMENT by its
 *     name; where a network makes one of finite numbers, the call ends with SD_ERROR_MODEL and a
 *     sentence that names the stage, and in a run the step.
 *   - Strings are UTF-8 and are copied where they are kept. Paths are bytes for the file system,
 *     and UTF-8 on Windows.
 *   - A tensor of the host's is float32, and will be. Scalars are double, counts and flags int32_t,
 *     sizes in the host's memory size_t, bytes of devices and files uint64_t.
 *   - A callback may make any call, but on a sampler that is in a call those alone that are named
 *     at sd_sampler_new; it returns, and neither throws through the library nor jumps out of it.
 *   - What the library itself takes of memory it takes from the context's allocator. Not so the
 *     parsers of PNG, JPEG, JSON, YAML and ZIP, threads and files of the C library, and a device's
 *     driver.
 *   - The library changes nothing of the process: no locale, signals, random state, BLAS threads,
 *     floating-point mode or current directory. It never prints, exits or aborts.
 *   - Decimals have a point in sentences and in files, whatever locale the host has set.
 *   - A thread that calls the library needs a stack of 64 KB, and what its callbacks take.
 *   - Thread-safety is stated with each handle.
 */
#ifndef SD_SD_H
#define SD_SD_H

/* clang-format off */
#include <sd/context.h>
#include <sd/model.h>
#include <sd/generate.h>
#include <sd/image.h>
#include <sd/tensor.h>
#include <sd/stages.h>
#include <sd/sampler.h>
/* clang-format on */

#endif
