#include "shadow.h"

#include <sys/mman.h>

namespace gp {

void open_shadow(Shadow& shadow, u64 n_bytes, u32 shift) {
  u64 n_cells = (n_bytes >> shift) + 1;
  shadow = Shadow{n_bytes, shift, false, false, nullptr, nullptr, nullptr, nullptr, nullptr};
  for (Record** records : {&shadow.writes, &shadow.other_writes, &shadow.reads, &shadow.other_reads}) {
    *records = static_cast<Record*>(reserve(n_cells * sizeof(Record)));
    // Large buffers are touched from end to end: fewer, larger pages.
    madvise(*records, n_cells * sizeof(Record), MADV_HUGEPAGE);
  }
  shadow.values = static_cast<u32*>(reserve(n_cells * sizeof(u32)));
  madvise(shadow.values, n_cells * sizeof(u32), MADV_HUGEPAGE);
}

template <class T>
static void spread(T* to, const T* from, u64 n_cells, u32 times_log2) {
  for (u64 cell = 0; cell < n_cells; cell++) {
    if (from[cell] == 0) continue;
    for (u64 part = 0; part < 1u << times_log2; part++) to[(cell << times_log2) + part] = from[cell];
  }
}

void refine(Shadow& shadow, u32 shift) {
  Shadow old = shadow;
  open_shadow(shadow, old.n_bytes, shift);
  shadow.has_writes = old.has_writes;
  shadow.has_reads = old.has_reads;
  u64 n_cells = (old.n_bytes >> old.shift) + 1;
  u32 times_log2 = old.shift - shift;
  // The last, partial cell of the old shadow must not reach beyond the new one's end.
  u64 whole = old.n_bytes >> old.shift;
  spread(shadow.writes, old.writes, whole, times_log2);
  spread(shadow.other_writes, old.other_writes, whole, times_log2);
  spread(shadow.reads, old.reads, whole, times_log2);
  spread(shadow.other_reads, old.other_reads, whole, times_log2);
  spread(shadow.values, old.values, whole, times_log2);
  for (Record* records : {old.writes, old.other_writes, old.reads, old.other_reads}) {
    munmap(records, n_cells * sizeof(Record));
  }
  munmap(old.values, n_cells * sizeof(u32));
}

}  // namespace gp
