#include "requests.h"

#include <string.h>

#include "positions.h"
#include "races.h"

namespace gp {

constexpr u32 kSiteBuckets = 4 * kMaxSites;

struct SiteTable {
  u32 n;
  u32 buckets[kSiteBuckets];  // 1 + number of the record
  SiteRecord records[kMaxSites];
};

__thread Totals* counted;
static __thread SiteTable* sites;

void open_counts() {
  counted = static_cast<Totals*>(reserve(sizeof(Totals)));
  sites = static_cast<SiteTable*>(reserve(sizeof(SiteTable)));
}

static SiteRecord& record_of(SiteTable& table, u32 site, u32 kind) {
  for (u32 bucket = (site * 0x9e3779b1u + kind) >> 16;; bucket++) {
    bucket &= kSiteBuckets - 1;
    u32 number = table.buckets[bucket];
    if (number == 0) {
      if (table.n == kMaxSites) return table.records[kMaxSites - 1];
      table.buckets[bucket] = ++table.n;
      SiteRecord& record = table.records[table.n - 1];
      record.site = site;
      record.kind = kind;
      return record;
    }
    SiteRecord& record = table.records[number - 1];
    if (record.site == site && record.kind == kind) return record;
  }
}

static void add_totals(Totals& to, const Totals& from) {
  const u64* source = reinterpret_cast<const u64*>(&from);
  u64* target = reinterpret_cast<u64*>(&to);
  for (u32 i = 0; i < sizeof(Totals) / sizeof(u64); i++) target[i] += source[i];
}

void add_counts() {
  add_totals(result->totals, *counted);
  for (u32 i = 0; i < sites->n; i++) {
    const SiteRecord& mine = sites->records[i];
    SiteRecord* sum = nullptr;
    for (u32 j = 0; j < result->n_sites && !sum; j++) {
      SiteRecord& candidate = result->sites[j];
      if (candidate.site == mine.site && candidate.kind == mine.kind) sum = &candidate;
    }
    if (!sum) {
      if (result->n_sites == kMaxSites) return;
      sum = &result->sites[result->n_sites++];
      sum->site = mine.site;
      sum->kind = mine.kind;
    }
    sum->requests += mine.requests;
    sum->lanes += mine.lanes;
    sum->bytes += mine.bytes;
    sum->sectors += mine.sectors;
    sum->wavefronts += mine.wavefronts;
    sum->least_wavefronts += mine.least_wavefronts;
  }
}

// ---- What one request costs ---------------------------------------------------------------------------------------

constexpr u32 kSectorShift = 5;

static u32 distinct_sectors(const Request& request) {
  u64 previous = request.address[0] >> kSectorShift;
  u32 n = 1, i = 1;
  for (; i < request.n; i++) {
    u64 sector = request.address[i] >> kSectorShift;
    if (sector < previous) break;
    n += sector != previous;
    previous = sector;
  }
  if (i == request.n) return n;
  u64 seen[64];
  u64 used = 0;
  n = 0;
  for (i = 0; i < request.n; i++) {
    u64 sector = request.address[i] >> kSectorShift;
    u32 bucket = u32(sector * 0x9e3779b97f4a7c15ull >> 58);
    while ((used >> bucket & 1) && seen[bucket] != sector) bucket = (bucket + 1) & 63;
    n += !(used >> bucket & 1);
    used |= 1ull << bucket;
    seen[bucket] = sector;
  }
  return n;
}

// How often the most wanted bank is needed by the words that lanes [from, to) of the request touch.
static u32 bank_degree(const Request& request, u32 from, u32 to, u32 words_a_lane) {
  u32 first_word[32];
  u32 used = 0;
  u32 extra_words[128];
  u32 n_extra = 0;
  for (u32 i = from; i < to; i++) {
    u32 word = u32((request.address[i] - shared_low) >> 2);
    for (u32 k = 0; k < words_a_lane; k++, word++) {
      u32 bank = word & 31;
      if (!(used >> bank & 1)) {
        used |= 1u << bank;
        first_word[bank] = word;
      } else if (first_word[bank] != word) {
        extra_words[n_extra++] = word;
      }
    }
  }
  if (n_extra == 0) return 1;
  u8 degree[32];
  memset(degree, 1, sizeof degree);
  u32 most = 1;
  u64 seen_used[4] = {};
  u32 seen[256];
  for (u32 i = 0; i < n_extra; i++) {
    u32 word = extra_words[i];
    u32 bucket = (word * 0x9e3779b1u) >> 24;
    while ((seen_used[bucket >> 6] >> (bucket & 63) & 1) && seen[bucket] != word) bucket = (bucket + 1) & 255;
    if (seen_used[bucket >> 6] >> (bucket & 63) & 1) continue;
    seen_used[bucket >> 6] |= 1ull << (bucket & 63);
    seen[bucket] = word;
    u32 bank = word & 31;
    if (++degree[bank] > most) most = degree[bank];
  }
  return most;
}

// Shared memory serves 128 bytes at a time: accesses of 8 bytes by half warps, of 16 bytes by quarter warps.
static void count_wavefronts(const Request& request, u32 log2, u32& wavefronts, u32& least) {
  bool is_free = request.is_equal || request.is_run;
  if (log2 <= 2) {
    least = 1;
    wavefronts = is_free ? 1 : bank_degree(request, 0, request.n, 1);
    return;
  }
  u32 phase_shift = log2 == 3 ? 4 : 3;
  wavefronts = least = 0;
  for (u32 from = 0, to; from < request.n; from = to) {
    u32 phase = u32(request.lane[from]) >> phase_shift;
    for (to = from + 1; to < request.n && u32(request.lane[to]) >> phase_shift == phase;) to++;
    least++;
    wavefronts += is_free ? 1 : bank_degree(request, from, to, 1u << (log2 - 2));
  }
}

static void mark_written(const Request& request, u32 width) {
  u64 slot = (request.address[0] - kArenaBase) >> kSlotShift;
  if (slot >= n_slots) return;  // a variable of the program
  if (request.is_run) {
    memset(slots[slot].written + (request.address[0] - slots[slot].start), 1, u64(request.n) * width);
    return;
  }
  for (u32 i = 0; i < request.n; i++) {
    const Slot& s = slots[(request.address[i] - kArenaBase) >> kSlotShift];
    memset(s.written + (request.address[i] - s.start), 1, width);
  }
}

static void count_request(Request& request) {
  u32 log2 = tag_width_log2(request.tag), width = 1u << log2;
  Access access = tag_access(request.tag);
  Totals& totals = *counted;
  if (access == kFence) return;
  if (access == kMma) {
    totals.mma++;
    totals.mma_flops += request.address[0];
    return;
  }
  if (access == kAtomic) {
    totals.atomics += request.n;
    if (!tag_is_shared(request.tag)) mark_written(request, width);
  }
  bool is_shared = tag_is_shared(request.tag);
  bool is_store = access == kStore || access == kAsyncStore;
  u32 row_kind = access == kAtomic ? 4u + is_shared : (is_shared ? 2u : 0u) + is_store;
  SiteRecord& row = record_of(*sites, request.site, row_kind);
  u64 bytes = u64(request.n) * width;
  row.requests++;
  row.lanes += request.n;
  row.bytes += bytes;
  if (is_shared) {
    u32 wavefronts, least;
    count_wavefronts(request, log2, wavefronts, least);
    row.wavefronts += wavefronts;
    row.least_wavefronts += least;
    if (access == kAtomic) return;
    totals.shared_requests++;
    totals.shared_wavefronts += wavefronts;
    totals.bank_conflicts += wavefronts - least;
    return;
  }
  u32 sectors;
  if (request.is_equal) sectors = 1;
  else if (request.is_run) {
    sectors = u32(((request.address[0] + bytes - 1) >> kSectorShift) - (request.address[0] >> kSectorShift)) + 1;
  } else sectors = distinct_sectors(request);
  row.sectors += sectors;
  if (access == kAtomic) return;
  if (is_store) {
    totals.store_requests++;
    totals.bytes_stored += bytes;
    totals.sectors_stored += sectors;
    mark_written(request, width);
  } else {
    totals.load_requests++;
    totals.bytes_loaded += bytes;
    totals.sectors_loaded += sectors;
  }
}

// ---- Alignment of traces ------------------------------------------------------------------------------------------

// Lanes whose next accesses belong together, and where their traces stand.
struct Group {
  u32 n;
  const u64* heads[32];
  u8 lanes[32];
};

static Group group_of(const Warp& warp, u32 mask) {
  Group group;
  group.n = 0;
  for (; mask; mask &= mask - 1) {
    u32 number = __builtin_ctz(mask);
    group.heads[group.n] = warp.lanes[number].head;
    group.lanes[group.n++] = u8(number);
  }
  return group;
}

static void finish_request(Warp& warp, Request& request) {
  u32 width = 1u << tag_width_log2(request.tag);
  u64 first = request.address[0], run = 0;
  u64 off_run = 0, off_equal = 0;
  for (u32 i = 0; i < request.n; i++) {
    u64 offset = request.address[i] - first;
    off_run |= offset ^ run;
    off_equal |= offset;
    run += width;
  }
  request.is_run = off_run == 0;
  request.is_equal = off_equal == 0;
  count_request(request);
  check_races(warp, request);
}

// One request: the entries `at` of a group. Lanes whose pointers lead to different memories (or to accesses of different
// kinds) are different requests.
static void take_request(Warp& warp, const Group& group, u32 at) {
  Request request;
  request.address[0] = 0;
  u64 first = group.heads[0][at + kTraceEntries], off_tag = 0;
  for (u32 i = 0; i < group.n; i++) {
    u64 word = group.heads[i][at + kTraceEntries];
    off_tag |= word ^ first;
    request.address[i] = word & kAddressMask;
  }
  request.tag = u32(first >> kAddressBits);
  request.site = u32(group.heads[0][at]);
  if (GP_UNLIKELY(off_tag >> kAddressBits)) {
    Group same = {}, rest = {};
    for (u32 i = 0; i < group.n; i++) {
      bool is_same = group.heads[i][at + kTraceEntries] >> kAddressBits == request.tag;
      Group& part = is_same ? same : rest;
      part.heads[part.n] = group.heads[i];
      part.lanes[part.n++] = group.lanes[i];
    }
    take_request(warp, same, at);
    take_request(warp, rest, at);
    return;
  }
  request.n = group.n;
  memcpy(request.lane, group.lanes, sizeof request.lane);
  Access access = tag_access(request.tag);
  if (access == kStore || access == kAsyncStore) {
    for (u32 i = 0; i < group.n; i++) request.value[i] = group.heads[i][at + 2 * kTraceEntries];
  }
  finish_request(warp, request);
}

static u32 common_prefix(const u64* a, const u64* b, u32 most) {
  u32 i = 0;
  for (; i + 4 <= most; i += 4) {
    if (((a[i] ^ b[i]) | (a[i + 1] ^ b[i + 1]) | (a[i + 2] ^ b[i + 2]) | (a[i + 3] ^ b[i + 3])) != 0) break;
  }
  while (i < most && a[i] == b[i]) i++;
  return i;
}

// The lanes among `have` whose next access is the one that comes first in the program.
static u32 foremost(const Warp& warp, u32 have) {
  u64 best = *warp.lanes[__builtin_ctz(have)].head;
  for (u32 lanes = have & (have - 1); lanes; lanes &= lanes - 1) {
    u64 key = *warp.lanes[__builtin_ctz(lanes)].head;
    if (key != best && is_before(u32(key), u32(key >> 32), u32(best), u32(best >> 32))) best = key;
  }
  u32 group = 0;
  for (u32 lanes = have; lanes; lanes &= lanes - 1) {
    u32 number = __builtin_ctz(lanes);
    if (*warp.lanes[number].head == best) group |= 1u << number;
  }
  return group;
}

void drain(Warp& warp) {
  for (;;) {
    u32 have = 0, least = kTraceEntries;
    bool is_incomplete = false;
    for (u32 i = 0; i < warp.n_lanes; i++) {
      const Lane& lane = warp.lanes[i];
      u32 n = u32(lane.cursor - lane.head);
      if (n) {
        have |= 1u << i;
        if (n < least) least = n;
      } else if (lane.state == LaneState::runnable) {
        is_incomplete = true;  // what it does next may belong to the request that is next
      }
    }
    if (!have || is_incomplete) break;
    const u64* first = warp.lanes[__builtin_ctz(have)].head;
    u32 n = least;
    for (u32 lanes = have & (have - 1); lanes && n; lanes &= lanes - 1) {
      n = common_prefix(first, warp.lanes[__builtin_ctz(lanes)].head, n);
    }
    u32 mask = have;
    if (n == 0) {
      mask = foremost(warp, have);
      n = 1;
    }
    Group group = group_of(warp, mask);
    for (u32 i = 0; i < n; i++) take_request(warp, group, i);
    for (u32 i = 0; i < group.n; i++) warp.lanes[group.lanes[i]].head += n;
  }
  for (u32 i = 0; i < warp.n_lanes; i++) {
    Lane& lane = warp.lanes[i];
    u32 n = u32(lane.cursor - lane.head);
    if (n && lane.end - lane.cursor > kTraceEntries / 2) continue;
    if (n && lane.head != lane.trace) {
      for (u32 part = 0; part < 3; part++) {
        memmove(lane.trace + part * kTraceEntries, lane.head + part * kTraceEntries, n * sizeof(u64));
      }
    }
    lane.head = lane.trace;
    lane.cursor = lane.trace + n;
  }
}

}  // namespace gp
