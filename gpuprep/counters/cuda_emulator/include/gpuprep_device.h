// The device language of CUDA C++ for the emulator: what every kernel can use without an include.
//
// It is included before a learner's file. It brings in no host header, so that a kernel finds exactly the names that
// it would find on a GPU; what lives in a header of its own there (cuda_fp16.h, mma.h, …) does here too.
#pragma once

#include "../runtime/device_interface.h"

#include "device/qualifiers.h"
#include "device/vector_types.h"
#include "device/block.h"
#include "device/output.h"
#include "device/integer.h"
#include "device/math.h"
#include "device/fast_math.h"
#include "device/conversions.h"
#include "device/memory.h"
#include "device/warp.h"
#include "device/atomics.h"
#include "device/standard.h"
