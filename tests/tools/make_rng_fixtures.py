#!/usr/bin/env python3
"""Writes tests/unit/rng_fixtures.h: what torch.randn gives, as bits of float32.

The CPU values come from torch itself. The CUDA values come from a NumPy model of torch's kernel
(curand's Philox4x32-10 and Box-Muller, a thread's subsequence is its index), so no GPU is needed.

    python3 tests/tools/make_rng_fixtures.py > tests/unit/rng_fixtures.h
"""
import sys

import numpy as np
import torch

# (seed, sizes of calls made one after the other)
CPU_CASES = [
    (0, [1, 2, 3, 16]),
    (42, [4 * 64 * 64, 16]),
    (1, [15, 17, 31]),
    (2**32 + 5, [7, 33, 7]),
    (2**63 + 17, [48]),
    (987654321, [100, 1, 16 * 16 * 4]),
]
CUDA_CASES = [
    (0, [1, 5]),
    (42, [4 * 64 * 64, 4 * 64 * 64]),
    (2**32 + 5, [17, 256, 257]),
    (123456789012345, [64]),
]
# Beyond what an H100 holds at once: 132 * 2048 threads.
CUDA_LARGE = (7, [1000000, 8])
THREADS = 132 * 2048
KEEP = 24  # values kept at either end of a long call


def philox(counter, key):
    """counter: uint32 [4, n]; key: two ints. Salmon et al. 2011."""
    c = [x.astype(np.uint64) for x in counter]
    k0, k1 = key
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        low = np.uint64(0xFFFFFFFF)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & low,
             (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [x.astype(np.uint32) for x in c]


def box_muller(x, y):
    inv = np.float32(2.3283064e-10)
    inv_2pi = np.float32(inv * np.float32(6.2831855))
    u = (x.astype(np.float32).astype(np.float64) * inv + inv / np.float32(2)).astype(np.float32)
    v = (y.astype(np.float32).astype(np.float64) * inv_2pi
         + inv_2pi / np.float32(2)).astype(np.float32)
    s = np.sqrt(-2.0 * np.log(u.astype(np.float64)))
    v = v.astype(np.float64)
    return s * np.sin(v), s * np.cos(v)


def cuda_calls(seed, sizes):
    offset = 0
    for n in sizes:
        threads = min((n + 255) // 256 * 256, THREADS)
        out = np.zeros((n + 4 * threads - 1) // (4 * threads) * 4 * threads)
        for base in range(0, n, 4 * threads):
            index = np.arange(threads, dtype=np.uint32)
            counter = [np.full(threads, offset, np.uint32), np.zeros(threads, np.uint32), index,
                       np.zeros(threads, np.uint32)]
            x = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
            normals = [*box_muller(x[0], x[1]), *box_muller(x[2], x[3])]
            for k in range(4):
                out[base + k * threads : base + (k + 1) * threads] = normals[k]
            offset += 1
        yield out[:n].astype(np.float32)


def cpu_calls(seed, sizes):
    generator = torch.Generator().manual_seed(seed if seed < 2**63 else seed - 2**64)
    for n in sizes:
        yield torch.randn(n, generator=generator).numpy()


def write_values(name, calls):
    kept = []
    for values in calls:
        n = len(values)
        indices = range(n) if n <= 2 * KEEP else [*range(KEEP), *range(n - KEEP, n)]
        kept += [int(values[i : i + 1].view(np.uint32)[0]) for i in indices]
    print(f"static const uint32_t {name}[] = {{")
    for i in range(0, len(kept), 8):
        print("    " + " ".join(f"0x{x:08x}," for x in kept[i : i + 8]))
    print("};\n")


def main():
    print("/* Written by tests/tools/make_rng_fixtures.py with torch "
          f"{torch.__version__.split('+')[0]}; do not edit. */")
    print(f"#define RNG_KEEP {KEEP}\n")
    rows = []
    for kind, cases, calls in (("CPU", CPU_CASES, cpu_calls),
                               ("CUDA", CUDA_CASES + [CUDA_LARGE], cuda_calls)):
        for i, (seed, sizes) in enumerate(cases):
            name = f"rng_{kind.lower()}_{i}"
            write_values(name, calls(seed, sizes))
            listed = ", ".join(str(n) for n in sizes)
            rows.append(f"    {{SD_RNG_{kind}, {seed}u, {{{listed}}}, {name}}},")
    print("static const rng_case rng_cases[] = {")
    print("\n".join(rows))
    print("};")


if __name__ == "__main__":
    sys.exit(main())
