// What one thread of the CUDA kernels computes: one element of the output of each operator. The discretization is that
// of rays.h. These are plain functions of plain numbers, so that they also run and are tested without a GPU
// (emulate.cc).
//
// All numbers are float32. Positions are counted from a point near by, so that rounding stays below about 1e-4 voxels
// and pixels up to 512 of them: planes from the volume's centre, columns and rows from a reference pixel close to the
// centre's shadow. device_geometry.cc brings views into that form, in double. Directions are sums of explicit fmaf, so
// that every kernel gets the same bits for the same ray, and takes the same main axis.
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

// Returns 1 / v, on a GPU to two units in the last place, as a division that rounds correctly takes ten instructions.
PYRONN_HD inline float reciprocal(float v) {
#if defined(__CUDA_ARCH__)
  return __fdividef(1.0f, v);
#else
  return 1.0f / v;
#endif
}

PYRONN_HD inline float square_root(float v) {
#if defined(__CUDA_ARCH__)
  return v * rsqrtf(v);  // v is positive
#else
  return sqrtf(v);
#endif
}

// Whole numbers by an addition that leaves no bits for the fraction: conversions between float and int are a quarter as
// fast on a GPU. Below 2^22.
constexpr float kWhole = 12582912.0f;  // 1.5 * 2^23

PYRONN_HD inline int index_of(float shifted) {
#if defined(__CUDA_ARCH__)
  return __float_as_int(shifted) - 0x4b400000;  // the bits of kWhole
#else
  return static_cast<int>(shifted - kWhole);
#endif
}

// The lower of the two whole numbers to blend between; where `at` is whole, either of the two pairs.
struct Lower {
  float value;
  int index;
};

PYRONN_HD inline Lower lower_of(float at, float most) {
  const float shifted = fminf((at - 0.5f) + kWhole, most + kWhole);
  return {shifted - kWhole, index_of(shifted)};
}

// The whole numbers from `least` to `most` that lie in [low, high]; one more at either end where that is whole itself.
struct Span {
  int first, last;
};

PYRONN_HD inline Span span_of(float low, float high, float least, float most) {
  return {index_of(fminf(fmaxf((low + 0.5f) + kWhole, least + kWhole), most + 1.0f + kWhole)),
          index_of(fmaxf(fminf((high - 0.5f) + kWhole, most + kWhole), least - 1.0f + kWhole))};
}

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

// --- Projection: one pixel.

// The volume along a ray, at planes across its main axis.
template <int kMain>
struct Planes {
  const float* data;
  Line line;
  float centre, most[2], most_low[2];
  int stride, stride_a, stride_b, step_a, step_b;
};

template <int kMain>
PYRONN_HD inline Planes<kMain> planes_of(const Scene& s, const Voxels& v, const Line& line) {
  constexpr int a = across<kMain>(0), b = across<kMain>(1);
  return {v.data,
          line,
          s.centre[kMain],
          {s.volume[a] - 1.0f, s.volume[b] - 1.0f},
          {fmaxf(s.volume[a] - 2.0f, 0.0f), fmaxf(s.volume[b] - 2.0f, 0.0f)},
          v.stride[kMain],
          v.stride[a],
          v.stride[b],
          s.volume[a] > 1 ? v.stride[a] : 0,
          s.volume[b] > 1 ? v.stride[b] : 0};
}

// Where the ray crosses a plane; beyond the outer voxels' centres values stay theirs.
template <int kMain>
PYRONN_HD inline float value_at(const Planes<kMain>& planes, int plane) {
  const float p = plane - planes.centre;
  const float at_a = between(fmaf(planes.line.slope[0], p, planes.line.start[0]), 0.0f, planes.most[0]);
  const float at_b = between(fmaf(planes.line.slope[1], p, planes.line.start[1]), 0.0f, planes.most[1]);
  const Lower a = lower_of(at_a, planes.most_low[0]), b = lower_of(at_b, planes.most_low[1]);
  const float share_a = at_a - a.value, share_b = at_b - b.value;
  const float* from = planes.data + plane * planes.stride + a.index * planes.stride_a + b.index * planes.stride_b;
  const float v00 = look(from), v10 = look(from + planes.step_a);
  const float v01 = look(from + planes.step_b), v11 = look(from + planes.step_a + planes.step_b);
  const float low = fmaf(share_a, v10 - v00, v00), high = fmaf(share_a, v11 - v01, v01);
  return fmaf(share_b, high - low, low);
}

template <int kMain>
PYRONN_HD inline float sum_of_planes(const Scene& s, const Voxels& v, const Direction& r) {
  const Line line = line_of<kMain>(s, r);
  const Limits l = limits_of<kMain>(s, line);
  if (!(l.leave > l.enter)) return 0;
  const float centre = s.centre[kMain];
  const int first = larger_of(static_cast<int>(ceilf(l.enter - 0.5f + centre)), 0);
  const int last = smaller_of(static_cast<int>(floorf(l.leave + 0.5f + centre)), s.volume[kMain] - 1);
  const Planes<kMain> planes = planes_of<kMain>(s, v, line);
  // The box's faces cut the outer two layers at either end at most.
  const int whole = smaller_of(first + 2, last + 1), cut = larger_of(whole, last - 1);
  float sum = 0;
  int plane = first;
  for (; plane < whole; plane++) sum = fmaf(part_of(l, plane - centre), value_at<kMain>(planes, plane), sum);
  for (; plane < cut; plane++) sum += value_at<kMain>(planes, plane);
  for (; plane <= last; plane++) sum = fmaf(part_of(l, plane - centre), value_at<kMain>(planes, plane), sum);
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
  float at[2], depth, inverse;  // inverse: of the depth
};

PYRONN_HD inline Shadow shadow_of(const Scene& s, const View& view, int x, int y, int z) {
  const float px = x - s.centre[0], py = y - s.centre[1], pz = z - s.centre[2];
  Shadow shadow;
  shadow.depth = fmaf(view.depth[0], px, fmaf(view.depth[1], py, fmaf(view.depth[2], pz, view.depth[3])));
  shadow.inverse = reciprocal(shadow.depth);
  for (int k = 0; k < 2; k++) {
    const float* m = view.shift[k];
    shadow.at[k] = fmaf(m[0], px, fmaf(m[1], py, fmaf(m[2], pz, m[3]))) * shadow.inverse;
  }
  return shadow;
}

// --- Transpose of the projection: one voxel, one view.

// How far from its shadow the pixels may lie whose rays run mainly along kMain and touch a voxel. Such a ray crosses
// the voxel's own plane, across kMain, at most one voxel away from it along either other axis: between the neighbours'
// centres, and, for a voxel at the border, up to one voxel beyond, since a ray that is in the box somewhere within half
// a voxel of the plane moves no more than half a voxel across on the way there. False if there is no bound, which takes
// a source about a voxel away.
template <int kMain>
PYRONN_HD inline bool reach_of(const View& view, const Shadow& shadow, float reach[2]) {
  constexpr int a = across<kMain>(0), b = across<kMain>(1);
  const float nearest = shadow.depth - 1.001f * (fabsf(view.depth[a]) + fabsf(view.depth[b]));
  if (!(nearest > 0.1f * shadow.depth)) return false;
  const float inverse = 1.001f * reciprocal(nearest);
  for (int k = 0; k < 2; k++) {  // the changes in column and row, times depth
    const float most = fabsf(fmaf(-shadow.at[k], view.depth[a], view.shift[k][a])) +
                       fabsf(fmaf(-shadow.at[k], view.depth[b], view.shift[k][b]));
    reach[k] = fmaf(most, inverse, 1e-3f);  // and a little, for rounding
  }
  return true;
}

// The pixels, counted from the reference one, that lie within `reach` of `at` and on the detector.
PYRONN_HD inline Span pixels_near(float at, float reach, int reference, int n) {
  return span_of(at - reach, at + reach, static_cast<float>(-reference), static_cast<float>(n - 1 - reference));
}

// A voxel as the rays see it that run mainly along kMain: the ray of pixel (column, row), whose direction is d, crosses
// the voxel's plane at offset[k] * (column, row, 1) / d[kMain] voxels from its centre, along the k-th axis across.
// inner[k]: a voxel lies between it and either face of the box, so that rays near it leave its layer within the box.
struct Target {
  int voxel[2], n[2];
  float offset[2][3];
  bool inner[2];
};

template <int kMain>
PYRONN_HD inline Target target_of(const Scene& s, const View& view, const int voxel[3]) {
  constexpr int a = across<kMain>(0), b = across<kMain>(1);
  const float p = voxel[kMain] - s.centre[kMain];
  const float from_a = voxel[a] - s.centre[a], from_b = voxel[b] - s.centre[b];
  Target t;
  for (int k = 0; k < 2; k++) {
    t.voxel[k] = voxel[across<kMain>(k)];
    t.n[k] = s.volume[across<kMain>(k)];
    t.inner[k] = t.voxel[k] >= 1 && t.voxel[k] < t.n[k] - 1;
  }
  for (int j = 0; j < 3; j++) {
    const float d = view.along[kMain][j];
    t.offset[0][j] = fmaf(-from_a, d, fmaf(view.along[a][j], p, -view.moment[b][j]));
    t.offset[1][j] = fmaf(-from_b, d, fmaf(view.along[b][j], p, view.moment[a][j]));
  }
  return t;
}

// Narrows the part of its layer that a ray crosses, counted from the layer's middle, to what lies between the box's two
// faces along one axis of n voxels. In the middle the ray is at `at` along it.
PYRONN_HD inline void cut(int n, float at, float slope, Limits* part) {
  const float low = -0.5f - at, high = n - 0.5f - at;
  if (fabsf(slope) > 1e-9f) {
    const float inverse = reciprocal(slope), p = low * inverse, q = high * inverse;
    part->enter = fmaxf(part->enter, fminf(p, q));
    part->leave = fminf(part->leave, fmaxf(p, q));
  } else if (low > 0 || high < 0) {
    part->leave = part->enter;
  }
}

PYRONN_HD inline float length_of(const Limits& part) { return fmaxf(part.leave - part.enter, 0.0f); }

PYRONN_HD inline float within_one(float offset) { return fmaxf(1.0f - fabsf(offset), 0.0f); }

// What voxel i, of n along an axis, counts at `at`; beyond the outer voxels' centres values stay theirs.
PYRONN_HD inline float blend_of(int n, int i, float at) { return within_one(between(at, 0.0f, n - 1.0f) - i); }

// What the integral of a ray of direction d takes of a voxel, in mm; `at`: its offset times d[kMain].
template <int kMain>
PYRONN_HD inline float share_of_voxel(const Scene& s, const Target& t, const float d[3], const float at[2]) {
  const float per_plane = reciprocal(d[kMain]);
  const float x = d[0] * s.spacing[0], y = d[1] * s.spacing[1], z = d[2] * s.spacing[2];
  float share = square_root(fmaf(x, x, fmaf(y, y, z * z))) * fabsf(per_plane);
  Limits part = {-0.5f, 0.5f};
  for (int k = 0; k < 2; k++) {
    const float offset = at[k] * per_plane, place = t.voxel[k] + offset;
    share *= t.inner[k] ? within_one(offset) : blend_of(t.n[k], t.voxel[k], place);
    if (!t.inner[k]) cut(t.n[k], place, d[across<kMain>(k)] * per_plane, &part);
  }
  return share * length_of(part);
}

// Returns what the rays that run mainly along kMain give to a voxel.
template <int kMain>
PYRONN_HD inline float sum_of_pixels(const Scene& s, const View& view, const Target& t, const float* image,
                                     const Span& columns, const Span& rows) {
  float sum = 0;
  for (int row = rows.first; row <= rows.last; row++) {
    const float* line = image + static_cast<int64_t>(view.row + row) * s.columns + view.column;
    for (int column = columns.first; column <= columns.last; column++) {
      const float c = static_cast<float>(column), r = static_cast<float>(row);
      const Direction ray = direction_of(view, c, r);
      if (main_axis(ray) != kMain) continue;
      const float at[2] = {fmaf(t.offset[0][0], c, fmaf(t.offset[0][1], r, t.offset[0][2])),
                           fmaf(t.offset[1][0], c, fmaf(t.offset[1][1], r, t.offset[1][2]))};
      sum = fmaf(share_of_voxel<kMain>(s, t, ray.d, at), look(line + column), sum);
    }
  }
  return sum;
}

template <int kMain>
PYRONN_HD inline float sum_of_rays(const Scene& s, const View& view, const float* image, const int voxel[3],
                                   const Shadow& shadow) {
  float reach[2];
  Span columns = {-view.column, s.columns - 1 - view.column}, rows = {-view.row, s.rows - 1 - view.row};
  if (reach_of<kMain>(view, shadow, reach)) {
    columns = pixels_near(shadow.at[0], reach[0], view.column, s.columns);
    rows = pixels_near(shadow.at[1], reach[1], view.row, s.rows);
  }
  const Target t = target_of<kMain>(s, view, voxel);
  return sum_of_pixels<kMain>(s, view, t, image, columns, rows);
}

PYRONN_HD inline float project_adjoint_voxel(const Scene& s, const View& view, const float* image, int x, int y,
                                             int z) {
  const int voxel[3] = {x, y, z};
  const Shadow shadow = shadow_of(s, view, x, y, z);
  float sum = 0;
  if (view.mains & 1) sum += sum_of_rays<0>(s, view, image, voxel, shadow);
  if (view.mains & 2) sum += sum_of_rays<1>(s, view, image, voxel, shadow);
  if (view.mains & 4) sum += sum_of_rays<2>(s, view, image, voxel, shadow);
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
  const Lower low = lower_of(clamped, static_cast<float>(n - reference));
  Neighbours found;
  found.low = low.index + reference;
  found.share = clamped - low.value;
  found.has_low = found.low >= 0 && found.low < n;
  found.has_high = found.low + 1 >= 0 && found.low + 1 < n;
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
  return fmaf(r.share, high - low, low) * shadow.inverse * shadow.inverse;
}

// --- Transpose of the back-projection: one pixel.

// In each plane, voxels whose shadow lies within one pixel of the given one lie between the rays at the corners of that
// square: at most `wide` from the pixel's own ray along either axis across. A corner's distance from that ray is convex
// over the planes, so that it stays below its chord: wide = at_centre + per_plane * p.
struct Width {
  float at_centre[2], per_plane[2];
};

template <int kMain>
PYRONN_HD inline Width width_of(const Scene& s, const View& view, const Line& line, float column, float row, float d) {
  const float end = fmaxf(s.centre[kMain], 0.5f);
  float most[2][2] = {{0, 0}, {0, 0}};  // at the first and at the last plane
  bool together = true;
  for (int c = 0; c < 4; c++) {
    const Direction r = direction_of(view, column + (c & 1 ? 1.001f : -1.001f), row + (c & 2 ? 1.001f : -1.001f));
    together = together && r.d[kMain] * d > 0.1f * d * d;
    const Line corner = line_of<kMain>(s, r);
    for (int k = 0; k < 2; k++) {
      const float start = corner.start[k] - line.start[k], turn = (corner.slope[k] - line.slope[k]) * end;
      most[0][k] = fmaxf(most[0][k], fabsf(start - turn));
      most[1][k] = fmaxf(most[1][k], fabsf(start + turn));
    }
  }
  Width wide;
  for (int k = 0; k < 2; k++) {  // everything, where the corners do not all cross the planes in the same direction
    wide.at_centre[k] = together ? 0.5f * (most[0][k] + most[1][k]) + 1e-3f : 1e9f;
    wide.per_plane[k] = together ? 0.5f * (most[1][k] - most[0][k]) / end : 0.0f;
  }
  return wide;
}

template <int kMain>
PYRONN_HD inline Span voxels_near(const Scene& s, const Line& line, const Width& wide, int k, float p) {
  const float middle = fmaf(line.slope[k], p, line.start[k]), half = fmaf(wide.per_plane[k], p, wide.at_centre[k]);
  return span_of(middle - half, middle + half, 0.0f, s.volume[across<kMain>(k)] - 1.0f);
}

// Shadows as seen from a pixel: times depth, minus the pixel's place, so that a voxel within one pixel of it is within
// +-depth; all linear in the voxel.
struct Offsets {
  float column[4], row[4];
};

PYRONN_HD inline Offsets offsets_from(const View& view, float column, float row) {
  Offsets o;
  for (int j = 0; j < 4; j++) {
    o.column[j] = fmaf(-column, view.depth[j], view.shift[0][j]);
    o.row[j] = fmaf(-row, view.depth[j], view.shift[1][j]);
  }
  return o;
}

template <int kMain>
PYRONN_HD inline float sum_of_voxels(const Scene& s, const View& view, const Voxels& v, const Direction& r,
                                     float column, float row) {
  constexpr int a = across<kMain>(0), b = across<kMain>(1);
  const Line line = line_of<kMain>(s, r);
  const Width wide = width_of<kMain>(s, view, line, column, row, r.d[kMain]);
  const Offsets o = offsets_from(view, column, row);
  float sum = 0;
  for (int plane = 0; plane < s.volume[kMain]; plane++) {
    const float p = plane - s.centre[kMain];
    const Span in_a = voxels_near<kMain>(s, line, wide, 0, p), in_b = voxels_near<kMain>(s, line, wide, 1, p);
    for (int ib = in_b.first; ib <= in_b.last; ib++) {
      const float q = ib - s.centre[b];
      const float* from = v.data + plane * v.stride[kMain] + ib * v.stride[b];
      const float to_column = fmaf(o.column[b], q, fmaf(o.column[kMain], p, o.column[3]));
      const float to_row = fmaf(o.row[b], q, fmaf(o.row[kMain], p, o.row[3]));
      const float deep = fmaf(view.depth[b], q, fmaf(view.depth[kMain], p, view.depth[3]));
      for (int ia = in_a.first; ia <= in_a.last; ia++) {
        const float t = ia - s.centre[a], inverse = reciprocal(fmaf(view.depth[a], t, deep));
        const float across_columns = within_one(fmaf(o.column[a], t, to_column) * inverse);
        const float across_rows = within_one(fmaf(o.row[a], t, to_row) * inverse);
        sum = fmaf(across_columns * across_rows * inverse * inverse, look(from + ia * v.stride[a]), sum);
      }
    }
  }
  return sum;
}

// This is a gather, like the other three: it adds nothing in memory, so results repeat bit for bit.
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
