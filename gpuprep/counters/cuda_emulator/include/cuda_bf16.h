// bfloat16: the upper half of a float.
#pragma once

#include "gpuprep_device.h"

#include "device/narrow_float.h"

#define GP_T __nv_bfloat16
#define GP_T2 __nv_bfloat162
#define GP_RAW __nv_bfloat16_raw
#define GP_RAW2 __nv_bfloat162_raw
#define GP_FORMAT gp_internal::Bfloat16Format

#include "device/narrow_float_types.inc"
#include "device/narrow_float_operations.inc"

#undef GP_T
#undef GP_T2
#undef GP_RAW
#undef GP_RAW2
#undef GP_FORMAT

GP_NAMED_CONVERSIONS(__nv_bfloat16, __nv_bfloat162, bfloat16, bfloat162)

using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

#define CUDART_INF_BF16 __ushort_as_bfloat16(0x7f80)
#define CUDART_NAN_BF16 __ushort_as_bfloat16(0x7fff)
#define CUDART_MIN_DENORM_BF16 __ushort_as_bfloat16(0x0001)
#define CUDART_MAX_NORMAL_BF16 __ushort_as_bfloat16(0x7f7f)
#define CUDART_NEG_ZERO_BF16 __ushort_as_bfloat16(0x8000)
#define CUDART_ZERO_BF16 __ushort_as_bfloat16(0x0000)
#define CUDART_ONE_BF16 __ushort_as_bfloat16(0x3f80)
