#include "voxels.h"

#include <algorithm>
#include <cmath>

namespace fedsim_tf {
namespace {

// Adds the part of a row from `begin` to `end` to the voxels through which it passes, which are kStride apart.
template <int kStride>
inline void add_part(float begin, float end, float weight, int64_t size, float* voxels) {
  const int64_t first = std::min(static_cast<int64_t>(begin), size - 1);
  const int64_t last = std::min(static_cast<int64_t>(end), size - 1);
  if (first == last) {
    voxels[first * kStride] += weight * (end - begin);
    return;
  }
  voxels[first * kStride] += weight * (first + 1 - begin);
  for (int64_t x = first + 1; x < last; x++) voxels[x * kStride] += weight;
  voxels[last * kStride] += weight * (end - last);
}

inline float weight_of(const GridShape& grid) {
  return 1.0f / static_cast<float>(grid.rows_per_voxel * grid.rows_per_voxel);
}

// Calls row(u, v) for each of the rows that sample the voxels at (y, z).
template <typename Row>
inline void for_rows(const GridShape& grid, int64_t y, int64_t z, const Row& row) {
  const int64_t n = grid.rows_per_voxel;
  for (int64_t v = z * n; v < (z + 1) * n; v++)
    for (int64_t u = y * n; u < (y + 1) * n; u++) row(u, v);
}

// Adds the parts of a row that belong to each channel.
template <int kChannels>
inline void add_row(const Crossing* first, const Crossing* last, const Channels& channels, float weight, int64_t size,
                    float* voxels) {
  float begin = 0.0f;
  visit_regions<kChannels>(first, last, [&](const Crossing& crossing, int from, int) {
    if (from != kNoRegion)
      add_part<kChannels>(begin, crossing.along, weight, size, voxels + channels.of_rank[from]);
    begin = crossing.along;
  });
}

struct Vector {
  double x[3];
};

// Returns half the cross product of two sides of a face: its normal times its area, in voxels.
Vector area_of(const float* points, int64_t vertices, const int32_t* corners) {
  double a[3], b[3];
  for (int k = 0; k < 3; k++) {
    const float* of = points + k * vertices;
    a[k] = of[corners[1]] - of[corners[0]];
    b[k] = of[corners[2]] - of[corners[0]];
  }
  return {{0.5 * (a[1] * b[2] - a[2] * b[1]), 0.5 * (a[2] * b[0] - a[0] * b[2]), 0.5 * (a[0] * b[1] - a[1] * b[0])}};
}

}  // namespace

template <int kChannels>
void fill_occupancy(const View& along_x, const Faces& faces, const Channels& channels, const GridShape& grid,
                    int64_t first_z, int64_t last_z, Rows* rows, float* volume, Span* spans) {
  const int64_t nx = grid.size[0], ny = grid.size[1], n = grid.rows_per_voxel;
  rows->scan(along_x, faces, grid, first_z * n, last_z * n);
  for (int64_t z = first_z; z < last_z; z++) {
    for (int64_t y = 0; y < ny; y++) {
      float* const voxels = volume + (z * ny + y) * nx * kChannels;
      Span* const span = spans + z * ny + y;
      std::fill(voxels + span->first * kChannels, voxels + span->last * kChannels, 0.0f);
      *span = {static_cast<int32_t>(nx), 0};
      for_rows(grid, y, z, [&](int64_t u, int64_t v) {
        const Crossing *const first = rows->begin(u, v), *const last = rows->end(u, v);
        if (first == last) return;
        add_row<kChannels>(first, last, channels, weight_of(grid), nx, voxels);
        span->first = std::min(span->first, static_cast<int32_t>(first->along));
        span->last = std::max(span->last, std::min(static_cast<int32_t>(last[-1].along) + 1, static_cast<int32_t>(nx)));
      });
      if (span->last == 0) *span = {0, 0};
    }
  }
}

template <int kChannels>
RunningSums<kChannels>::RunningSums(const GridShape& grid, const Channels& channels, int64_t most_slices)
    : grid_(grid),
      channels_(channels),
      sums_(new float[most_slices * grid.size[1] * line()]),
      visited_(grid.size[2]),
      wanted_(grid.rows(2)) {}

template <int kChannels>
void RunningSums<kChannels>::start(int64_t first_z, int64_t last_z) {
  start_z_ = first_z_ = first_z;
  last_z_ = last_z;
  std::fill(visited_.begin(), visited_.end(), uint8_t{0});
  std::fill(wanted_.begin(), wanted_.end(), uint8_t{0});
}

FEDSIM_TF_CLONES
static bool all_zero(const float* values, int64_t count) {
  constexpr int64_t kBlock = 4096;
  for (int64_t start = 0; start < count; start += kBlock) {
    int different = 0;
    for (int64_t i = start; i < std::min(start + kBlock, count); i++) different |= values[i] != 0.0f;
    if (different) return false;
  }
  return true;
}

template <int kChannels>
void RunningSums<kChannels>::add_slice(const float* volume, int64_t z) {
  const int64_t nx = grid_.size[0], ny = grid_.size[1];
  const float* values = volume + z * ny * nx * kChannels;
  if (all_zero(values, ny * nx * kChannels)) return;
  const float weight = weight_of(grid_);
  visited_[z] = 1;
  float* to = slice(z);
  for (int64_t y = 0; y < ny; y++) {
    float sum[kChannels] = {};
    for (int64_t x = 0; x < nx; x++) {
      for (int c = 0; c < kChannels; c++) {
        *to++ = sum[c];
        sum[c] += weight * *values++;
      }
    }
    for (int c = 0; c < kChannels; c++) *to++ = sum[c];
  }
}

template <int kChannels>
void RunningSums<kChannels>::finish() {
  const int64_t n = grid_.rows_per_voxel;
  while (first_z_ < last_z_ && !visited_[first_z_]) first_z_++;
  while (first_z_ < last_z_ && !visited_[last_z_ - 1]) last_z_--;
  for (int64_t v = first_z_ * n; v < last_z_ * n; v++) wanted_[v] = visited_[v / n];
}

template <int kChannels>
void RunningSums<kChannels>::add_product(const View& along_x, const Faces& faces, Rows* rows, double* product) const {
  if (first_z_ >= last_z_) return;
  const int64_t nx = grid_.size[0], n = grid_.rows_per_voxel;
  rows->scan(along_x, faces, grid_, first_z_ * n, last_z_ * n, wanted_.data());
  double total = *product;
  for (int64_t v = first_z_ * n; v < last_z_ * n; v++) {
    if (!wanted_[v]) continue;
    const float* const lines = slice(v / n);
    for (int64_t u = 0; u < grid_.rows(1); u++) {
      const float* const sums = lines + u / n * line();
      visit_regions<kChannels>(rows->begin(u, v), rows->end(u, v), [&](const Crossing& crossing, int from, int to) {
        const int64_t x = std::min(static_cast<int64_t>(crossing.along), nx - 1);
        const auto sum_to_here = [&](int rank) {
          const float* const sum = sums + x * kChannels + channels_.of_rank[rank];
          return sum[0] + (crossing.along - x) * (sum[kChannels] - sum[0]);
        };
        if (from != kNoRegion) total += sum_to_here(from);
        if (to != kNoRegion) total -= sum_to_here(to);
      });
    }
  }
  *product = total;
}

template <int kChannels>
void add_surface_gradient(const float* volume, const float* points, int64_t vertices, const View& view,
                          const Faces& faces, const Channels& channels, const GridShape& grid, int64_t first_v,
                          int64_t last_v, Rows* rows, float* gradient) {
  const int axis = view.axis;
  const int64_t strides[3] = {kChannels, grid.size[0] * kChannels, grid.size[0] * grid.size[1] * kChannels};
  const int64_t size = grid.size[axis], n = grid.rows_per_voxel;
  rows->scan(view, faces, grid, first_v, last_v);
  for (int64_t v = first_v; v < last_v; v++) {
    for (int64_t u = 0; u < grid.rows(view.u_axis()); u++) {
      const float* const line = volume + u / n * strides[view.u_axis()] + v / n * strides[view.v_axis()];
      visit_regions<kChannels>(rows->begin(u, v), rows->end(u, v), [&](const Crossing& crossing, int from, int to) {
        if (!(crossing.along > 0.0f && crossing.along < size)) return;
        const float* const voxel = line + static_cast<int64_t>(crossing.along) * strides[axis];
        const auto value = [&](int rank) { return rank == kNoRegion ? 0.0f : voxel[channels.of_rank[rank]]; };
        const int inner = crossing.leaves() ? from : to, outer = crossing.leaves() ? to : from;
        const float upstream = value(inner) - value(outer);  // gained where the face moves outwards
        if (upstream == 0.0f) return;
        const int32_t* const corners = faces.vertices + 3 * crossing.face();
        const Vector area = area_of(points, vertices, corners);
        const double size2 = area.x[0] * area.x[0] + area.x[1] * area.x[1] + area.x[2] * area.x[2];
        // A row along axis a stands for 1 / |n_a| of surface, with unit normal n. The three axes share the surface by
        // n_a^2, so the integrand is upstream * (n . velocity) * |n_a|, and rows that graze a face hardly count.
        const double share = upstream * weight_of(grid) * std::abs(area.x[axis]) / size2;
        double weights[3];
        corner_weights(view, corners, u, v, weights);
        for (int corner = 0; corner < 3; corner++)
          for (int k = 0; k < 3; k++)
            gradient[k * vertices + corners[corner]] += static_cast<float>(share * weights[corner] * area.x[k]);
      });
    }
  }
}

#define FEDSIM_TF_INSTANTIATE(kChannels)                                                                              \
  template void fill_occupancy<kChannels>(const View&, const Faces&, const Channels&, const GridShape&, int64_t,      \
                                          int64_t, Rows*, float*, Span*);                                             \
  template class RunningSums<kChannels>;                                                                              \
  template void add_surface_gradient<kChannels>(const float*, const float*, int64_t, const View&, const Faces&,       \
                                                const Channels&, const GridShape&, int64_t, int64_t, Rows*, float*);
FEDSIM_TF_INSTANTIATE(1)
FEDSIM_TF_INSTANTIATE(kMostRegions)
#undef FEDSIM_TF_INSTANTIATE

}  // namespace fedsim_tf
