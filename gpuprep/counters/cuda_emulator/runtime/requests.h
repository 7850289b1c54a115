// Requests: what a warp asks of memory at once. The traces of its lanes are aligned, counted, and checked for races.
#pragma once

#include "state.h"

namespace gp {

struct Request {
  u32 n;  // lanes that take part
  u32 tag;
  u32 site;
  bool is_run;    // each lane's address follows the one before
  bool is_equal;  // all lanes have the same address
  u64 address[32];
  u64 value[32];  // of stores
  u8 lane[32];    // ascending
};

// Takes every request off the warp's traces that is complete: all lanes are past it, or wait somewhere.
void drain(Warp& warp);

void open_counts();                      // of this worker
void add_counts();                       // this worker's, to the launch's result: once, at its end
extern __thread Totals* counted;         // of this worker

}  // namespace gp
