// Cone-beam operators for arbitrary 3x4 projection matrices: one ray, or one voxel, after the other. The discretization
// is that of separable.h. Included by kernels.inc.
#pragma once

#include <cmath>

#include "kernels.h"
#include "simd.h"

namespace pyronn_layers {
namespace {

// One ray; positions are affine in p, the plane along its main axis.
struct Ray {
  int main, across[2];  // axes
  double enter, leave;  // in p
  double start[2], slope[2];
  float mm_per_plane;
};

inline bool make_ray(const ConeGeometry& g, const ConeView& view, double column, double row, Ray* ray) {
  double d[3];
  for (int a = 0; a < 3; a++) d[a] = view.inverse[a][0] * column + view.inverse[a][1] * row + view.inverse[a][2];
  const double x = std::fabs(d[0]), y = std::fabs(d[1]), z = std::fabs(d[2]);
  ray->main = z > larger(x, y) ? 2 : (x >= y ? 0 : 1);
  const int m = ray->main;
  ray->enter = -0.5;
  ray->leave = g.volume[m] - 0.5;
  double squared = d[m] * d[m] * g.spacing[m] * g.spacing[m];
  for (int k = 0; k < 2; k++) {
    const int a = (m + 1 + k) % 3;
    ray->across[k] = a;
    const double slope = d[a] / d[m];
    ray->slope[k] = slope;
    ray->start[k] = view.source[a] - view.source[m] * slope;
    squared += d[a] * d[a] * g.spacing[a] * g.spacing[a];
    const double low = -0.5 - ray->start[k], high = g.volume[a] - 0.5 - ray->start[k];
    if (std::fabs(slope) > 1e-9) {
      ray->enter = larger(ray->enter, smaller(low / slope, high / slope));
      ray->leave = smaller(ray->leave, larger(low / slope, high / slope));
    } else if (low > 0 || high < 0) {
      return false;
    }
  }
  ray->mm_per_plane = static_cast<float>(__builtin_sqrt(squared) / std::fabs(d[m]));
  return ray->leave > ray->enter;
}

// W planes of a ray: the first of the four voxels of each, and what the plane, and the further two in it, count.
struct Planes {
  I voxel;
  F part, share[2];
};

struct Strides {
  int32_t of[3], steps[3];  // a step of 0 where there is but one voxel
};

inline Strides make_strides(const ConeGeometry& g, int64_t x, int64_t y, int64_t z) {
  Strides s = {{static_cast<int32_t>(x), static_cast<int32_t>(y), static_cast<int32_t>(z)}, {}};
  for (int a = 0; a < 3; a++) s.steps[a] = g.volume[a] > 1 ? s.of[a] : 0;
  return s;
}

inline Strides strides_of(const ConeGeometry& g) { return make_strides(g, 1, g.volume[0], g.volume[0] * g.volume[1]); }

inline Planes make_planes(const ConeGeometry& g, const Ray& ray, const Strides& strides, int first) {
  Planes planes;
  const int end = static_cast<int>(g.volume[ray.main]) - 1;
  const I number = first + lanes();
  const F p = to_float(number);
  const F part = min(p + 0.5f, all(static_cast<float>(ray.leave))) - max(p - 0.5f, all(static_cast<float>(ray.enter)));
  planes.part = max(part, F{});
  planes.voxel = min(number, all(end)) * strides.of[ray.main];
  for (int k = 0; k < 2; k++) {
    const int axis = ray.across[k], last = static_cast<int>(g.volume[axis]) - 1;
    const F q = p * static_cast<float>(ray.slope[k]) + static_cast<float>(ray.start[k]);
    const F inside = min(max(q, F{}), all(static_cast<float>(last)));
    const I low = min(truncate(inside), all(larger(last - 1, 0)));
    planes.voxel += low * strides.of[axis];
    planes.share[k] = inside - to_float(low);
  }
  return planes;
}

// The planes that a ray crosses, [first, last].
struct Crossed {
  int first, last;
};

inline Crossed crossed(const ConeGeometry& g, const Ray& ray) {
  const int n = static_cast<int>(g.volume[ray.main]);
  return {ceil_between(ray.enter - 0.5, 0, n - 1), floor_between(ray.leave + 0.5, 0, n - 1)};
}

// The sum over planes for a ray that runs mainly along z, in a volume with x contiguous.
inline F sum_along_z(const ConeGeometry& g, const Ray& ray, const Strides& strides, const float* volume) {
  const int32_t s0 = strides.steps[ray.across[0]], s1 = strides.steps[ray.across[1]];
  const Crossed planes = crossed(g, ray);
  F sum = {};
  for (int p = planes.first; p <= planes.last; p += W) {
    const Planes at = make_planes(g, ray, strides, p);
    const F v00 = look_up<Reach::kAny>(volume, at.voxel), v10 = look_up<Reach::kAny>(volume + s0, at.voxel);
    const F v01 = look_up<Reach::kAny>(volume + s1, at.voxel), v11 = look_up<Reach::kAny>(volume + s0 + s1, at.voxel);
    const F low = v00 + at.share[0] * (v10 - v00), high = v01 + at.share[0] * (v11 - v01);
    sum += at.part * (low + at.share[1] * (high - low));
  }
  return sum;
}

// The sum over planes for a ray that runs mainly along x or y, in lines with z contiguous.
inline F sum_across_z(const ConeGeometry& g, const Ray& ray, const Strides& strides, const float* lines) {
  const int z = ray.across[0] == 2 ? 0 : 1;
  const int32_t step = strides.steps[ray.across[1 - z]];
  const Crossed planes = crossed(g, ray);
  F sum = {};
  for (int p = planes.first; p <= planes.last; p += W) {
    const Planes at = make_planes(g, ray, strides, p);
    int32_t voxel[W];
    store(voxel, at.voxel);
    F v00, v10, v01, v11;
    look_up_pairs(lines, voxel, &v00, &v10);
    look_up_pairs(lines + step, voxel, &v01, &v11);
    const F low = v00 + at.share[z] * (v10 - v00), high = v01 + at.share[z] * (v11 - v01);
    sum += at.part * (low + at.share[1 - z] * (high - low));
  }
  return sum;
}

// Column by column: rays of one column pass through the same lines of voxels, which then stay in the cache.
void project_rays(const ConeGeometry& g, const ConeView& view, const float* volume, const Lines& lines, int64_t column,
                  float* image) {
  const Strides strides = strides_of(g), line_strides = make_strides(g, lines.depth, lines.y_stride, 1);
  for (int64_t row = 0; row < g.rows; row++) {
    Ray ray;
    float& pixel = image[row * g.columns + column];
    pixel = 0;
    if (!make_ray(g, view, static_cast<double>(column), static_cast<double>(row), &ray)) continue;
    const F sum = ray.main == 2 ? sum_along_z(g, ray, strides, volume) : sum_across_z(g, ray, line_strides, lines.data);
    float total = 0;
    for (int k = 0; k < W; k++) total += sum[k];
    pixel = total * ray.mm_per_plane;
  }
}

void project_rays_adjoint(const ConeGeometry& g, const ConeView& view, const float* values, int64_t row,
                          float* volume) {
  const Strides strides = strides_of(g);
  for (int64_t column = 0; column < g.columns; column++) {
    Ray ray;
    if (!make_ray(g, view, static_cast<double>(column), static_cast<double>(row), &ray)) continue;
    const int32_t s0 = strides.steps[ray.across[0]], s1 = strides.steps[ray.across[1]];
    const float value = values[column] * ray.mm_per_plane;
    const Crossed planes = crossed(g, ray);
    for (int p = planes.first; p <= planes.last; p += W) {
      const Planes at = make_planes(g, ray, strides, p);
      const F all_four = value * at.part, high = all_four * at.share[1], low = all_four - high;
      const F high1 = high * at.share[0], low1 = low * at.share[0];
      int32_t voxel[W];
      float share[4][W];
      store(voxel, at.voxel);
      store(share[0], low - low1);
      store(share[1], low1);
      store(share[2], high - high1);
      store(share[3], high1);
      const int count = smaller(W, planes.last - p + 1);
      for (int k = 0; k < count; k++) {
        float* v = volume + voxel[k];
        v[0] += share[0][k];
        v[s0] += share[1][k];
        v[s1] += share[2][k];
        v[s0 + s1] += share[3][k];
      }
    }
  }
}

// One axis of W points on the detector: the two neighbours and what each counts, zero beyond the border.
struct Neighbours {
  int32_t low[W], high[W];
  float low_share[W], high_share[W];
};

inline void make_neighbours(F at, int64_t n, F weight, Neighbours* found) {
  const F clamped = min(max(at, all(-1.0f)), all(static_cast<float>(n)));
  const I low = truncate(clamped + 1.0f) - 1;
  const F f = clamped - to_float(low);
  const int last = static_cast<int>(n) - 1;
  store(found->low_share, keep((low >= 0) & (low <= last), weight * (1.0f - f)));
  store(found->high_share, keep(low < last, weight * f));
  store(found->low, max(min(low, all(last)), I{}));
  store(found->high, min(low + 1, all(last)));
}

template <class Visit>
inline void for_voxels(const ConeGeometry& g, const ConeView& view, double multiplier, int64_t z, int64_t y,
                       Visit visit) {
  double start[3];
  for (int k = 0; k < 3; k++) start[k] = view.matrix[k][1] * y + view.matrix[k][2] * z + view.matrix[k][3];
  const int nx = static_cast<int>(g.volume[0]);
  Neighbours column, row;
  for (int x = 0; x < nx; x += W) {
    const F at = to_float(x + lanes());
    F p[3];
    for (int k = 0; k < 3; k++) p[k] = at * static_cast<float>(view.matrix[k][0]) + static_cast<float>(start[k]);
    // Voxels beyond the end of the line may lie anywhere, even behind the source.
    const F inverse = 1.0f / max(p[2], all(1e-6f));
    make_neighbours(p[0] * inverse, g.columns, inverse * inverse * static_cast<float>(multiplier), &column);
    make_neighbours(p[1] * inverse, g.rows, all(1.0f), &row);
    const int count = smaller(W, nx - x);
    for (int k = 0; k < count; k++) {
      const int64_t low = row.low[k] * g.columns, high = row.high[k] * g.columns;
      visit(x + k, low, high, column.low[k], column.high[k], row.low_share[k], row.high_share[k], column.low_share[k],
            column.high_share[k]);
    }
  }
}

void backproject_voxels(const ConeGeometry& g, const ConeView& view, double multiplier, const float* image, int64_t z,
                        int64_t y, float* line) {
  for_voxels(g, view, multiplier, z, y,
             [&](int x, int64_t low, int64_t high, int32_t left, int32_t right, float wl, float wh, float a, float b) {
               line[x] += wl * (a * image[low + left] + b * image[low + right]) +
                          wh * (a * image[high + left] + b * image[high + right]);
             });
}

void backproject_voxels_adjoint(const ConeGeometry& g, const ConeView& view, double multiplier, const float* line,
                                int64_t z, int64_t y, float* image) {
  for_voxels(g, view, multiplier, z, y,
             [&](int x, int64_t low, int64_t high, int32_t left, int32_t right, float wl, float wh, float a, float b) {
               const float value = line[x];
               image[low + left] += value * wl * a;
               image[low + right] += value * wl * b;
               image[high + left] += value * wh * a;
               image[high + right] += value * wh * b;
             });
}

}  // namespace
}  // namespace pyronn_layers
