#include "ordering.h"

namespace gp {

// Released state: accesses of the block before `fence` are visible to whoever sees this release.
struct Release {
  u64 place;
  u32 block, warp;
  u32 position;  // among the releases and acquires of the place
  u32 fence;     // segments below were fenced
  u32 interval_first;
  u32 previous;  // release of the same place by the same block
};

struct Acquire {
  u64 place;
  u32 warp, segment;
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
static __thread u32 last_fence;

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
  last_fence = 0;
}

void note_fence(u32 next_segment) { last_fence = next_segment; }

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

void note_release(u64 place, u32 block, u32 warp, u32 interval_first) {
  if (last_fence == 0 || releases.is_full()) return;
  PlaceEntry* entry = entry_of(place, true);
  if (!entry) return;
  u32& last = last_release_of(place, block);
  if (last) {
    Release& same = releases[last];
    // A loop that releases again and again, with nothing new to hand over.
    if (same.place == place && same.block == block && same.warp == warp && same.fence == last_fence &&
        same.interval_first == interval_first) {
      return;
    }
  }
  u32 number = releases.size++;
  releases[number] = Release{place, block, warp, ++entry->position, last_fence, interval_first, last};
  last = number;
}

void note_acquire(u64 place, u32 warp, u32 segment) {
  if (releases.size <= 1) return;
  const PlaceEntry* entry = entry_of(place, false);
  if (!entry) return;
  Acquires& list = *acquires;
  for (u32 i = list.n; i-- > 0;) {
    Acquire& known = list.items[i];
    if (known.place == place && known.warp == warp && known.segment == segment) {
      known.position = entry->position;
      return;
    }
  }
  if (list.n == kMostAcquires) list.n = kMostAcquires - 1;
  list.items[list.n++] = Acquire{place, warp, segment, entry->position};
}

bool is_handed_over(u32 block, u32 warp, u32 segment, u32 to_warp, u32 interval_first) {
  if (releases.size <= 1) return false;
  const Acquires& list = *acquires;
  for (u32 i = 0; i < list.n; i++) {
    const Acquire& acquire = list.items[i];
    if (acquire.warp != to_warp && acquire.segment >= interval_first) continue;
    for (u32 number = last_release_of(acquire.place, block); number; number = releases[number].previous) {
      const Release& release = releases[number];
      if (release.place != acquire.place || release.block != block || release.position > acquire.position) continue;
      if (segment < release.fence && (warp == release.warp || segment < release.interval_first)) return true;
    }
  }
  return false;
}

}  // namespace gp
