// Half precision: 5 bits of exponent, 10 of fraction.
#pragma once

#include "gpuprep_device.h"

#include "device/narrow_float.h"

#define GP_T __half
#define GP_T2 __half2
#define GP_RAW __half_raw
#define GP_RAW2 __half2_raw
#define GP_FORMAT gp_internal::HalfFormat

#include "device/narrow_float_types.inc"
#include "device/narrow_float_operations.inc"

#undef GP_T
#undef GP_T2
#undef GP_RAW
#undef GP_RAW2
#undef GP_FORMAT

GP_NAMED_CONVERSIONS(__half, __half2, half, half2)

using half = __half;
using half2 = __half2;
using __nv_half = __half;
using __nv_half2 = __half2;
using nv_half = __half;
using nv_half2 = __half2;

#define CUDART_INF_FP16 __ushort_as_half(0x7c00)
#define CUDART_NAN_FP16 __ushort_as_half(0x7fff)
#define CUDART_MIN_DENORM_FP16 __ushort_as_half(0x0001)
#define CUDART_MAX_NORMAL_FP16 __ushort_as_half(0x7bff)
#define CUDART_NEG_ZERO_FP16 __ushort_as_half(0x8000)
#define CUDART_ZERO_FP16 __ushort_as_half(0x0000)
#define CUDART_ONE_FP16 __ushort_as_half(0x3c00)
