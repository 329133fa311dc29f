// Voxelization of closed surfaces, and the inner products of volumes with their occupancy and the gradients of these.
// Nothing here depends on TensorFlow. Volumes are (z, y, x, channels); points are (3, vertices) in voxel coordinates:
// voxel k covers [k - 1/2, k + 1/2].
//
// kChannels is 1, for the union of all surfaces, or kMostRegions, a channel for each region.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "scan.h"

namespace fedsim_tf {

// The channel of each rank; where there is one channel, that of all faces.
struct Channels {
  int32_t of_rank[kMostRegions];
};

// The voxels [first, last) along x of a line of voxels, outside which a volume is zero.
struct Span {
  int32_t first, last;
};

// Fills slices [first_z, last_z) with the fraction of each voxel that belongs to each channel. `spans` (z, y) say what
// the volume holds before, and afterwards what it holds then: voxels that are zero and stay zero are not written.
template <int kChannels>
void fill_occupancy(const View& along_x, const Faces& faces, const Channels& channels, const GridShape& grid,
                    int64_t first_z, int64_t last_z, Rows* rows, float* volume, Span* spans);

// The sums along x of a block of slices of a volume, from which inner products with occupancies follow. Slices that are
// all zero are not visited. An object may be used for one block after the other.
template <int kChannels>
class RunningSums {
 public:
  // Holds up to `most_slices`.
  RunningSums(const GridShape& grid, const Channels& channels, int64_t most_slices);
  // Begins the block of slices [first_z, last_z).
  void start(int64_t first_z, int64_t last_z);
  // Takes one slice of the block; they may come in any order and from any thread, each once.
  void add_slice(const float* volume, int64_t z);
  // Ends the sums after the last slice.
  void finish();

  // Adds <block, occupancy> of the mesh to *product.
  void add_product(const View& along_x, const Faces& faces, Rows* rows, double* product) const;

 private:
  int64_t line() const { return (grid_.size[0] + 1) * kChannels; }
  float* slice(int64_t z) const { return sums_.get() + (z - start_z_) * grid_.size[1] * line(); }

  const GridShape grid_;
  const Channels channels_;
  int64_t start_z_ = 0;
  int64_t first_z_ = 0, last_z_ = 0;      // the block; after finish() the range of its slices that are not all zero
  const std::unique_ptr<float[]> sums_;   // (slices, y, x + 1, channels)
  std::vector<uint8_t> visited_, wanted_;  // for each slice and for each row, whether its slice is not all zero
};

// Adds to gradient (3, vertices) the part of d<volume, occupancy>/d points that rows along one axis with
// first_v <= v < last_v see. The parts of all rows along the three axes sum to the integral over the boundaries between
// channels, of the difference of the volume's channels at the two sides.
template <int kChannels>
void add_surface_gradient(const float* volume, const float* points, int64_t vertices, const View& view,
                          const Faces& faces, const Channels& channels, const GridShape& grid, int64_t first_v,
                          int64_t last_v, Rows* rows, float* gradient);

}  // namespace fedsim_tf
