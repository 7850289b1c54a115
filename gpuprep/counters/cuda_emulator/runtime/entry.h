// The kernels of a program: how each is called with arguments that come as bytes, and what its parameters are.
//
// The compiler itself tells: it deduces the parameter list of `gp_entry<&kernel>`.
#pragma once

#include "device_interface.h"

struct gp_parameter {
  char kind;  // p pointer, i signed, u unsigned, f floating point, s anything else
  unsigned n_bytes, offset;
  unsigned element_bytes;  // of what a pointer leads to; 0 for void
  unsigned is_const;
};

struct gp_kernel {
  const char* name;
  unsigned n_parameters, argument_bytes;
  const gp_parameter* parameters;
  void (*call)(const void* arguments);
};

extern "C" const gp_kernel gp_kernels[];
extern "C" const unsigned gp_n_kernels;
