// Cooperative groups: the block and tiles of a warp.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

namespace cg = cooperative_groups;

extern "C" __global__ void groups(const int* x, int* out) {
  const cg::thread_block block = cg::this_thread_block();
  const auto tile = cg::tiled_partition<8>(block);
  const int rank = static_cast<int>(block.thread_rank());
  int* row = out + rank * 12;
  row[0] = rank;
  row[1] = static_cast<int>(block.size());
  row[2] = static_cast<int>(tile.thread_rank());
  row[3] = static_cast<int>(tile.size());
  row[4] = static_cast<int>(tile.meta_group_rank());
  row[5] = static_cast<int>(tile.meta_group_size());
  row[6] = cg::reduce(tile, x[rank], cg::plus<int>());
  row[7] = tile.shfl(x[rank], 2);
  row[8] = tile.shfl_down(x[rank], 1);
  row[9] = static_cast<int>(tile.ballot(x[rank] % 2));
  row[10] = tile.any(x[rank] == 3);
  tile.sync();
  block.sync();
  cg::sync(block);
  row[11] = cg::reduce(cg::tiled_partition<4>(tile), x[rank], cg::greater<int>());
}
