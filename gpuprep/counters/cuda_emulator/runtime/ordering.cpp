#include "ordering.h"

namespace gp {

// Released state: what the block did before its fence, and the lanes of the warp, is visible to whoever sees this.
struct Release {
  StrongAccess by;
  u32 position;    // among the releases and acquires of the place
  u32 fence;       // segments below were fenced, for the block
  u32 wide_fence;  // for the device
  u32 previous;    // release of the same place by the same block
};

struct Acquire {
  StrongAccess by;
  u32 position;
};

constexpr u32 kMostReleases = 1 << 22;
constexpr u32 kMostAcquires = 1 << 12;
constexpr u32 kBucketsOfReleases = 1 << 21;
constexpr u32 kBucketsOfPlaces = 1 << 20;

struct PlaceEntry {
  u64 place;  // 0: free
  u32 position;
};

static Table<Release> releases;
static u32* last_release;    // by place and block
static PlaceEntry* places;
static u32 n_places;

struct Acquires {
  u32 n;
  Acquire items[kMostAcquires];
};
static __thread Acquires* acquires;
static __thread u32 last_fence, last_wide_fence;

static u64 mix(u64 a, u64 b) {
  u64 hash = (a ^ b * 0xc2b2ae3d27d4eb4full) * 0x9e3779b97f4a7c15ull;
  return (hash ^ hash >> 31) * 0x9e3779b97f4a7c15ull;
}

void open_ordering() {
  releases.open(kMostReleases);
  releases.size = 1;
  last_release = static_cast<u32*>(reserve(u64(kBucketsOfReleases) * sizeof(u32)));
  places = static_cast<PlaceEntry*>(reserve(u64(kBucketsOfPlaces) * sizeof(PlaceEntry)));
}

void begin_block_ordering() {
  if (!acquires) acquires = static_cast<Acquires*>(reserve(sizeof(Acquires)));
  acquires->n = 0;
  last_fence = last_wide_fence = 0;
}

void note_fence(u32 next_segment, bool is_wide) {
  last_fence = next_segment;
  if (is_wide) last_wide_fence = next_segment;
}

// The entry of a place that was released to; null where it wasn't, unless it is to be made.
static PlaceEntry* entry_of(u64 place, bool is_making) {
  for (u32 bucket = mix(place, 0) >> 44;; bucket = (bucket + 1) & (kBucketsOfPlaces - 1)) {
    PlaceEntry& entry = places[bucket];
    if (entry.place == place) return &entry;
    if (entry.place != 0) continue;
    if (!is_making || n_places > kBucketsOfPlaces / 2) return nullptr;
    n_places++;
    entry.place = place;
    return &entry;
  }
}

static u32& last_release_of(u64 place, u32 block) {
  // A full table only makes for collisions, which the chain's own check sorts out.
  return last_release[mix(place, block + 1) >> 43];
}

void note_release(const StrongAccess& by) {
  if (last_fence == 0 || releases.is_full()) return;
  PlaceEntry* entry = entry_of(by.place, true);
  if (!entry) return;
  u32& last = last_release_of(by.place, by.block);
  if (last) {
    Release& same = releases[last];
    // A loop that releases again and again, with nothing new to hand over.
    if (same.by.place == by.place && same.by.block == by.block && same.by.warp == by.warp && same.fence == last_fence &&
        same.by.interval_first == by.interval_first && same.by.is_wide == by.is_wide) {
      same.by.lanes |= by.lanes;
      return;
    }
  }
  u32 number = releases.size++;
  releases[number] = Release{by, ++entry->position, last_fence, last_wide_fence, last};
  last = number;
}

void note_acquire(const StrongAccess& by) {
  if (releases.size <= 1) return;
  const PlaceEntry* entry = entry_of(by.place, false);
  if (!entry) return;
  Acquires& list = *acquires;
  for (u32 i = list.n; i-- > 0;) {
    Acquire& known = list.items[i];
    if (known.by.place == by.place && known.by.warp == by.warp && known.by.segment == by.segment &&
        known.by.is_wide == by.is_wide) {
      known.position = entry->position;
      known.by.lanes |= by.lanes;
      return;
    }
  }
  if (list.n == kMostAcquires) list.n = kMostAcquires - 1;
  list.items[list.n++] = Acquire{by, entry->position};
}

// Whether the lane comes after the acquire.
static bool is_after(const Taker& to, const StrongAccess& acquire) {
  if (acquire.segment < to.interval_first) return true;
  return acquire.warp == to.warp && (lanes_before(to.segment, acquire.segment, 1u << to.lane) & acquire.lanes);
}

static bool is_released(Record before, const Segment& segment, const Release& release, bool is_same_block) {
  u32 number = segment_of(before);
  if (number >= (is_same_block ? release.fence : release.wide_fence)) return false;
  if (number < release.by.interval_first) return true;
  return segment.warp == release.by.warp &&
         (lanes_before(release.by.segment, number, release.by.lanes) >> lane_of(before) & 1);
}

bool is_handed_over(Record before, const Taker& to) {
  if (releases.size <= 1) return false;
  const Segment& segment = segment_at(segment_of(before));
  const Acquires& list = *acquires;
  bool is_same_block = segment.block == to.block;
  for (u32 i = 0; i < list.n; i++) {
    const Acquire& acquire = list.items[i];
    if (!is_after(to, acquire.by) || !(is_same_block || acquire.by.is_wide)) continue;
    for (u32 number = last_release_of(acquire.by.place, segment.block); number; number = releases[number].previous) {
      const Release& release = releases[number];
      if (release.by.place != acquire.by.place || release.by.block != segment.block) continue;
      if (release.position > acquire.position || !(is_same_block || release.by.is_wide)) continue;
      if (is_released(before, segment, release, is_same_block)) return true;
    }
  }
  return false;
}

bool is_taken_up(Record atomic, u64 place, const Taker& to) {
  if (releases.size <= 1) return false;
  u32 block = segment_at(segment_of(atomic)).block;
  const Acquires& list = *acquires;
  for (u32 i = 0; i < list.n; i++) {
    const Acquire& acquire = list.items[i];
    if (acquire.by.place != place || !is_after(to, acquire.by)) continue;
    for (u32 number = last_release_of(place, block); number; number = releases[number].previous) {
      const Release& release = releases[number];
      bool is_this = release.by.place == place && release.by.block == block &&
                     release.by.segment == segment_of(atomic) && (release.by.lanes >> lane_of(atomic) & 1);
      if (is_this && release.position <= acquire.position) return true;
    }
  }
  return false;
}

}  // namespace gp
