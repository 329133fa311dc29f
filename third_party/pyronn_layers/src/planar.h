// Parallel- and fan-beam operators in the plane. Projection is Joseph's: linear interpolation between the two pixels
// beside a ray in each plane along its main axis. Back-projection interpolates linearly between the two columns beside
// a pixel's shadow. Included by kernels.inc.
#pragma once

#include "kernels.h"
#include "planar_rays.h"
#include "simd.h"

namespace pyronn_layers {
namespace {

// W planes of a ray: the lower pixel of each, counted from the first plane, what the higher one counts, and the plane.
struct Crossings {
  I pixel;
  F share, part;
};

// What does not change along a ray.
struct RayInLanes {
  F start, slope, enter, leave, last;
  I plane;  // from one plane to the next

  RayInLanes(const PlanarRay& ray, const Cut& planes)
      : start(all(ray.start)),
        slope(all(ray.slope)),
        enter(all(ray.enter)),
        leave(all(ray.leave)),
        last(all(static_cast<float>(planes.length - 1))),
        plane(lanes() * static_cast<int32_t>(planes.stride)) {}

  Crossings at(int first) const {
    const F p = to_float(first + lanes());
    const F inside = min(max(p * slope + start, F{}), last);
    const I low = truncate(inside);
    const F part = min(p + 0.5f, leave) - max(p - 0.5f, enter);
    return {low + plane, inside - to_float(low), max(part, F{})};
  }
};

// The planes of a band that a ray crosses, from a multiple of W to before `last`.
struct Range {
  int first, last;
};

inline Range crossed_planes(const PlanarRay& ray, int64_t first, int64_t last) {
  const int from = larger(static_cast<int>(first), static_cast<int>(ray.enter)) & -W;
  return {from, smaller(static_cast<int>(last), static_cast<int>(ray.leave + 1.5f))};
}

void project_planes(const PlanarRay* rays, int64_t columns, int main, const Cut& planes, int64_t first, int64_t last,
                    float* values) {
  for (int64_t column = 0; column < columns; column++) {
    const PlanarRay& ray = rays[column];
    if (ray.main != main) continue;
    const RayInLanes lane(ray, planes);
    const Range range = crossed_planes(ray, first, last);
    F sum = {};
    for (int p = range.first; p < range.last; p += W) {
      const Crossings at = lane.at(p);
      int32_t pixel[W];
      store(pixel, at.pixel);
      F low, high;
      look_up_pairs(planes.data + p * planes.stride, pixel, &low, &high);
      sum += at.part * (low + at.share * (high - low));
    }
    float total = 0;
    for (int k = 0; k < W; k++) total += sum[k];
    values[column] += total * ray.mm;
  }
}

void project_planes_adjoint(const PlanarRay* rays, int64_t columns, int main, const float* values, const Cut& planes,
                            int64_t first, int64_t last) {
  for (int64_t column = 0; column < columns; column++) {
    const PlanarRay& ray = rays[column];
    if (ray.main != main) continue;
    const RayInLanes lane(ray, planes);
    const Range range = crossed_planes(ray, first, last);
    const F value = all(values[column] * ray.mm);
    for (int p = range.first; p < range.last; p += W) {
      const Crossings at = lane.at(p);
      const F both = value * at.part, higher = both * at.share;
      int32_t pixel[W];
      store(pixel, at.pixel);
      add_pairs(planes.data + p * planes.stride, pixel, both - higher, higher);
    }
  }
}

// The shadows of W pixels of a row: the lower column of each, plus 1, what the higher one counts, and the weight.
struct Shadows {
  I column;
  F share, weight;
};

// What does not change along a row of pixels.
struct Row {
  F start[2], step[2];  // of the view's two products, the columns plus 1
  F last;
  F scale, source, spacing, squared;  // of a fan

  Row(const PlanarGeometry& g, const PlanarView& view, int64_t y)
      : last(all(static_cast<float>(g.columns + 1))),
        scale(all(static_cast<float>(g.scale))),
        source(all(static_cast<float>(view.source[0]))),
        spacing(all(static_cast<float>(g.spacing[0]))) {
    const double* m = view.matrix[0];
    const double* depth = view.matrix[1];
    start[0] = all(static_cast<float>(m[1] * y + m[2] + depth[1] * y + depth[2]));
    step[0] = all(static_cast<float>(m[0] + depth[0]));
    start[1] = all(static_cast<float>(depth[1] * y + depth[2]));
    step[1] = all(static_cast<float>(depth[0]));
    const double away = (y - view.source[1]) * g.spacing[1];
    squared = all(static_cast<float>(away * away));
  }

  template <bool kFan>
  Shadows at(int first) const {
    const F x = to_float(first + lanes());
    F column = x * step[0] + start[0], weight = scale;
    if (kFan) {
      const F away = (x - source) * spacing;
      column /= x * step[1] + start[1];
      weight /= max(away * away + squared, all(1e-12f));  // pixels beyond the row's end may lie at the source
    }
    const F inside = min(max(column, F{}), last);
    const I low = truncate(inside);
    return {low, inside - to_float(low), weight};
  }
};

template <bool kFan>
inline void backproject_shadows(const Row& row, const float* line, int count, float* sums) {
  for (int x = 0; x < count; x += W) {
    const Shadows at = row.at<kFan>(x);
    int32_t column[W];
    store(column, at.column);
    F low, high;
    look_up_pairs(line, column, &low, &high);
    store(sums + x, load(sums + x) + at.weight * (low + at.share * (high - low)));
  }
}

void backproject_row(const PlanarGeometry& g, const PlanarView& view, const float* line, int64_t y, float* sums) {
  const Row row(g, view, y);
  const int count = static_cast<int>(g.image[0]);
  if (g.fan) backproject_shadows<true>(row, line, count, sums);
  else backproject_shadows<false>(row, line, count, sums);
}

// Each lane adds to a line of its own: neighbouring pixels fall on the same columns.
template <bool kFan>
inline void spread_shadows(const Row& row, const float* values, int count, float* lines, int stride) {
  const I own = lanes() * stride;
  for (int x = 0; x < count; x += W) {
    const Shadows at = row.at<kFan>(x);
    const F both = load(values + x) * at.weight, higher = both * at.share;
    int32_t place[W];
    store(place, at.column + own);
    add_pairs(lines, place, both - higher, higher);
  }
}

void backproject_row_adjoint(const PlanarGeometry& g, const PlanarView& view, const float* values, int64_t y,
                             float* lines, int64_t stride) {
  const Row row(g, view, y);
  const int count = static_cast<int>(g.image[0]);
  if (g.fan) spread_shadows<true>(row, values, count, lines, static_cast<int>(stride));
  else spread_shadows<false>(row, values, count, lines, static_cast<int>(stride));
}

void sum_lines(const float* lines, int64_t stride, int64_t columns, float* sums) {
  for (int64_t column = 0; column < columns; column++) {
    float sum = 0;
    for (int k = 0; k < W; k++) sum += lines[k * stride + column + 1];
    sums[column] = sum;
  }
}

}  // namespace
}  // namespace pyronn_layers
