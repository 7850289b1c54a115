#include "shadow.h"

#include <sys/mman.h>

namespace gp {

template <class T>
static T* open_cells(u64 n_cells) {
  T* cells = static_cast<T*>(reserve(n_cells * sizeof(T)));
  // Large buffers are touched from end to end: fewer, larger pages.
  madvise(cells, n_cells * sizeof(T), MADV_HUGEPAGE);
  return cells;
}

void open_shadow(Shadow& shadow, u64 n_bytes, u32 shift) {
  u64 n_cells = (n_bytes >> shift) + 1;
  shadow = Shadow{};
  shadow.n_bytes = n_bytes;
  shadow.shift = shift;
  for (Cells* cells : {&shadow.writes, &shadow.reads, &shadow.atomics}) {
    cells->first = open_cells<Record>(n_cells);
    cells->second = open_cells<Record>(n_cells);
  }
  shadow.writes.value = open_cells<u32>(n_cells);
  shadow.writes.second_value = open_cells<u32>(n_cells);
}

template <class T>
static void move(T* to, T* from, u64 n_cells, u64 n_mapped, u32 times_log2) {
  if (!from) return;
  for (u64 cell = 0; cell < n_cells; cell++) {
    if (from[cell] == 0) continue;
    for (u64 part = 0; part < 1u << times_log2; part++) to[(cell << times_log2) + part] = from[cell];
  }
  munmap(from, n_mapped * sizeof(T));
}

void refine(Shadow& shadow, u32 shift) {
  Shadow old = shadow;
  open_shadow(shadow, old.n_bytes, shift);
  shadow.has_writes = old.has_writes;
  shadow.has_reads = old.has_reads;
  shadow.has_atomics = old.has_atomics;
  u64 n_mapped = (old.n_bytes >> old.shift) + 1;
  u32 times_log2 = old.shift - shift;
  // The last, partial cell of the old shadow must not reach beyond the new one's end.
  u64 whole = old.n_bytes >> old.shift;
  Cells *to[] = {&shadow.writes, &shadow.reads, &shadow.atomics}, *from[] = {&old.writes, &old.reads, &old.atomics};
  for (u32 i = 0; i < 3; i++) {
    move(to[i]->first, from[i]->first, whole, n_mapped, times_log2);
    move(to[i]->second, from[i]->second, whole, n_mapped, times_log2);
    move(to[i]->value, from[i]->value, whole, n_mapped, times_log2);
    move(to[i]->second_value, from[i]->second_value, whole, n_mapped, times_log2);
  }
}

}  // namespace gp
