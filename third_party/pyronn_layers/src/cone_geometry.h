// A cone-beam geometry in index coordinates: voxel and pixel i are centred at coordinate i.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "operator.h"

namespace pyronn_layers {

// One view. A point p = (x, y, z, 1) in voxels has matrix * p = depth * (column, row, 1), depth in mm along the central
// ray. A ray is source + depth * direction, direction = inverse * (column, row, 1).
struct ConeView {
  double matrix[3][4];
  double inverse[3][3];
  double source[3];
};

// Axes in the order x, y, z; a view's columns are parallel to z if a pixel's column depends on x and y alone.
struct ConeGeometry {
  int64_t volume[3];  // voxels
  double spacing[3];  // mm
  int64_t rows, columns;
  std::vector<ConeView> views;
  bool separable;  // every view's columns are parallel to z, and no ray runs mainly along z

  int64_t voxels() const { return volume[0] * volume[1] * volume[2]; }
  int64_t pixels() const { return rows * columns; }
};

// What a caller passes, as PYRO-NN has it: lengths in mm, axes in the order z, y, x, matrices (views, 3, 4) from
// (x, y, z, 1) to (u, v, 1) times any factor, pixel i being centred at i + 0.5.
struct ConeArguments {
  int64_t volume_shape[3];
  int64_t detector_shape[2];
  double volume_origin[3];
  double volume_spacing[3];
  const double* projection_matrices;
  int64_t views;
};

// Returns what is wrong with the arguments, naming the one at fault, or an empty string.
std::string parse_geometry(const ConeArguments& arguments, ConeGeometry* geometry);

// Returns a warning if there are views that do not see the whole volume, else an empty string.
std::string truncation(const ConeGeometry& geometry);

}  // namespace pyronn_layers
