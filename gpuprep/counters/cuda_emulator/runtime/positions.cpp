#include "positions.h"

namespace gp {

struct Node {
  u32 parent;
  u32 header;  // of a loop: return address of its first block's hook; of a call: the caller's block
  u32 end;     // of a loop: its last instruction; of a call: 0
  u32 count;   // of a loop: times gone round
  u32 depth;
  // The way taken last from here, by going back from one block to another.
  u32 next_from, next_block;
  u32 next;
};

constexpr u32 kMostNodes = 1 << 22;
constexpr u32 kManyNodes = 1 << 20;
constexpr u32 kBuckets = 1 << 23;
constexpr u32 kRoot = 1;

struct Tree {
  Table<Node> nodes;
  u32* buckets;
};

static __thread Tree tree;

static bool is_loop(const Node& node) { return node.end != 0; }

void open_positions() {
  tree.nodes.open(kMostNodes);
  tree.buckets = static_cast<u32*>(reserve(u64(kBuckets) * sizeof(u32)));
  tree.nodes.size = 2;  // 0 means none
}

void forget_positions() {
  if (tree.nodes.size < kManyNodes) return;
  for (u32 i = 0; i < kBuckets; i++) tree.buckets[i] = 0;
  tree.nodes.size = 2;
  tree.nodes[kRoot].next_block = 0;
}

static u32 node_of(u32 parent, u32 header, u32 end, u32 count) {
  u64 hash = (u64(parent) * 0x9e3779b97f4a7c15ull ^ header) * 0xc2b2ae3d27d4eb4full + count;
  hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15ull;
  for (u32 bucket = hash >> 41;; bucket = (bucket + 1) & (kBuckets - 1)) {
    u32 found = tree.buckets[bucket];
    if (found == 0) {
      if (tree.nodes.is_full()) return parent;  // too many to tell apart: what follows is only less exact
      u32 number = tree.nodes.size++;
      tree.nodes[number] = Node{parent, header, end, count, tree.nodes[parent].depth + 1, 0, 0, 0};
      tree.buckets[bucket] = number;
      return number;
    }
    const Node& node = tree.nodes[found];
    if (node.parent == parent && node.header == header && node.count == count && node.end == end) return found;
  }
}

// The loop that is gone round by going back from one block to another. An outer loop whose body begins with the inner one
// shares its header: the smallest loop that holds the block that was come from is the one.
static const LoopSpec* loop_at(u32 header, u32 from) {
  const LoopSpec* loops = reinterpret_cast<const LoopSpec*>(file + launch->loops_offset);
  u32 low = 0, high = launch->n_loops;
  while (low < high) {
    u32 middle = (low + high) / 2;
    const LoopSpec& loop = loops[middle];
    if (loop.header < header || (loop.header == header && loop.end < from)) low = middle + 1;
    else high = middle;
  }
  return low < launch->n_loops && loops[low].header == header ? &loops[low] : nullptr;
}

static const FunctionSpec* function_around(u32 block) {
  const FunctionSpec* functions = reinterpret_cast<const FunctionSpec*>(file + launch->functions_offset);
  u32 low = 0, high = launch->n_functions;
  while (low < high) {
    u32 middle = (low + high) / 2;
    if (functions[middle].end <= block) low = middle + 1;
    else high = middle;
  }
  return low < launch->n_functions && functions[low].entry <= block ? &functions[low] : nullptr;
}

void start_position(Lane& lane) {
  lane.position = kRoot;
  lane.stack_pointer = 0;
  lane.n_frames = 0;
  lane.last_block = 0;
  lane.loop_end = 0;
  lane.function_entry = lane.function_end = 0;
}

// The lane is in a function that it has just entered, or that no hook has told of yet.
static void begin_function(Lane& lane, u32 block) {
  const FunctionSpec* function = function_around(block);
  lane.function_entry = function ? function->entry : 0;
  lane.function_end = function ? function->end : kNone;
  lane.loop_end = lane.function_end;
}

static void pop_frame(Lane& lane) {
  const Frame& frame = lane.frames[--lane.n_frames];
  lane.stack_pointer = frame.stack_pointer;
  lane.last_block = frame.last_block;
  lane.loop_end = frame.loop_end;
  lane.function_entry = frame.function_entry;
  lane.function_end = frame.function_end;
  lane.position = frame.position;
}

static void push_frame(Lane& lane, u64 stack_pointer) {
  if (lane.n_frames == kMaxFrames) return;  // deep recursion: all of it counts as one call
  lane.frames[lane.n_frames++] = Frame{lane.stack_pointer,  lane.last_block,     lane.loop_end,
                                       lane.function_end, lane.function_entry, lane.position};
  lane.position = node_of(lane.position, lane.last_block, 0, 0);
  lane.stack_pointer = stack_pointer;
  lane.last_block = 0;
  lane.loop_end = 0;
  lane.function_entry = lane.function_end = 0;
}

void change_frame(Lane& lane, u64 stack_pointer) {
  while (lane.n_frames > 0 && lane.stack_pointer < stack_pointer) pop_frame(lane);
  if (lane.stack_pointer == stack_pointer) return;
  if (lane.stack_pointer < stack_pointer) lane.stack_pointer = stack_pointer;  // the kernel's own frame
  else push_frame(lane, stack_pointer);
}

// Where the lane is after going to a block that is not simply further down the same loop.
static u32 position_at(Lane& lane, u32 block) {
  bool is_backward = block <= lane.last_block;
  u32 position = lane.position;
  while (is_loop(tree.nodes[position])) {
    const Node& node = tree.nodes[position];
    if (block >= node.header && block <= node.end) break;
    position = node.parent;
  }
  if (!is_backward) return position;
  const LoopSpec* loop = loop_at(block, lane.last_block);
  if (!loop) return position;
  while (is_loop(tree.nodes[position]) && tree.nodes[position].header == block && tree.nodes[position].end < loop->end) {
    position = tree.nodes[position].parent;
  }
  const Node& node = tree.nodes[position];
  bool is_again = is_loop(node) && node.header == block && node.end == loop->end;
  return is_again ? node_of(node.parent, block, node.end, node.count + 1) : node_of(position, block, loop->end, 1);
}

void enter_block(Lane& lane, u32 block, u64 stack_pointer) {
  if (GP_UNLIKELY(!lane.trace)) return;  // nobody's
  if (lane.stack_pointer != stack_pointer) change_frame(lane, stack_pointer);
  if (lane.function_end == 0) {
    begin_function(lane, block);
  } else if (GP_UNLIKELY(block >= lane.function_end || block < lane.function_entry)) {
    // Another function on the same piece of stack: the one before has returned without our seeing it.
    if (lane.n_frames > 0) {
      pop_frame(lane);
      push_frame(lane, stack_pointer);
    }
    begin_function(lane, block);
  } else if (block > lane.last_block && block <= lane.loop_end) {
    // Back in the caller, further down.
  } else {
    Node& node = tree.nodes[lane.position];
    u32 next;
    if (GP_LIKELY(node.next_block == block && node.next_from == lane.last_block)) {
      next = node.next;
    } else {
      next = position_at(lane, block);
      if (block <= lane.last_block) {
        node.next_from = lane.last_block;
        node.next_block = block;
        node.next = next;
      }
    }
    lane.position = next;
    const Node& now = tree.nodes[next];
    lane.loop_end = is_loop(now) ? now.end : lane.function_end;
  }
  lane.last_block = block;
}

// The node's ancestor (or itself) at a depth.
static u32 ancestor(u32 position, u32 depth) {
  while (tree.nodes[position].depth > depth) position = tree.nodes[position].parent;
  return position;
}

// One of the two lanes is in a loop or a call at this level, and the other is at a bare block of the same function.
static bool is_place_before(u32 place, const Node& node) {
  if (is_loop(node)) return place <= node.end;  // before the loop, or in it and not gone round yet
  return place < node.header;
}

bool is_before(u32 site, u32 position, u32 other_site, u32 other_position) {
  if (position == other_position) return site < other_site;
  u32 depth = tree.nodes[position].depth, other_depth = tree.nodes[other_position].depth;
  u32 common = depth < other_depth ? depth : other_depth;
  u32 a = ancestor(position, common), b = ancestor(other_position, common);
  if (a == b) {
    if (depth > common) return !is_place_before(other_site, tree.nodes[ancestor(position, common + 1)]);
    return is_place_before(site, tree.nodes[ancestor(other_position, common + 1)]);
  }
  while (tree.nodes[a].parent != tree.nodes[b].parent) {
    a = tree.nodes[a].parent;
    b = tree.nodes[b].parent;
  }
  const Node &first = tree.nodes[a], &second = tree.nodes[b];
  if (first.header == second.header && is_loop(first) == is_loop(second)) {
    if (first.end != second.end) return first.end < second.end;  // still in the inner loop of the first iteration
    return first.count < second.count;
  }
  if (is_loop(first) && second.header >= first.header && second.header <= first.end) return false;
  if (is_loop(second) && first.header >= second.header && first.header <= second.end) return true;
  return first.header < second.header;
}

}  // namespace gp
