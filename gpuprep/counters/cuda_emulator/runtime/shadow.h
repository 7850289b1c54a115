// Shadow memory: for each cell of memory, who wrote and who read it last.
//
// A cell is four bytes; memory that is accessed in narrower pieces gets narrower cells. An access is a record: its
// segment (a stretch of one warp between two synchronisations), its site and its lane. One record of writes and one of
// reads is kept, and a second one where the first does not speak for all: then the two come from different warps or
// blocks, so that whoever conflicts with any earlier access conflicts with one of the two.
#pragma once

#include "state.h"

namespace gp {

using Record = u64;  // segment 32 | site 22 | lane 5 | flags 5; 0 is none

constexpr u32 kStrong = 1;   // atomic or volatile
constexpr u32 kLanes = 2;    // several lanes of the warp
constexpr u32 kPair = 4;     // the second record is of another warp, in the same interval
constexpr u32 kBlocks = 8;   // the second record is of another block
constexpr u32 kLaneShift = 5;
constexpr u32 kSiteShift = 10;
constexpr u64 kTextBase = 0x400000;

inline Record make_record(u32 segment, u64 site, u32 lane, u32 flags) {
  return u64(segment) << 32 | ((site - kTextBase) & 0x3fffff) << kSiteShift | lane << kLaneShift | flags;
}
inline u32 segment_of(Record record) { return u32(record >> 32); }
inline u64 site_of(Record record) { return (record >> kSiteShift & 0x3fffff) + kTextBase; }
inline u32 lane_of(Record record) { return record >> kLaneShift & 31; }

struct Shadow {
  u64 n_bytes;
  u32 shift;  // log2 of a cell's bytes
  bool has_writes, has_reads;
  Record *writes, *other_writes, *reads, *other_reads;
  u32* values;
};

void open_shadow(Shadow& shadow, u64 n_bytes, u32 shift);
void refine(Shadow& shadow, u32 shift);  // makes cells narrower; each new one knows what the old one knew

}  // namespace gp
