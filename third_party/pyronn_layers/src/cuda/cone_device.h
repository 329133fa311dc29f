// What one thread of the CUDA kernels computes: one element of the output of each operator. The discretization is that
// of rays.h. Plain functions of plain numbers, so that they also run, and are tested, without a GPU (emulate.cc).
//
// All in float32. Positions are counted from a point near by, so that rounding stays below about 1e-4 voxels and pixels
// up to 512 of them: planes from the volume's centre, columns and rows from a reference pixel close to the centre's
// shadow. device_geometry.cc brings views into that form, in double. Directions are sums of explicit fmaf, so that
// every kernel gets the same bits for the same ray, and takes the same main axis.
#pragma once

#include <math.h>

#include <cstdint>

#if defined(__CUDACC__)
#define PYRONN_HD __host__ __device__
#else
#define PYRONN_HD
#endif

namespace pyronn_layers {
namespace device {

// What all views share. Axes in the order x, y, z.
struct Scene {
  int volume[3];
  int rows, columns;
  float centre[3];  // of the volume
  float spacing[3];
};

// One view. Columns and rows count from the reference pixel, and points from the volume's centre.
struct View {
  float along[3][3];   // a ray's direction is along * (column, row, 1)
  float moment[3][3];  // and (source - centre) x direction is moment * (column, row, 1)
  float shift[2][4];   // a point's shadow is at shift * (x, y, z, 1) / depth
  float depth[4];      // depth = depth * (x, y, z, 1)
  int column, row;     // the reference pixel
  int mains;           // bit a is set if a ray of this view may run mainly along axis a
};

// Voxels in one of two orders: as they are given, (z, y, x), or a copy turned to (z, x, y), in which the rays of
// neighbouring columns that run mainly along x find neighbouring voxels.
struct Voxels {
  const float* data;
  int stride[3];
};

PYRONN_HD inline Voxels plain_voxels(const Scene& s, const float* data) {
  return {data, {1, s.volume[0], s.volume[0] * s.volume[1]}};
}

PYRONN_HD inline Voxels turned_voxels(const Scene& s, const float* data) {
  return {data, {s.volume[1], 1, s.volume[0] * s.volume[1]}};
}

PYRONN_HD inline float look(const float* p) {
#if defined(__CUDA_ARCH__)
  return __ldg(p);
#else
  return *p;
#endif
}

PYRONN_HD inline float between(float v, float low, float high) { return fminf(fmaxf(v, low), high); }

PYRONN_HD inline int smaller_of(int a, int b) { return a < b ? a : b; }
PYRONN_HD inline int larger_of(int a, int b) { return a > b ? a : b; }

struct Direction {
  float d[3], moment[3];
};

PYRONN_HD inline Direction direction_of(const View& view, float column, float row) {
  Direction r;
  for (int a = 0; a < 3; a++) {
    r.d[a] = fmaf(view.along[a][0], column, fmaf(view.along[a][1], row, view.along[a][2]));
    r.moment[a] = fmaf(view.moment[a][0], column, fmaf(view.moment[a][1], row, view.moment[a][2]));
  }
  return r;
}

PYRONN_HD inline int main_axis(const Direction& r) {
  const float x = fabsf(r.d[0]), y = fabsf(r.d[1]), z = fabsf(r.d[2]);
  return z > fmaxf(x, y) ? 2 : (x >= y ? 0 : 1);
}

// The k-th axis across the main one.
template <int kMain>
PYRONN_HD constexpr int across(int k) {
  return (kMain + 1 + k) % 3;
}

// A ray as the planes across its main axis see it: at plane `centre + p` it is at start + p * slope.
struct Line {
  float start[2], slope[2];
};

template <int kMain>
PYRONN_HD inline Line line_of(const Scene& s, const Direction& r) {
  constexpr int a = across<kMain>(0), b = across<kMain>(1);
  const float per_plane = 1.0f / r.d[kMain];
  Line line;
  line.start[0] = fmaf(-r.moment[b], per_plane, s.centre[a]);
  line.start[1] = fmaf(r.moment[a], per_plane, s.centre[b]);
  line.slope[0] = r.d[a] * per_plane;
  line.slope[1] = r.d[b] * per_plane;
  return line;
}

template <int kMain>
PYRONN_HD inline float mm_per_plane(const Scene& s, const Line& line) {
  const float a = line.slope[0] * s.spacing[across<kMain>(0)], b = line.slope[1] * s.spacing[across<kMain>(1)];
  const float m = s.spacing[kMain];
  return sqrtf(fmaf(a, a, fmaf(b, b, m * m)));
}

// Where a ray enters and leaves the box, in planes from the centre; it misses the box unless leave > enter.
struct Limits {
  float enter, leave;
};

template <int kMain>
PYRONN_HD inline Limits limits_of(const Scene& s, const Line& line) {
  Limits l;
  l.leave = 0.5f * s.volume[kMain];
  l.enter = -l.leave;
  for (int k = 0; k < 2; k++) {
    const float low = -0.5f - line.start[k], high = s.volume[across<kMain>(k)] - 0.5f - line.start[k];
    if (fabsf(line.slope[k]) > 1e-9f) {
      const float p = low / line.slope[k], q = high / line.slope[k];
      l.enter = fmaxf(l.enter, fminf(p, q));
      l.leave = fminf(l.leave, fmaxf(p, q));
    } else if (low > 0 || high < 0) {
      l.leave = l.enter;
    }
  }
  return l;
}

// The part of the ray that plane p stands for.
PYRONN_HD inline float part_of(const Limits& l, float p) {
  return fmaxf(fminf(p + 0.5f, l.leave) - fmaxf(p - 0.5f, l.enter), 0.0f);
}

// Where a ray crosses plane p, along the k-th axis across; beyond the outer voxels' centres values stay theirs.
template <int kMain>
PYRONN_HD inline float crossing(const Scene& s, const Line& line, int k, float p) {
  return between(fmaf(line.slope[k], p, line.start[k]), 0.0f, s.volume[across<kMain>(k)] - 1.0f);
}

// --- Projection: one pixel.

template <int kMain>
PYRONN_HD inline float sum_of_planes(const Scene& s, const Voxels& v, const Direction& r) {
  const Line line = line_of<kMain>(s, r);
  const Limits l = limits_of<kMain>(s, line);
  if (!(l.leave > l.enter)) return 0;
  constexpr int a = across<kMain>(0), b = across<kMain>(1);
  const float centre = s.centre[kMain];
  const int first = larger_of(static_cast<int>(ceilf(l.enter - 0.5f + centre)), 0);
  const int last = smaller_of(static_cast<int>(floorf(l.leave + 0.5f + centre)), s.volume[kMain] - 1);
  const int step_a = s.volume[a] > 1 ? v.stride[a] : 0, step_b = s.volume[b] > 1 ? v.stride[b] : 0;
  const int most_a = larger_of(s.volume[a] - 2, 0), most_b = larger_of(s.volume[b] - 2, 0);
  float sum = 0;
  for (int plane = first; plane <= last; plane++) {
    const float p = plane - centre;
    const float at_a = crossing<kMain>(s, line, 0, p), at_b = crossing<kMain>(s, line, 1, p);
    const int low_a = smaller_of(static_cast<int>(at_a), most_a), low_b = smaller_of(static_cast<int>(at_b), most_b);
    const float share_a = at_a - low_a, share_b = at_b - low_b;
    const float* from = v.data + plane * v.stride[kMain] + low_a * v.stride[a] + low_b * v.stride[b];
    const float v00 = look(from), v10 = look(from + step_a);
    const float v01 = look(from + step_b), v11 = look(from + step_a + step_b);
    const float low = fmaf(share_a, v10 - v00, v00), high = fmaf(share_a, v11 - v01, v01);
    sum = fmaf(part_of(l, p), fmaf(share_b, high - low, low), sum);
  }
  return sum * mm_per_plane<kMain>(s, line);
}

// The line integral in mm. `turned` are the voxels for rays that run mainly along x, `plain` those for all others.
PYRONN_HD inline float project_pixel(const Scene& s, const View& view, const Voxels& plain, const Voxels& turned,
                                     int column, int row) {
  const Direction r = direction_of(view, static_cast<float>(column - view.column), static_cast<float>(row - view.row));
  const int main = main_axis(r);
  if (main == 0) return sum_of_planes<0>(s, turned, r);
  return main == 1 ? sum_of_planes<1>(s, plain, r) : sum_of_planes<2>(s, plain, r);
}

// --- What the operators on voxels share.

// A voxel's shadow, in pixels from the reference one.
struct Shadow {
  float at[2], depth;
};

PYRONN_HD inline Shadow shadow_of(const Scene& s, const View& view, int x, int y, int z) {
  const float px = x - s.centre[0], py = y - s.centre[1], pz = z - s.centre[2];
  Shadow shadow;
  shadow.depth = fmaf(view.depth[0], px, fmaf(view.depth[1], py, fmaf(view.depth[2], pz, view.depth[3])));
  const float inverse = 1.0f / shadow.depth;
  for (int k = 0; k < 2; k++) {
    const float* m = view.shift[k];
    shadow.at[k] = fmaf(m[0], px, fmaf(m[1], py, fmaf(m[2], pz, m[3]))) * inverse;
  }
  return shadow;
}

// --- Transpose of the projection: one voxel, one view.

// How far from its shadow the pixels may lie whose rays touch a voxel. Such a ray crosses the voxel's own plane, across
// the ray's main axis, at most one voxel away from it along either other axis: between the neighbours' centres, and,
// for a voxel at the border, up to one voxel beyond, since a ray that is in the box somewhere within half a voxel of
// the plane moves no more than half a voxel across on the way there. False if there is no bound, which takes a source
// about a voxel away.
PYRONN_HD inline bool reach_of(const View& view, const Shadow& shadow, float reach[2]) {
  float most[3] = {0, 0, 0};  // of the changes in column and row, times depth, and of the depth
  for (int k = 0; k < 3; k++) {
    float change[3];
    for (int a = 0; a < 3; a++) {
      change[a] = fabsf(k < 2 ? fmaf(-shadow.at[k], view.depth[a], view.shift[k][a]) : view.depth[a]);
    }
    if (view.mains & 1) most[k] = change[1] + change[2];
    if (view.mains & 2) most[k] = fmaxf(most[k], change[2] + change[0]);
    if (view.mains & 4) most[k] = fmaxf(most[k], change[0] + change[1]);
  }
  const float nearest = shadow.depth - 1.001f * most[2];
  if (!(nearest > 0.1f * shadow.depth)) return false;
  const float inverse = 1.0f / nearest;
  for (int k = 0; k < 2; k++) reach[k] = fmaf(1.001f * most[k], inverse, 1e-3f);  // and a little, for rounding
  return true;
}

// The pixels [first, last], counted from the reference one, that lie within `reach` of `at` and on the detector.
struct Span {
  int first, last;
};

PYRONN_HD inline Span span_of(float at, float reach, int reference, int n) {
  const float low = static_cast<float>(-reference), high = static_cast<float>(n - reference);
  return {static_cast<int>(between(ceilf(at - reach), low, high)),
          static_cast<int>(between(floorf(at + reach), low - 1.0f, high - 1.0f))};
}

// What a ray's integral takes of a voxel, in mm.
template <int kMain>
PYRONN_HD inline float share_of_voxel(const Scene& s, const Direction& r, const int voxel[3]) {
  const Line line = line_of<kMain>(s, r);
  const float p = voxel[kMain] - s.centre[kMain];
  float share = 1;
  bool inner = true;
  for (int k = 0; k < 2; k++) {
    const int a = across<kMain>(k), i = voxel[a];
    share *= fmaxf(1.0f - fabsf(crossing<kMain>(s, line, k, p) - i), 0.0f);
    inner = inner && i >= 2 && i < s.volume[a] - 2;
  }
  if (share == 0) return 0;
  if (!inner) share *= part_of(limits_of<kMain>(s, line), p);  // two voxels inside, a ray crosses whole layers
  return share * mm_per_plane<kMain>(s, line);
}

PYRONN_HD inline float project_adjoint_voxel(const Scene& s, const View& view, const float* image, int x, int y,
                                             int z) {
  const int voxel[3] = {x, y, z};
  const Shadow shadow = shadow_of(s, view, x, y, z);
  float reach[2];
  Span columns = {-view.column, s.columns - 1 - view.column}, rows = {-view.row, s.rows - 1 - view.row};
  if (reach_of(view, shadow, reach)) {
    columns = span_of(shadow.at[0], reach[0], view.column, s.columns);
    rows = span_of(shadow.at[1], reach[1], view.row, s.rows);
  }
  float sum = 0;
  for (int row = rows.first; row <= rows.last; row++) {
    const float* line = image + static_cast<int64_t>(view.row + row) * s.columns + view.column;
    for (int column = columns.first; column <= columns.last; column++) {
      const Direction r = direction_of(view, static_cast<float>(column), static_cast<float>(row));
      const int main = main_axis(r);
      float share;
      if (main == 0) share = share_of_voxel<0>(s, r, voxel);
      else share = main == 1 ? share_of_voxel<1>(s, r, voxel) : share_of_voxel<2>(s, r, voxel);
      if (share != 0) sum = fmaf(share, look(line + column), sum);
    }
  }
  return sum;
}

// --- Back-projection: one voxel, one view. Both times 1 / depth^2; the caller multiplies the sum.

// One axis on the detector: the lower of the two neighbours, and what the higher one counts.
struct Neighbours {
  int low;
  float share;
  bool has_low, has_high;
};

PYRONN_HD inline Neighbours neighbours_of(float at, int reference, int n) {
  const float clamped = between(at, static_cast<float>(-1 - reference), static_cast<float>(n - reference));
  const float low = floorf(clamped);
  Neighbours found;
  found.low = static_cast<int>(low) + reference;
  found.share = clamped - low;
  found.has_low = found.low >= 0 && found.low < n;
  found.has_high = found.low + 1 < n;  // and at least 0
  return found;
}

PYRONN_HD inline float backproject_voxel(const Scene& s, const View& view, const float* image, int x, int y, int z) {
  const Shadow shadow = shadow_of(s, view, x, y, z);
  const Neighbours c = neighbours_of(shadow.at[0], view.column, s.columns);
  const Neighbours r = neighbours_of(shadow.at[1], view.row, s.rows);
  const float* from = image + static_cast<int64_t>(r.low) * s.columns + c.low;
  const float v00 = r.has_low && c.has_low ? look(from) : 0.0f;
  const float v10 = r.has_low && c.has_high ? look(from + 1) : 0.0f;
  const float v01 = r.has_high && c.has_low ? look(from + s.columns) : 0.0f;
  const float v11 = r.has_high && c.has_high ? look(from + s.columns + 1) : 0.0f;
  const float low = fmaf(c.share, v10 - v00, v00), high = fmaf(c.share, v11 - v01, v01);
  return fmaf(r.share, high - low, low) / (shadow.depth * shadow.depth);
}

// --- Transpose of the back-projection: one pixel.

// What a voxel's back-projection takes of the pixel.
PYRONN_HD inline float share_of_pixel(const Scene& s, const View& view, float column, float row, int x, int y, int z) {
  const Shadow shadow = shadow_of(s, view, x, y, z);
  const float a = 1.0f - fabsf(shadow.at[0] - column), b = 1.0f - fabsf(shadow.at[1] - row);
  return fmaxf(a, 0.0f) * fmaxf(b, 0.0f) / (shadow.depth * shadow.depth);
}

// The rays at the corners of the square of pixels within one pixel of the given one: in each plane, voxels whose shadow
// lies in the square lie between them. False where the corners do not all cross the planes in the same direction.
template <int kMain>
PYRONN_HD inline bool corners_of(const Scene& s, const View& view, float column, float row, float d, Line corners[4]) {
  bool together = true;
  for (int k = 0; k < 4; k++) {
    const Direction r = direction_of(view, column + (k & 1 ? 1.001f : -1.001f), row + (k & 2 ? 1.001f : -1.001f));
    together = together && r.d[kMain] * d > 0.1f * d * d;
    corners[k] = line_of<kMain>(s, r);
  }
  return together;
}

// The voxels along the k-th axis across in plane p that lie between the corners, and a little beyond, for rounding.
template <int kMain>
PYRONN_HD inline Span between_corners(const Scene& s, const Line corners[4], int k, float p) {
  float low = fmaf(corners[0].slope[k], p, corners[0].start[k]), high = low;
  for (int c = 1; c < 4; c++) {
    const float at = fmaf(corners[c].slope[k], p, corners[c].start[k]);
    low = fminf(low, at);
    high = fmaxf(high, at);
  }
  const float n = static_cast<float>(s.volume[across<kMain>(k)]);
  return {static_cast<int>(between(ceilf(low - 1e-3f), 0.0f, n)),
          static_cast<int>(between(floorf(high + 1e-3f), -1.0f, n - 1.0f))};
}

template <int kMain>
PYRONN_HD inline float sum_of_voxels(const Scene& s, const View& view, const Voxels& v, const Direction& r,
                                     float column, float row) {
  constexpr int a = across<kMain>(0), b = across<kMain>(1);
  Line corners[4];
  const bool together = corners_of<kMain>(s, view, column, row, r.d[kMain], corners);
  float sum = 0;
  for (int plane = 0; plane < s.volume[kMain]; plane++) {
    const float p = plane - s.centre[kMain];
    Span in_a = {0, s.volume[a] - 1}, in_b = {0, s.volume[b] - 1};
    if (together) {
      in_a = between_corners<kMain>(s, corners, 0, p);
      in_b = between_corners<kMain>(s, corners, 1, p);
    }
    int voxel[3];
    voxel[kMain] = plane;
    for (voxel[b] = in_b.first; voxel[b] <= in_b.last; voxel[b]++) {
      for (voxel[a] = in_a.first; voxel[a] <= in_a.last; voxel[a]++) {
        const float share = share_of_pixel(s, view, column, row, voxel[0], voxel[1], voxel[2]);
        const float* from = v.data + plane * v.stride[kMain] + voxel[a] * v.stride[a] + voxel[b] * v.stride[b];
        if (share > 0) sum = fmaf(share, look(from), sum);
      }
    }
  }
  return sum;
}

// A gather, like the other three: no additions in memory, so results repeat bit for bit.
PYRONN_HD inline float backproject_adjoint_pixel(const Scene& s, const View& view, const Voxels& plain,
                                                 const Voxels& turned, int column, int row) {
  const float c = static_cast<float>(column - view.column), r = static_cast<float>(row - view.row);
  const Direction d = direction_of(view, c, r);
  const int main = main_axis(d);
  if (main == 0) return sum_of_voxels<0>(s, view, turned, d, c, r);
  return main == 1 ? sum_of_voxels<1>(s, view, plain, d, c, r) : sum_of_voxels<2>(s, view, plain, d, c, r);
}

}  // namespace device
}  // namespace pyronn_layers
