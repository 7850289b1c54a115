// Shadow memory: for each cell of memory, who wrote it, updated it atomically, and read it last.
//
// A cell is four bytes; memory that is accessed in narrower pieces gets narrower cells. An access is a record: its
// segment (a stretch of one warp between two synchronisations), its site and its lane. Of each kind of access one record
// is kept, and a second one where the first does not speak for all: whoever conflicts with any earlier access then
// conflicts with one of the two.
#pragma once

#include "state.h"

namespace gp {

using Record = u64;  // segment 32 | site 22 | lane 5 | flags 5; 0 is none

constexpr u32 kStrong = 1;  // atomic or volatile
constexpr u32 kLanes = 2;   // several lanes of the warp, in one request; the lane is the first
constexpr u32 kSecond = 12;    // there is a second record:
constexpr u32 kOfLanes = 4;    // of the same warp, in the same interval
constexpr u32 kOfWarps = 8;    // of another warp of the block, in the same interval
constexpr u32 kOfBlocks = 12;  // of another block
constexpr u32 kNarrow = 16;    // atomic for its own block only
constexpr u32 kLaneShift = 5;
constexpr u32 kSiteShift = 10;
constexpr u64 kTextBase = 0x400000;

inline Record make_record(u32 segment, u64 site, u32 lane, u32 flags) {
  return u64(segment) << 32 | ((site - kTextBase) & 0x3fffff) << kSiteShift | lane << kLaneShift | flags;
}
inline u32 segment_of(Record record) { return u32(record >> 32); }
inline u64 site_of(Record record) { return (record >> kSiteShift & 0x3fffff) + kTextBase; }
inline u32 lane_of(Record record) { return record >> kLaneShift & 31; }

struct Cells {
  Record *first, *second;
  u32 *value, *second_value;  // of stores only
};

struct Shadow {
  u64 n_bytes;
  u32 shift;  // log2 of a cell's bytes
  bool has_writes, has_reads, has_atomics;
  Cells writes, reads;  // plain and volatile
  // Apart from the stores: an atomic excuses other atomics, and must not hide the plain store before it.
  Cells atomics;
};

void open_shadow(Shadow& shadow, u64 n_bytes, u32 shift);
void refine(Shadow& shadow, u32 shift);  // makes cells narrower; each new one knows what the old one knew

}  // namespace gp
