// The inner loops, compiled once for each instruction set; `cone_beam.cc` spreads them over threads.
#pragma once

#include <cstdint>

#include "cone_geometry.h"
#include "planar_rays.h"

namespace pyronn_layers {

// Up to this many volumes or sinograms are treated together by the separable kernels.
constexpr int kBatchTogether = 8;

// Volumes with z contiguous: voxel (b, z, y, x) at y * y_stride + (x * batch + b) * depth + z, depth a multiple of 16,
// and at least 64 readable floats beyond the end.
struct Lines {
  float* data;
  int64_t nx, ny, nz, depth, y_stride;
  int batch;
};

// One view's pixels with rows contiguous: pixel (b, row, column) at (column * batch + b) * height + row, height a
// multiple of 16, zero beyond the last row, and at least 64 readable floats beyond the end.
struct Sheet {
  float* data;
  int64_t columns, rows, height;
  int batch;
};

// A view whose columns are parallel to z, its rows numbered so that z rises with them.
struct SeparableView {
  double matrix[3][4];
  double source[3];
  double direction[2][2];  // x and y of a ray's direction: direction[a][0] * column + direction[a][1]
  bool flipped;            // rows run the other way than the detector's
};

SeparableView separable_view(const ConeGeometry& geometry, const ConeView& view);

struct Kernels {
  const char* name;
  // Floats of scratch that one call of a separable kernel needs.
  int64_t (*scratch)(const ConeGeometry& geometry);

  // The separable path: line integrals of columns [first, last) of a view (set), and their transpose (added to the
  // lines).
  void (*project_columns)(const ConeGeometry&, const SeparableView&, const Lines& volume, int64_t first, int64_t last,
                          Sheet sheet, float* scratch);
  void (*project_columns_adjoint)(const ConeGeometry&, const SeparableView&, const Sheet& sheet, Lines volume,
                                  float* scratch);
  // Voxel-driven back-projection times multiplier / depth^2, added to the lines with y in [first, last), and its
  // transpose (added).
  void (*backproject_lines)(const ConeGeometry&, const SeparableView&, double multiplier, const Sheet& sheet,
                            int64_t first, int64_t last, Lines volume, float* scratch);
  void (*backproject_lines_adjoint)(const ConeGeometry&, const SeparableView&, double multiplier, const Lines& volume,
                                    Sheet sheet);

  // The path for any matrices: volumes (z, y, x), a view's image (rows, columns). Line integrals of one detector column
  // (set) of a volume that is given in both layouts, and their transpose for one row (added to the volume).
  void (*project_rays)(const ConeGeometry&, const ConeView&, const float* volume, const Lines& same, int64_t column,
                       float* image);
  void (*project_rays_adjoint)(const ConeGeometry&, const ConeView&, const float* values, int64_t row, float* volume);
  // Voxel-driven back-projection of one line of voxels along x (added), and its transpose (added to the image).
  void (*backproject_voxels)(const ConeGeometry&, const ConeView&, double multiplier, const float* image, int64_t z,
                             int64_t y, float* line);
  void (*backproject_voxels_adjoint)(const ConeGeometry&, const ConeView&, double multiplier, const float* line,
                                     int64_t z, int64_t y, float* image);

  // Beams in the plane. What the planes [first, last), multiples of 16, give to the rays of one main axis (added), and
  // the transpose (added to the planes).
  void (*project_planes)(const PlanarRay*, int64_t columns, int main, const Cut&, int64_t first, int64_t last,
                         float* values);
  void (*project_planes_adjoint)(const PlanarRay*, int64_t columns, int main, const float* values, const Cut&,
                                 int64_t first, int64_t last);
  // Back-projection of a view's values, with a zero before them and two after them, to a row of pixels (added), and its
  // transpose, from a row with zeros up to the next multiple of 16: it is added to 16 lines, `stride` floats apart,
  // which the last function adds up for the columns.
  void (*backproject_row)(const PlanarGeometry&, const PlanarView&, const float* line, int64_t y, float* sums);
  void (*backproject_row_adjoint)(const PlanarGeometry&, const PlanarView&, const float* values, int64_t y,
                                  float* lines, int64_t stride);
  void (*sum_lines)(const float* lines, int64_t stride, int64_t columns, float* sums);
};

extern const Kernels kPortableKernels, kAvx2Kernels, kAvx512Kernels;

// Returns the kernels of an instruction set: "auto", "portable", "avx2" or "avx512". Null if the processor or the
// compiler does not have it.
const Kernels* find_kernels(const char* instruction_set);

}  // namespace pyronn_layers
