#include "device_geometry.h"

#include <algorithm>
#include <cmath>

#include "cone_geometry.h"

namespace pyronn_layers {
namespace device {
namespace {

static_assert(sizeof(ConeView) == 24 * sizeof(double), "a view travels as its numbers");

// Whether no pixel's ray advances as much along `axis` as along `other`. Both are affine in column and row, so that the
// detector's corners decide.
bool dominated(const double corners[4][3], int axis, int other) {
  for (double sign : {-1.0, 1.0}) {
    bool all = true;
    for (int k = 0; k < 4; k++) all = all && (1 - 1e-4) * sign * corners[k][other] > std::abs(corners[k][axis]);
    if (all) return true;
  }
  return false;
}

int mains_of(const PyronnConeGeometry& g, const ConeView& view) {
  double corners[4][3];
  for (int k = 0; k < 4; k++) {
    const double column = k & 1 ? g.columns - 1 : 0, row = k & 2 ? g.rows - 1 : 0;
    for (int a = 0; a < 3; a++) {
      corners[k][a] = view.inverse[a][0] * column + view.inverse[a][1] * row + view.inverse[a][2];
    }
  }
  int mains = 0;
  for (int a = 0; a < 3; a++) {
    if (!dominated(corners, a, (a + 1) % 3) && !dominated(corners, a, (a + 2) % 3)) mains |= 1 << a;
  }
  return mains;
}

}  // namespace

Scene make_scene(const PyronnConeGeometry& g) {
  Scene s;
  for (int a = 0; a < 3; a++) {
    s.volume[a] = static_cast<int>(g.volume[a]);
    s.centre[a] = 0.5f * static_cast<float>(g.volume[a] - 1);
    s.spacing[a] = static_cast<float>(g.spacing[a]);
  }
  s.rows = static_cast<int>(g.rows);
  s.columns = static_cast<int>(g.columns);
  return s;
}

View make_view(const PyronnConeGeometry& g, int64_t number) {
  const ConeView& from = reinterpret_cast<const ConeView*>(g.numbers)[number];
  double centre[3], arm[3], at[3];  // at: of the centre, times depth, and the depth
  for (int a = 0; a < 3; a++) {
    centre[a] = 0.5 * (g.volume[a] - 1);
    arm[a] = from.source[a] - centre[a];
  }
  for (int k = 0; k < 3; k++) {
    const double* m = from.matrix[k];
    at[k] = m[0] * centre[0] + m[1] * centre[1] + m[2] * centre[2] + m[3];
  }
  View view;
  const double pixel[2] = {std::round(std::max(0.0, std::min(g.columns - 1.0, at[0] / at[2]))),
                           std::round(std::max(0.0, std::min(g.rows - 1.0, at[1] / at[2])))};
  view.column = static_cast<int>(pixel[0]);
  view.row = static_cast<int>(pixel[1]);
  for (int k = 0; k < 3; k++) {
    double d[3];
    for (int a = 0; a < 3; a++) {
      d[a] = from.inverse[a][k];
      if (k == 2) d[a] += from.inverse[a][0] * pixel[0] + from.inverse[a][1] * pixel[1];
      view.along[a][k] = static_cast<float>(d[a]);
    }
    for (int a = 0; a < 3; a++) {
      const int b = (a + 1) % 3, c = (a + 2) % 3;
      view.moment[a][k] = static_cast<float>(arm[b] * d[c] - arm[c] * d[b]);
    }
  }
  for (int k = 0; k < 2; k++) {
    for (int a = 0; a < 3; a++) view.shift[k][a] = static_cast<float>(from.matrix[k][a] - pixel[k] * from.matrix[2][a]);
    view.shift[k][3] = static_cast<float>(at[k] - pixel[k] * at[2]);
  }
  for (int a = 0; a < 3; a++) view.depth[a] = static_cast<float>(from.matrix[2][a]);
  view.depth[3] = static_cast<float>(at[2]);
  view.mains = mains_of(g, from);
  if (g.separable) {  // columns parallel to z, and no ray mainly along it: what is as good as nothing is nothing
    view.mains &= 3;
    view.along[0][1] = view.along[1][1] = view.moment[2][1] = 0;
    view.shift[0][2] = view.depth[2] = 0;
  }
  return view;
}

}  // namespace device
}  // namespace pyronn_layers
