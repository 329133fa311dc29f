// A parallel- or fan-beam geometry in the plane, in index coordinates: pixel and detector column i are centred at
// coordinate i.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "operator.h"

namespace pyronn_layers {

// One view. A point p = (x, y, 1) in pixels has matrix * p = depth * (column, 1). The depth is 1 in a parallel beam; in
// a fan it is the distance in mm from the source along the central ray. So p lies on the ray of a column if (matrix[0]
// - column * matrix[1]) * p = 0.
struct PlanarView {
  double matrix[2][3];
  double source[2];  // of a fan, in pixels
};

// Axes in the order x, y.
struct PlanarGeometry {
  int64_t image[2];   // pixels
  double spacing[2];  // mm
  int64_t columns;
  bool fan;
  double
      scale;  // of the back-projection: pi / views; in a fan times both distances, over the squared one to the source
  std::vector<PlanarView> views;

  int64_t pixels() const { return image[0] * image[1]; }
};

// What a caller passes, as PYRO-NN has it: lengths in mm, axes in the order y, x; the central rays' directions (views,
// 2) in the order x, y. Column i is centred at detector_origin + i * detector_spacing along (-y, x) of its view's ray.
struct PlanarArguments {
  int64_t image_shape[2];
  int64_t columns;
  double volume_origin[2], volume_spacing[2];
  double detector_origin, detector_spacing;
  bool fan;
  double source_isocenter, source_detector;  // of a fan
  const double* rays;
  int64_t views;
};

// Returns what is wrong with the arguments, naming the one at fault, or an empty string.
std::string parse_planar_geometry(const PlanarArguments& arguments, PlanarGeometry* geometry);

// Returns a warning if there are views that do not see all of the ellipse in the image, else an empty string.
std::string planar_truncation(const PlanarGeometry& geometry);

}  // namespace pyronn_layers
