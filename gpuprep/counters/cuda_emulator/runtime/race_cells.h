// One cell of shadow memory: an access is held against the records that are there, and remembered beside them.
// A part of races.cpp.

// How an earlier access stands to what a lane does now.
enum class Near { settled, lane, warp, block, elsewhere };  // the first two come before it for certain

// A barrier lies between, so that nothing more need be asked.
static inline bool is_long_ago(const Now& now, u32 segment) {
  if (segment >= now.interval_first) return false;
  return now.is_shared || segment >= now.block_first;
}

static inline bool is_settled(const Now& now, Record before) {
  return before == 0 || (is_long_ago(now, segment_of(before)) && (before & kSecond) != kOfBlocks);
}

static inline bool is_same_block(const Now& now, u32 segment) {
  return segment >= now.block_first && segment >> kWorkerShift == now.segment >> kWorkerShift;
}

u32 lanes_before(u32 segment, u32 earlier, u32 lanes) {
  while (segment > earlier) {
    const Segment& one = segment_at(segment);
    if (one.sync_mask & lanes) lanes |= one.sync_mask;
    if (one.previous == 0) return ~0u;
    segment = one.previous;
  }
  return lanes;
}

// Two accesses of the running warp, in its current interval.
static bool are_lanes_ordered(const Now& now, Record before, Record mine) {
  u32 lane = 1u << lane_of(mine), other = 1u << lane_of(before);
  if (lane == other && !((before | mine) & kLanes)) return true;
  u32 reached = lanes_before(now.segment, segment_of(before), lane);
  return (reached & other) && reached != lane;
}

static Near near_in_block(const Now& now, Record before, Record mine) {
  if (segment_at(segment_of(before)).warp != now.warp) return Near::block;
  return are_lanes_ordered(now, before, mine) ? Near::lane : Near::warp;
}

static Near near(const Now& now, Record before, Record mine) {
  u32 segment = segment_of(before);
  if (is_long_ago(now, segment)) return Near::settled;
  Near found = is_same_block(now, segment) ? near_in_block(now, before, mine) : Near::elsewhere;
  if (found != Near::block && found != Near::elsewhere) return found;
  Taker to{now.block, now.warp, now.segment, lane_of(mine), now.interval_first};
  return is_handed_over(before, to) ? Near::settled : found;
}

static u32 flag_of(Near found) {
  return found == Near::elsewhere ? kOfBlocks : found == Near::block ? kOfWarps : kOfLanes;
}

// ---- Against what is there ----------------------------------------------------------------------------------------

// `old = *p; do { … atomicCAS(p, …) } while (…)`: what such a load read is only a guess, which the atomic checks.
static inline void set_guess(u64 site) { guess_sites[(site - kTextBase) >> 6 & 0xffff] |= 1ull << (site & 63); }
static inline bool is_guess(Record load) {
  u64 site = site_of(load);
  return guess_sites[(site - kTextBase) >> 6 & 0xffff] >> (site & 63) & 1;
}

// A load of the same lane before its compare-and-swap.
static void note_guess(const Now& now, Record load, Record mine) {
  if (load == 0 || !is_same_block(now, segment_of(load)) || segment_at(segment_of(load)).warp != now.warp) return;
  if (lane_of(load) == lane_of(mine) || (load & kLanes)) set_guess(site_of(load));
}

static void check_record(const Now& now, Record before, Near found, bool before_is_store, Record mine,
                         bool is_same_value, bool before_is_volatile) {
  if (found == Near::settled || found == Near::lane) return;
  bool is_too_narrow = found == Near::elsewhere && ((before | mine) & kNarrow);
  // Lanes of a warp that rely on volatile alone run in lockstep only by chance.
  bool are_both_volatile = now.is_volatile && before_is_volatile;
  if ((before & mine & kStrong) && !is_too_narrow && !(are_both_volatile && found == Near::warp)) return;
  if (!before_is_store && (mine & kStrong) && is_guess(before)) return;
  if (!now.is_store && (before & kStrong) && is_guess(mine)) return;
  Detail detail = found == Near::warp ? Detail::race_lanes
                  : found == Near::block ? Detail::race_warps : Detail::race_blocks;
  Severity severity = is_same_value ? Severity::note
                      : found == Near::warp ? Severity::warning : Severity::error;
  report_race(now, before, before_is_store, mine, detail, severity);
}

// The last block's reset of the counter that told it to be the last: all atomics on it came before its own.
static Near near_atomic(const Now& now, Record before, Record mine) {
  Near found = near(now, before, mine);
  if (found != Near::elsewhere || (before & kNarrow)) return found;
  Taker to{now.block, now.warp, now.segment, lane_of(mine), now.interval_first};
  return is_taken_up(before, name_of_place(now.address, now.is_shared), to) ? Near::settled : found;
}

static __attribute__((noinline)) void check_cell(const Now& now, const Cells& cells, u64 cell, bool before_is_store,
                                                 Record mine, bool are_atomics = false) {
  auto check = [&](Record before) {
    Near found = are_atomics ? near_atomic(now, before, mine) : near(now, before, mine);
    check_record(now, before, found, before_is_store, mine, false, !are_atomics && (before & kStrong));
  };
  Record first = cells.first[cell];
  check(first);
  if (first & kSecond) check(cells.second[cell]);
}

// ---- Beside what is there -----------------------------------------------------------------------------------------

static inline void set_first(const Cells& cells, u64 cell, Record record, u32 flags, u32 value) {
  cells.first[cell] = (record & ~u64(kSecond)) | flags;
  if (cells.value) cells.value[cell] = value;
}

static inline void set_second(const Cells& cells, u64 cell, Record record, u32 flags, u32 value) {
  cells.second[cell] = record;
  cells.first[cell] = (cells.first[cell] & ~u64(kSecond)) | flags;
  if (cells.second_value) cells.second_value[cell] = value;
}

// Whether a later access of the same lane says all that an earlier one says to everybody else.
static bool replaces(const Cells& cells, u64 cell, Record mine, u32 value) {
  Record first = cells.first[cell];
  if ((mine & ~first & kStrong) || (first & ~mine & (kNarrow | kLanes))) return false;
  return !cells.value || cells.value[cell] == value;
}

static void remember(const Cells& cells, u64 cell, Record mine, u32 value, Near first, Near second) {
  u32 pair = cells.first[cell] & kSecond;
  bool is_mine = first == Near::lane || first == Near::warp;
  if (!pair) {
    if (first == Near::settled || (first == Near::lane && replaces(cells, cell, mine, value))) {
      set_first(cells, cell, mine, 0, value);
    } else {
      set_second(cells, cell, mine, flag_of(first), value);
    }
  } else if (first == Near::settled) {
    set_first(cells, cell, mine, second == Near::settled ? 0 : flag_of(second), value);
  } else if (second == Near::settled) {
    set_second(cells, cell, mine, flag_of(first), value);
  } else if (is_mine && pair == kOfLanes) {
    if (first == Near::lane && second != Near::lane) set_first(cells, cell, mine, pair, value);
    else set_second(cells, cell, mine, pair, value);
  } else if (is_mine) {
    set_first(cells, cell, mine, pair, value);
  } else if (second == Near::lane || second == Near::warp) {
    set_second(cells, cell, mine, pair, value);
  } else if (pair == kOfLanes || (pair == kOfWarps && first == Near::elsewhere)) {
    set_second(cells, cell, mine, flag_of(first), value);
  }
}

// Whether the records of reads need no third: two warps of this block, or two blocks.
static inline bool speaks_for_all(const Now& now, Record read) {
  u32 pair = read & kSecond;
  return pair == kOfBlocks || (pair == kOfWarps && is_same_block(now, segment_of(read)));
}

// Reads are in no order that matters: whether one was handed over need not be asked.
static Near near_read(const Now& now, Record before, Record mine) {
  u32 segment = segment_of(before);
  if (is_long_ago(now, segment)) return Near::settled;
  return is_same_block(now, segment) ? near_in_block(now, before, mine) : Near::elsewhere;
}

static __attribute__((noinline)) void remember_read(const Now& now, const Cells& reads, u64 cell, Record mine) {
  Record first = reads.first[cell];
  Near second = first & kSecond ? near_read(now, reads.second[cell], mine) : Near::settled;
  remember(reads, cell, mine, 0, near_read(now, first, mine), second);
}

// ---- Loads, stores, atomics ---------------------------------------------------------------------------------------

static inline bool is_written(const Now& now, const Shadow& shadow, u64 cell) {
  return segment_of(shadow.writes.first[cell]) >= now.block_first ||
         (shadow.has_atomics && segment_of(shadow.atomics.first[cell]) >= now.block_first);
}

static inline void read_cell(const Now& now, Shadow& shadow, u64 cell, Record mine) {
  if (now.is_shared && GP_UNLIKELY(!is_written(now, shadow, cell))) report_uninitialised(now, mine);
  if (shadow.has_writes && !is_settled(now, shadow.writes.first[cell])) {
    check_cell(now, shadow.writes, cell, true, mine);
  }
  if (shadow.has_atomics && !is_settled(now, shadow.atomics.first[cell])) {
    check_cell(now, shadow.atomics, cell, true, mine, true);
  }
  Record read = shadow.reads.first[cell];
  if (is_settled(now, read)) shadow.reads.first[cell] = mine;
  else if (!speaks_for_all(now, read)) remember_read(now, shadow.reads, cell, mine);
}

static __attribute__((noinline)) void write_beside(const Now& now, Cells& writes, u64 cell, Record mine, u32 value) {
  Record first = writes.first[cell], second = writes.second[cell];
  Near first_near = near(now, first, mine), second_near = Near::settled;
  check_record(now, first, first_near, true, mine, writes.value[cell] == value, first & kStrong);
  if (first & kSecond) {
    second_near = near(now, second, mine);
    check_record(now, second, second_near, true, mine, writes.second_value[cell] == value, second & kStrong);
  }
  remember(writes, cell, mine, value, first_near, second_near);
}

static inline void write_cell(const Now& now, Shadow& shadow, u64 cell, Record mine, u32 value) {
  if (shadow.has_reads && !is_settled(now, shadow.reads.first[cell])) check_cell(now, shadow.reads, cell, false, mine);
  if (shadow.has_atomics && !is_settled(now, shadow.atomics.first[cell])) {
    check_cell(now, shadow.atomics, cell, true, mine, true);
  }
  if (is_settled(now, shadow.writes.first[cell])) {
    shadow.writes.first[cell] = mine;
    shadow.writes.value[cell] = value;
  } else {
    write_beside(now, shadow.writes, cell, mine, value);
  }
}

static inline void update_cell(const Now& now, Shadow& shadow, u64 cell, Record mine) {
  if (now.is_swap) {
    Record read = shadow.reads.first[cell];
    note_guess(now, read, mine);
    if (read & kSecond) note_guess(now, shadow.reads.second[cell], mine);
  }
  if (now.is_shared && GP_UNLIKELY(!is_written(now, shadow, cell))) report_uninitialised(now, mine);
  if (shadow.has_writes && !is_settled(now, shadow.writes.first[cell])) {
    check_cell(now, shadow.writes, cell, true, mine);
  }
  if (shadow.has_reads && !is_settled(now, shadow.reads.first[cell])) check_cell(now, shadow.reads, cell, false, mine);
  Record first = shadow.atomics.first[cell];
  if (is_settled(now, first)) {
    shadow.atomics.first[cell] = mine;
    return;
  }
  Record second = shadow.atomics.second[cell];
  Near first_near = near(now, first, mine), second_near = first & kSecond ? near(now, second, mine) : Near::settled;
  check_record(now, first, first_near, true, mine, false, false);
  if (first & kSecond) check_record(now, second, second_near, true, mine, false, false);
  remember(shadow.atomics, cell, mine, 0, first_near, second_near);
}
