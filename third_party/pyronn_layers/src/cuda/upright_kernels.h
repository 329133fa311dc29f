// The kernels of upright_device.h.
#pragma once

#include "launch.h"
#include "upright_device.h"

namespace pyronn_layers {
namespace {

// Lines that one launch spreads columns over, unless a view's take more: they stay in the L2 cache until gathered.
constexpr int64_t kLineFloats = 1 << 23;
constexpr int64_t kMostLineFloats = 1 << 29;  // of one view; where they take more, memory is worth more than time
constexpr int64_t kMostRows = 48 * 1024 / 4;  // of a column, in shared memory
constexpr int kDeep = 4;                      // voxels of a thread, along z
constexpr int kParts = 4;                     // blocks that share a column's planes

// How much of the work goes together, and the memory that it takes.
struct UprightPlan {
  int64_t line_floats, views, entries, floats;  // line_floats: of one view
};

int64_t line_floats_of(const PyronnConeGeometry& g) {
  return g.columns * std::max(g.volume[0], g.volume[1]) * g.volume[2];
}

__host__ __device__ constexpr int64_t z_blocks_of(int64_t tall) { return (tall + kWarp * kDeep - 1) / (kWarp * kDeep); }

bool is_upright(Operator which, const PyronnConeGeometry& g) {
  return which == Operator::kProjectionAdjoint && g.separable && g.rows <= kMostRows &&
         line_floats_of(g) <= kMostLineFloats && z_blocks_of(g.volume[2]) <= kMostBlocks;
}

UprightPlan upright_plan(const PyronnConeGeometry& g, int64_t batch) {
  UprightPlan plan;
  plan.line_floats = line_floats_of(g);
  plan.views = std::max<int64_t>(1, std::min<int64_t>({kLineFloats / plan.line_floats, kViewsTogether, g.views}));
  const int64_t most = std::min(kLineFloats / (plan.views * plan.line_floats), kMostBlocks / z_blocks_of(g.volume[2]));
  plan.entries = std::max<int64_t>(1, std::min(most, batch));
  plan.floats = plan.entries * (plan.views * plan.line_floats + device::voxels_of(g));
  return plan;
}

// A few blocks for each column of a view of an entry of the batch. `lines`: (entries, views, columns, planes, z).
__global__ void __launch_bounds__(kThreads)
    spread_kernel(const Scene s, const Views views, const float* __restrict__ in, float* __restrict__ lines) {
  extern __shared__ float weighted[];
  const int column = blockIdx.x / kParts, part = blockIdx.x % kParts, number = blockIdx.y, tall = s.volume[2];
  const int64_t entry = blockIdx.z, planes = most_planes(s);
  const View& view = views.of[number];
  const device::Column c = device::column_of(s, view, column - view.column);
  const float* const image = in + (entry * views.total + views.first + number) * s.rows * s.columns;
  for (int row = threadIdx.y * kWarp + threadIdx.x; row < s.rows; row += kThreads) {
    weighted[row] = __ldg(image + static_cast<int64_t>(row) * s.columns + column) * mm_of(s, c, row - view.row);
  }
  __syncthreads();
  float* const own = lines + ((entry * views.count + number) * s.columns + column) * planes * tall;
  for (int plane = part * kTall + threadIdx.y; plane < planes_of(s, c); plane += kParts * kTall) {
    for (int z = threadIdx.x; z < tall; z += kWarp) {
      own[static_cast<int64_t>(plane) * tall + z] = spread_of(s, c, weighted, view.row, plane, z);
    }
  }
}

// Adds a share of a line to a thread's voxels.
struct AddLine {
  const float* lines;
  int64_t planes;
  int tall, z;
  float* sums;

  __device__ void operator()(int column, int plane, float share) const {
    const float* const line = lines + (column * planes + plane) * tall;
#pragma unroll
    for (int k = 0; k < kDeep; k++) {
      if (z + k * kWarp < tall) sums[k] = fmaf(share, __ldg(line + z + k * kWarp), sums[k]);
    }
  }
};

// A warp is along z. `turned`: (entries, y, x, z); views after the first ones add to what is there.
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const Scene s, const Views views, const float* __restrict__ lines, float* __restrict__ turned) {
  const int x = blockIdx.x * kTall + threadIdx.y, tall = s.volume[2];
  const int z_blocks = static_cast<int>(z_blocks_of(tall));
  const int64_t entry = blockIdx.z / z_blocks, planes = most_planes(s);
  const int z = (blockIdx.z % z_blocks) * kWarp * kDeep + threadIdx.x;
  if (x >= s.volume[0] || z >= tall) return;
  const int64_t of_view = s.columns * planes * tall;
  for (int y = blockIdx.y; y < s.volume[1]; y += gridDim.y) {
    float sums[kDeep] = {0};
    for (int k = 0; k < views.count; k++) {
      const AddLine add = {lines + (entry * views.count + k) * of_view, planes, tall, z, sums};
      device::for_columns(s, views.of[k], x, y, add);
    }
    float* const voxels = turned + ((entry * s.volume[1] + y) * s.volume[0] + x) * tall;
    for (int k = 0; k < kDeep && z + k * kWarp < tall; k++) {
      voxels[z + k * kWarp] = views.first == 0 ? sums[k] : voxels[z + k * kWarp] + sums[k];
    }
  }
}

void launch_upright(const Scene& s, const Views& views, const float* in, int64_t entries, float* lines, float* turned,
                    cudaStream_t stream) {
  const unsigned count = static_cast<unsigned>(entries);
  const dim3 columns(static_cast<unsigned>(s.columns) * kParts, static_cast<unsigned>(views.count), count);
  spread_kernel<<<columns, kBlock, s.rows * sizeof(float), stream>>>(s, views, in, lines);
  const dim3 voxels(static_cast<unsigned>((s.volume[0] + kTall - 1) / kTall),
                    static_cast<unsigned>(std::min<int64_t>(s.volume[1], kMostBlocks)),
                    count * static_cast<unsigned>(z_blocks_of(s.volume[2])));
  gather_kernel<<<voxels, kBlock, 0, stream>>>(s, views, lines, turned);
}

}  // namespace
}  // namespace pyronn_layers
