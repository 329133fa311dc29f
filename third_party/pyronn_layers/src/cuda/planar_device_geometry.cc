#include "planar_device_geometry.h"

#include <algorithm>
#include <cmath>

#include "planar_geometry.h"

namespace pyronn_layers {
namespace device {
namespace {

static_assert(sizeof(PlanarView) == 8 * sizeof(double), "a view travels as its numbers");

const PlanarView* views_of(const PyronnPlanarGeometry& g) { return reinterpret_cast<const PlanarView*>(g.numbers); }

}  // namespace

PlanarScene make_planar_scene(const PyronnPlanarGeometry& g) {
  PlanarScene s;
  for (int a = 0; a < 2; a++) {
    s.image[a] = static_cast<int>(g.image[a]);
    s.centre[a] = 0.5f * static_cast<float>(g.image[a] - 1);
    s.spacing[a] = static_cast<float>(g.spacing[a]);
  }
  s.columns = static_cast<int>(g.columns);
  s.fan = g.fan;
  s.scale = static_cast<float>(g.scale);
  return s;
}

PlanarBeam make_planar_beam(const PyronnPlanarGeometry& g, int64_t number) {
  const PlanarView& from = views_of(g)[number];
  const double centre[2] = {0.5 * (g.image[0] - 1), 0.5 * (g.image[1] - 1)};
  double at[2];  // of the centre: its column times depth, and the depth
  for (int k = 0; k < 2; k++) at[k] = from.matrix[k][0] * centre[0] + from.matrix[k][1] * centre[1] + from.matrix[k][2];
  const double column = std::round(std::max(0.0, std::min(g.columns - 1.0, at[0] / at[1])));
  PlanarBeam beam;
  beam.column = static_cast<int>(column);
  for (int a = 0; a < 2; a++) {
    beam.matrix[0][a] = static_cast<float>(from.matrix[0][a] - column * from.matrix[1][a]);
    beam.matrix[1][a] = static_cast<float>(from.matrix[1][a]);
    beam.source[a] = static_cast<float>(from.source[a] - centre[a]);
  }
  beam.matrix[0][2] = static_cast<float>(at[0] - column * at[1]);
  beam.matrix[1][2] = static_cast<float>(at[1]);
  return beam;
}

}  // namespace device
}  // namespace pyronn_layers
