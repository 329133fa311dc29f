// What one thread of the CUDA kernels for beams in the plane computes: one element of the output of each operator. The
// discretization is that of planar.h. Plain functions of plain numbers, as in cone_device.h, so that they also run and
// are tested without a GPU (planar_emulate.cc). Points are counted from the image's centre, columns from a reference
// column close to the centre's shadow.
#pragma once

#include "cone_device.h"

namespace pyronn_layers {
namespace device {

// What all views share. Axes in the order x, y.
struct PlanarScene {
  int image[2];
  int columns;
  int fan;
  float centre[2];
  float spacing[2];
  float scale;
};

struct PlanarBeam {
  float matrix[2][3];  // PlanarView's
  float source[2];
  int column;  // the reference
};

// A ray as PlanarRay has it, its planes counted from the centre.
struct PlanarPath {
  int main;
  float start, slope;
  float enter, leave;
  float mm;
};

PYRONN_HD inline float half_of(const PlanarScene& s, int axis) { return 0.5f * static_cast<float>(s.image[axis]); }

PYRONN_HD inline PlanarPath path_of(const PlanarScene& s, const PlanarBeam& beam, int column) {
  const float at = static_cast<float>(column - beam.column);
  float line[3];
  for (int k = 0; k < 3; k++) line[k] = fmaf(-at, beam.matrix[1][k], beam.matrix[0][k]);
  PlanarPath path;
  path.main = fabsf(line[0]) >= fabsf(line[1]) ? 1 : 0;
  const int across = 1 - path.main;
  path.slope = -line[path.main] / line[across];
  path.start = -line[2] / line[across];
  path.leave = half_of(s, path.main);
  path.enter = -path.leave;
  const float half = half_of(s, across);
  if (fabsf(path.slope) > 1e-9f) {
    const float one = (-half - path.start) / path.slope, other = (half - path.start) / path.slope;
    path.enter = fmaxf(path.enter, fminf(one, other));
    path.leave = fminf(path.leave, fmaxf(one, other));
  } else if (fabsf(path.start) > half) {
    path.leave = path.enter;
  }
  const float rise = path.slope * s.spacing[across];
  path.mm = sqrtf(rise * rise + s.spacing[path.main] * s.spacing[path.main]);
  return path;
}

// How much of the ray plane p counts, and where the ray crosses it, within the outer pixels' centres.
PYRONN_HD inline float part_of(const PlanarPath& path, float p) {
  return fmaxf(0.0f, fminf(p + 0.5f, path.leave) - fmaxf(p - 0.5f, path.enter));
}

PYRONN_HD inline float crossing_of(const PlanarScene& s, const PlanarPath& path, float p) {
  const float most = s.centre[1 - path.main];
  return between(fmaf(p, path.slope, path.start), -most, most);
}

PYRONN_HD inline float project_planar_pixel(const PlanarScene& s, const PlanarBeam& beam, const float* image,
                                            int column) {
  const PlanarPath path = path_of(s, beam, column);
  const int across = 1 - path.main, count = s.image[path.main], length = s.image[across];
  const int stride = path.main == 1 ? s.image[0] : 1, step = path.main == 1 ? 1 : s.image[0];
  const float centre = s.centre[path.main];
  float sum = 0;
  const int first = larger_of(0, static_cast<int>(path.enter + centre));
  const int end = smaller_of(count, static_cast<int>(path.leave + centre + 1.5f));
  for (int plane = first; plane < end; plane++) {
    const float p = static_cast<float>(plane) - centre, at = crossing_of(s, path, p) + s.centre[across];
    const int low = smaller_of(static_cast<int>(at), larger_of(length - 2, 0));
    const float share = at - static_cast<float>(low);
    const float* const pixel = image + static_cast<int64_t>(plane) * stride + static_cast<int64_t>(low) * step;
    const float value = look(pixel), next = length > 1 ? look(pixel + step) : value;
    sum += part_of(path, p) * fmaf(share, next - value, value);
  }
  return sum * path.mm;
}

// The two products of a view with a point.
struct Products {
  float column, depth;
};

PYRONN_HD inline Products products_of(const PlanarBeam& beam, float x, float y) {
  return {fmaf(beam.matrix[0][0], x, fmaf(beam.matrix[0][1], y, beam.matrix[0][2])),
          fmaf(beam.matrix[1][0], x, fmaf(beam.matrix[1][1], y, beam.matrix[1][2]))};
}

// The columns, of all, whose rays may pass between two points.
PYRONN_HD inline Span columns_between(const PlanarScene& s, const PlanarBeam& beam, float x0, float y0, float x1,
                                      float y1) {
  constexpr float kMargin = 0.01f;
  const Products a = products_of(beam, x0, y0), b = products_of(beam, x1, y1);
  const float most = static_cast<float>(s.columns - 1);
  if (!(a.depth > 0 && b.depth > 0)) return {0, s.columns - 1};
  const float at = a.column / a.depth + static_cast<float>(beam.column);
  const float other = b.column / b.depth + static_cast<float>(beam.column);
  return {static_cast<int>(ceilf(between(fminf(at, other) - kMargin, 0.0f, most + 1.0f))),
          static_cast<int>(floorf(between(fmaxf(at, other) + kMargin, -1.0f, most)))};
}

PYRONN_HD inline float project_adjoint_planar_pixel(const PlanarScene& s, const PlanarBeam& beam, const float* line,
                                                    int x, int y) {
  const float point[2] = {static_cast<float>(x) - s.centre[0], static_cast<float>(y) - s.centre[1]};
  float sum = 0;
  for (int main = 0; main < 2; main++) {
    const float dx = main == 1 ? 1.0f : 0.0f, dy = 1.0f - dx;
    const Span columns = columns_between(s, beam, point[0] - dx, point[1] - dy, point[0] + dx, point[1] + dy);
    for (int column = columns.first; column <= columns.last; column++) {
      const PlanarPath path = path_of(s, beam, column);
      if (path.main != main) continue;
      const float apart = fabsf(crossing_of(s, path, point[main]) - point[1 - main]);
      sum += fmaxf(0.0f, 1.0f - apart) * part_of(path, point[main]) * path.mm * look(line + column);
    }
  }
  return sum;
}

// Where a pixel's shadow falls, counted from the reference column, and its weight but for the scale.
struct PlanarShadow {
  float column, weight;
};

PYRONN_HD inline PlanarShadow shadow_of(const PlanarScene& s, const PlanarBeam& beam, float x, float y) {
  const Products at = products_of(beam, x, y);
  if (!s.fan) return {at.column, 1.0f};
  const float dx = (x - beam.source[0]) * s.spacing[0], dy = (y - beam.source[1]) * s.spacing[1];
  return {at.column / at.depth, 1.0f / fmaf(dx, dx, dy * dy)};
}

PYRONN_HD inline float backproject_planar_pixel(const PlanarScene& s, const PlanarBeam& beam, const float* line, int x,
                                                int y) {
  const PlanarShadow at = shadow_of(s, beam, static_cast<float>(x) - s.centre[0], static_cast<float>(y) - s.centre[1]);
  const float whole = floorf(at.column), share = at.column - whole;
  const float last = static_cast<float>(s.columns - beam.column);
  if (!(whole >= static_cast<float>(-1 - beam.column) && whole < last)) return 0.0f;
  const int low = static_cast<int>(whole) + beam.column;
  const float value = low >= 0 ? look(line + low) : 0.0f, next = low + 1 < s.columns ? look(line + low + 1) : 0.0f;
  return fmaf(share, next - value, value) * at.weight * s.scale;
}

// The pixels of a plane that lie where `line` is positive: [low, high] from the centre, made smaller.
PYRONN_HD inline void keep_positive(float across, float rest, float* low, float* high) {
  if (across > 0) *low = fmaxf(*low, -rest / across);
  else if (across < 0) *high = fminf(*high, -rest / across);
  else if (!(rest > 0)) *high = *low - 1.0f;
}

// Plane after plane along the ray's main axis, the pixels between the rays of the two neighbouring columns.
PYRONN_HD inline float backproject_adjoint_planar_pixel(const PlanarScene& s, const PlanarBeam& beam,
                                                        const float* image, int column) {
  constexpr float kMargin = 0.01f;
  const int main = path_of(s, beam, column).main, across = 1 - main;
  const int stride = main == 1 ? s.image[0] : 1, step = main == 1 ? 1 : s.image[0];
  const float at = static_cast<float>(column - beam.column), centre = s.centre[across];
  float before[3], after[3];
  for (int k = 0; k < 3; k++) {
    before[k] = fmaf(-(at - 1.0f), beam.matrix[1][k], beam.matrix[0][k]);
    after[k] = fmaf(at + 1.0f, beam.matrix[1][k], -beam.matrix[0][k]);
  }
  float sum = 0;
  for (int plane = 0; plane < s.image[main]; plane++) {
    const float p = static_cast<float>(plane) - s.centre[main];
    float low = -centre, high = centre;
    keep_positive(before[across], fmaf(before[main], p, before[2]), &low, &high);
    keep_positive(after[across], fmaf(after[main], p, after[2]), &low, &high);
    const int first = static_cast<int>(ceilf(between(low + centre - kMargin, 0.0f, 2 * centre + 1.0f)));
    const int last = static_cast<int>(floorf(between(high + centre + kMargin, -1.0f, 2 * centre)));
    for (int k = first; k <= last; k++) {
      const float q = static_cast<float>(k) - centre;
      const PlanarShadow found = main == 1 ? shadow_of(s, beam, q, p) : shadow_of(s, beam, p, q);
      const float share = fmaxf(0.0f, 1.0f - fabsf(found.column - at));
      sum += share * found.weight * look(image + static_cast<int64_t>(plane) * stride + static_cast<int64_t>(k) * step);
    }
  }
  return sum * s.scale;
}

}  // namespace device
}  // namespace pyronn_layers
