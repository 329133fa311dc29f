// Closed surfaces to voxels, and the products and gradients of upstream gradients with them. Free of TensorFlow.
// Volumes are (z, y, x); points are (3, vertices) in voxel coordinates: voxel k covers [k - 1/2, k + 1/2].
#pragma once

#include <cstdint>
#include <vector>

#include "scan.h"

namespace fedsim_tf {

// Fractions of the voxels of slices [first_z, last_z) inside the union of all surfaces.
void fill_occupancy(const View& along_x, const Faces& faces, const GridShape& grid, int64_t first_z, int64_t last_z,
                    Rows* rows, float* volume);

// What a label map paints: `rank[face]` says when its region is painted, `labels[rank]` with what.
struct Painting {
  const int32_t* rank;
  const uint8_t* labels;
  int64_t count;
};

// Labels of the voxels of slices [first_z, last_z): of the last painted region with more than half of the voxel.
void paint_labels(const View& along_x, const Faces& faces, const Painting& painting, const GridShape& grid,
                  int64_t first_z, int64_t last_z, Rows* rows, uint8_t* volume);

// A volume's sums along x, from which its inner products with occupancies follow; slices that are all zero are left
// out.
class RunningSums {
 public:
  explicit RunningSums(const GridShape& grid);
  void add_slice(const float* volume, int64_t z);  // any order, any thread; each slice once
  void finish();                                   // after the last slice

  // <volume, occupancy> of the mesh.
  double product(const View& along_x, const Faces& faces, Rows* rows) const;

 private:
  const GridShape grid_;
  int64_t first_z_ = 0, last_z_ = 0;  // of slices that are not all zero
  std::vector<uint8_t> wanted_;       // by row
  std::vector<std::vector<float>> slices_;
};

// The part of d<volume, occupancy>/d points that rows along one axis with first_v <= v < last_v see; added to
// gradient (3, vertices). The parts of all rows along the three axes are the integral over the union's boundary.
void add_surface_gradient(const float* volume, const float* points, int64_t vertices, const View& view,
                          const Faces& faces, const GridShape& grid, int64_t first_v, int64_t last_v, Rows* rows,
                          float* gradient);

}  // namespace fedsim_tf
