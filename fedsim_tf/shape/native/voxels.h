// Voxelization of closed surfaces, and the inner products of volumes with their occupancy and the gradients of these.
// Nothing here depends on TensorFlow. Volumes are (z, y, x); points are (3, vertices) in voxel coordinates: voxel k
// covers [k - 1/2, k + 1/2].
#pragma once

#include <cstdint>
#include <vector>

#include "scan.h"

namespace fedsim_tf {

// Fills slices [first_z, last_z) with the fraction of each voxel that is inside the union of all surfaces.
void fill_occupancy(const View& along_x, const Faces& faces, const GridShape& grid, int64_t first_z, int64_t last_z,
                    Rows* rows, float* volume);

// How a label map is painted: `rank[face]` says when the face's region is painted, `labels[rank]` with what label.
struct Painting {
  const int32_t* rank;
  const uint8_t* labels;
  int64_t count;
};

// Paints slices [first_z, last_z): a voxel gets the label of the last painted region that fills more than half of it.
void paint_labels(const View& along_x, const Faces& faces, const Painting& painting, const GridShape& grid,
                  int64_t first_z, int64_t last_z, Rows* rows, uint8_t* volume);

// The sums of a volume along x, from which its inner products with occupancies follow. Slices that are all zero are
// left out.
class RunningSums {
 public:
  explicit RunningSums(const GridShape& grid);
  // Takes one slice; slices may come in any order and from any thread, each once.
  void add_slice(const float* volume, int64_t z);
  // Ends the sums after the last slice.
  void finish();

  // Returns <volume, occupancy> of the mesh.
  double product(const View& along_x, const Faces& faces, Rows* rows) const;

 private:
  const GridShape grid_;
  int64_t first_z_ = 0, last_z_ = 0;  // range of the slices that are not all zero
  std::vector<uint8_t> wanted_;       // for each row, whether its slice is not all zero
  std::vector<std::vector<float>> slices_;
};

// Adds to gradient (3, vertices) the part of d<volume, occupancy>/d points that rows along one axis with
// first_v <= v < last_v see. The parts of all rows along the three axes sum to the integral over the union's boundary.
void add_surface_gradient(const float* volume, const float* points, int64_t vertices, const View& view,
                          const Faces& faces, const GridShape& grid, int64_t first_v, int64_t last_v, Rows* rows,
                          float* gradient);

}  // namespace fedsim_tf
