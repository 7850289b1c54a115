#include "blocks.h"

#include <string.h>

#include "device_calls.h"
#include "faults.h"
#include "fibers.h"
#include "positions.h"
#include "races.h"
#include "requests.h"

namespace gp {

// How often a warp that only fills its traces may go on before the others get a turn: it may be waiting for one of them.
constexpr u32 kRoundsOfAWarp = 8;

struct Worker {
  Lane* lanes;
  Warp* warps;
  u32 n_lanes, n_warps;
};

void open_block() {
  worker = static_cast<Worker*>(reserve(sizeof(Worker)));
  Worker& w = *worker;
  w.n_lanes = launch->block[0] * launch->block[1] * launch->block[2];
  w.n_warps = (w.n_lanes + 31) / 32;
  // One lane more, never started: the end of the last warp is found without a count.
  w.lanes = static_cast<Lane*>(reserve((w.n_lanes + 1) * sizeof(Lane)));
  w.warps = static_cast<Warp*>(reserve(w.n_warps * sizeof(Warp)));
  u64* traces = static_cast<u64*>(reserve(u64(w.n_lanes) * kTraceWords * sizeof(u64)));
  Frame* frames = static_cast<Frame*>(reserve(u64(w.n_lanes) * kMaxFrames * sizeof(Frame)));
  for (u32 i = 0; i < w.n_lanes; i++) {
    Lane& lane = w.lanes[i];
    lane.trace = traces + u64(i) * kTraceWords;
    lane.end = lane.trace + kTraceEntries;
    lane.frames = frames + u64(i) * kMaxFrames;
    lane.thread = i;
    lane.number = i % 32;
    lane.warp = i / 32;
    lane.index = gp_dim3{i % launch->block[0], i / launch->block[0] % launch->block[1],
                         i / launch->block[0] / launch->block[1]};
  }
  for (u32 i = 0; i < w.n_warps; i++) {
    w.warps[i].lanes = w.lanes + 32 * i;
    w.warps[i].number = i;
    w.warps[i].n_lanes = i + 1 < w.n_warps ? 32 : w.n_lanes - 32 * i;
  }
  gp_block_size = gp_dim3{launch->block[0], launch->block[1], launch->block[2]};
  gp_grid_size = gp_dim3{launch->grid[0], launch->grid[1], launch->grid[2]};
}

static void start_block(Worker& w) {
  for (u32 i = 0; i < w.n_lanes; i++) {
    Lane& lane = w.lanes[i];
    lane.head = lane.cursor = lane.trace;
    lane.state = LaneState::unstarted;
    lane.pending_store = nullptr;
    lane.n_async = lane.async_group = 0;
    lane.clock = 0;
    start_position(lane);
  }
  for (u32 i = 0; i < w.n_warps; i++) {
    Warp& warp = w.warps[i];
    warp.left = 0;
    warp.segment = warp.previous_segment = 0;
    warp.sync_mask = 0;
  }
}

static FindingRecord collective_finding(const Lane& lane, const Lane* other, Kind kind, Detail detail, u32 lanes) {
  FindingRecord finding = blank_finding(kind, detail, Severity::error);
  finding.here = place_of(lane, lane.site);
  if (other) finding.other = place_of(*other, other->site);
  finding.index = lane.call_kind;
  finding.lanes = lanes;
  return finding;
}

constexpr int kSyncwarp = 0, kWmma = 5;

// Hands the values of one collective round and lets its lanes go on.
static void complete(Warp& warp, u32 mask, const Lane& first) {
  gp_lane_value* values = warp.exchanged[warp.exchange_side ^= 1];
  for (u32 lanes = mask; lanes; lanes &= lanes - 1) {
    u32 number = __builtin_ctz(lanes);
    Lane& lane = warp.lanes[number];
    memcpy(&values[number], &lane.value, first.call_bytes);
    lane.state = LaneState::runnable;
  }
  for (u32 lanes = mask; lanes; lanes &= lanes - 1) {
    warp.lanes[__builtin_ctz(lanes)].site = reinterpret_cast<u64>(values);
  }
  // Shuffles, votes and the like order no memory.
  if (first.call_kind == kSyncwarp || first.call_kind == kWmma) end_segment(warp, mask);
}

// Completes every collective whose lanes have all arrived; all lanes of the warp wait somewhere or have returned.
static bool complete_collectives(Warp& warp) {
  bool has_completed = false;
  u32 seen = 0;
  u32 exists = warp.n_lanes == 32 ? ~0u : (1u << warp.n_lanes) - 1;
  for (u32 i = 0; i < warp.n_lanes; i++) {
    Lane& lane = warp.lanes[i];
    if (lane.state != LaneState::at_collective || (seen >> i & 1)) continue;
    u32 wanted = lane.mask & exists, arrived = 0, left = 0;
    for (u32 lanes = wanted; lanes; lanes &= lanes - 1) {
      u32 number = __builtin_ctz(lanes);
      const Lane& other = warp.lanes[number];
      if (other.state == LaneState::left) {
        left |= 1u << number;
        continue;
      }
      if (other.state != LaneState::at_collective) continue;
      bool is_same_call = other.mask == lane.mask && other.call_kind == lane.call_kind &&
                          (other.site == lane.site || lane.call_kind == kSyncwarp);
      if (is_same_call) arrived |= 1u << number;
      else if (other.site == lane.site && lane.call_kind != kSyncwarp) {
        stop(collective_finding(lane, &other, Kind::bad_sync, Detail::collective_other, 1u << number));
      }
    }
    if (left && lane.call_kind != kSyncwarp) {
      keep(collective_finding(lane, nullptr, Kind::bad_sync, Detail::collective_left, left));
    }
    if (arrived != (wanted & ~left)) continue;
    seen |= arrived;
    complete(warp, arrived, lane);
    has_completed = true;
  }
  return has_completed;
}

// True when something of the warp ran and it is worth asking again.
static bool run_warp(Warp& warp) {
  bool has_run = false;
  for (u32 round = 0; round < kRoundsOfAWarp;) {
    bool is_running = false;
    for (u32 i = 0; i < warp.n_lanes; i++) {
      Lane& lane = warp.lanes[i];
      if (lane.state > LaneState::runnable || lane.cursor == lane.end) continue;
      resume(lane);
      has_run = true;
      if (lane.state == LaneState::left) {
        warp.left++;
        if (lane.pending_store) note_stored_value(lane);
      }
      is_running |= lane.state == LaneState::runnable;
    }
    drain(warp);
    if (is_running) {
      round++;
      continue;
    }
    if (!complete_collectives(warp)) {
      bool is_blocked = true;
      for (u32 i = 0; i < warp.n_lanes; i++) is_blocked &= warp.lanes[i].state > LaneState::runnable;
      if (is_blocked) break;
    }
  }
  return has_run;
}

// No lane can run, and not all that remain are at the barrier: some wait in a collective for a lane that won't come.
[[noreturn]] static void report_stuck_collective(Worker& w) {
  for (u32 i = 0; i < w.n_lanes; i++) {
    Lane& lane = w.lanes[i];
    if (lane.state != LaneState::at_collective) continue;
    const Lane* other = nullptr;
    const Warp& warp = w.warps[lane.warp];
    u32 missing = 0;
    for (u32 k = 0; k < warp.n_lanes; k++) {
      const Lane& candidate = warp.lanes[k];
      if (!(lane.mask >> k & 1) || candidate.state == LaneState::left) continue;
      bool is_same_call = candidate.state == LaneState::at_collective && candidate.mask == lane.mask &&
                          candidate.site == lane.site && candidate.call_kind == lane.call_kind;
      if (is_same_call) continue;
      missing |= 1u << k;
      if (!other) other = &candidate;
    }
    if (!other) continue;
    bool is_elsewhere = other->state == LaneState::at_collective;
    stop(collective_finding(lane, other, is_elsewhere ? Kind::bad_sync : Kind::deadlock,
                            is_elsewhere ? Detail::collective_other : Detail::collective_never, missing));
  }
  finish(State::bad_request);
}

// All lanes that haven't returned are at a barrier: check that it is one barrier, and open it.
static void complete_barrier(Worker& w) {
  const Lane *first = nullptr, *left = nullptr;
  int n = 0, all = 1, any = 0;
  for (u32 i = 0; i < w.n_lanes; i++) {
    const Lane& lane = w.lanes[i];
    if (lane.state == LaneState::left) {
      if (!left) left = &lane;
      continue;
    }
    if (!first) first = &lane;
    if (lane.site != first->site) {
      FindingRecord finding = blank_finding(Kind::bad_sync, Detail::barrier_sites, Severity::error);
      finding.here = place_of(*first, first->site);
      finding.other = place_of(lane, lane.site);
      stop(finding);
    }
    n += lane.predicate != 0;
    all &= lane.predicate != 0;
    any |= lane.predicate != 0;
  }
  if (left) {
    FindingRecord finding = blank_finding(Kind::bad_sync, Detail::barrier_left, Severity::error);
    finding.here = place_of(*first, first->site);
    finding.other = place_of(*left, 0);
    keep(finding);
  }
  for (u32 i = 0; i < w.n_lanes; i++) {
    Lane& lane = w.lanes[i];
    if (lane.state == LaneState::left) continue;
    lane.predicate = lane.call_kind == 1 ? n : lane.call_kind == 2 ? all : lane.call_kind == 3 ? any : 0;
    lane.state = LaneState::runnable;
  }
  counted->barriers++;
  end_interval();
  for (u32 i = 0; i < w.n_warps; i++) end_segment(w.warps[i], ~0u);
}

void run_block(u64 number) {
  Worker& w = *worker;
  gp_block_index.x = u32(number % launch->grid[0]);
  gp_block_index.y = u32(number / launch->grid[0] % launch->grid[1]);
  gp_block_index.z = u32(number / launch->grid[0] / launch->grid[1]);
  forget_positions();
  start_block(w);
  begin_block_races(number);
  for (;;) {
    bool has_run = false;
    for (u32 i = 0; i < w.n_warps; i++) has_run |= run_warp(w.warps[i]);
    if (has_run) continue;
    u32 n_left = 0, n_at_barrier = 0;
    for (u32 i = 0; i < w.n_lanes; i++) {
      n_left += w.lanes[i].state == LaneState::left;
      n_at_barrier += w.lanes[i].state == LaneState::at_barrier;
    }
    if (n_left == w.n_lanes) break;
    if (n_left + n_at_barrier < w.n_lanes) report_stuck_collective(w);
    complete_barrier(w);
  }
  counted->blocks++;
  counted->threads += w.n_lanes;
}

}  // namespace gp
