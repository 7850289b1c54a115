// Function and variable qualifiers, and how the functions of these headers are compiled.
#pragma once

using size_t = decltype(sizeof(0));
using ptrdiff_t = decltype(static_cast<char*>(nullptr) - static_cast<char*>(nullptr));

// What touches a kernel's memory or reaches the runtime is inlined into the kernel: the access then belongs to the
// kernel's own line, and a barrier's call site is the kernel's.
#define GP_INLINE inline __attribute__((always_inline))

// What must not be counted: called, never inlined, because an inlined body is instrumented as its caller is.
#define GP_INTERNAL inline __attribute__((noinline, no_sanitize("thread"), no_sanitize_coverage))

// As GP_INTERNAL, for pure arithmetic on arguments passed by value: calls may be merged and hoisted.
#define GP_ARITHMETIC inline __attribute__((noinline, const, no_sanitize("thread"), no_sanitize_coverage))

// What a kernel calls is inlined into it, as nvcc does with nearly all of it: of a call that stays, g++ instruments
// neither a class that is read as an argument (`f(x[i])` with float4 x) nor one that is stored as the result.
#define __global__ __attribute__((noinline, flatten))
#define __device__
#define __host__
// Marked by its section, one for each line of them: const and other variables can't share one.
#define GP_QUOTED(TEXT) #TEXT
#define GP_CONSTANT_SECTION(NUMBER) __attribute__((section(".data.gp_constant." GP_QUOTED(NUMBER)), used))
#define GP_CONSTANT_SECTION_OF(NUMBER) GP_CONSTANT_SECTION(NUMBER)
#define __constant__ GP_CONSTANT_SECTION_OF(__COUNTER__)
// All threads of a block run on one thread of the machine, so that what is local to it is shared by the block. As on a
// GPU nothing initialises it: without __constinit, g++ would guard an array of a class such as __half with a flag.
#define __shared__ __constinit thread_local
#define __grid_constant__
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __noinline__
#define __inline_hint__
#define __nv_pure__ __attribute__((pure))
#define __align__(n) __attribute__((aligned(n)))
// nvcc takes alignas among the other specifiers, in any order; g++ takes only the attribute so.
#define alignas(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __attribute__((aligned(n)))
#define __cudart_builtin__

// g++ has no __builtin_assume; an assumption changes nothing but speed.
#define __builtin_assume(condition) static_cast<void>(sizeof(static_cast<bool>(condition)))
#define __assume(condition) __builtin_assume(condition)

// The macros by which code asks what compiles it: the GPU's compiler at run time (NVRTC), for compute capability 9.0.
#define __CUDACC__ 1
#define __CUDACC_RTC__ 1
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define __CUDA_ARCH__ 900
#define CUDART_VERSION 13000
#define GPUPREP_EMULATOR 1
