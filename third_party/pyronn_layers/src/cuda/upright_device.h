// The transpose of the projection in two steps, where every view is upright: its columns are parallel to z, and no ray
// runs mainly along z. The rays of a column then lie in one plane and differ in z alone. First each column is spread
// over the lines of voxels along z that its rays would cross if there were some (spread_of); then each voxel takes from
// the columns near it what their lines have at its height (for_columns). The same numbers as project_adjoint_voxel, for
// a fraction of the arithmetic.
#pragma once

#include "cone_device.h"

namespace pyronn_layers {
namespace device {

// A column's rays. p: plane across the main axis, from the centre; row: from the reference pixel.
struct Column {
  int main;             // 0 or 1
  float per_plane;      // 1 / the direction along it
  float start, slope;   // the other horizontal axis is crossed at start + slope * p
  float level;          // square of a direction's horizontal length in mm
  float rise, per_row;  // the direction along z is rise + per_row * row
  float tall[2][2];     // z is crossed at (tall[0][0] + tall[1][0] * p) + (tall[0][1] + tall[1][1] * p) * row
};

PYRONN_HD inline Column column_of(const Scene& s, const View& view, int column) {
  const Direction r = direction_of(view, static_cast<float>(column), 0);
  Column c;
  c.main = fabsf(r.d[0]) >= fabsf(r.d[1]) ? 0 : 1;
  const int flat = 1 - c.main;
  const float sign = c.main == 0 ? 1.0f : -1.0f;  // (source - centre) x direction, solved for the crossing
  c.per_plane = reciprocal(c.main == 0 ? r.d[0] : r.d[1]);
  c.start = fmaf(-sign * r.moment[2], c.per_plane, flat == 1 ? s.centre[1] : s.centre[0]);
  c.slope = (flat == 1 ? r.d[1] : r.d[0]) * c.per_plane;
  const float x = r.d[0] * s.spacing[0], y = r.d[1] * s.spacing[1];
  c.level = fmaf(x, x, y * y);
  c.rise = r.d[2];
  c.per_row = view.along[2][1];
  c.tall[0][0] = fmaf(sign * (flat == 1 ? r.moment[1] : r.moment[0]), c.per_plane, s.centre[2]);
  c.tall[0][1] = sign * (flat == 1 ? view.moment[1][1] : view.moment[0][1]) * c.per_plane;
  c.tall[1][0] = c.rise * c.per_plane;
  c.tall[1][1] = c.per_row * c.per_plane;
  return c;
}

// Lines that a column is spread over: one for each plane across its main axis.
PYRONN_HD inline int planes_of(const Scene& s, const Column& c) { return c.main == 0 ? s.volume[0] : s.volume[1]; }
PYRONN_HD inline int most_planes(const Scene& s) { return larger_of(s.volume[0], s.volume[1]); }

// The length of a ray in a whole layer, in mm; the row counts from the reference pixel.
PYRONN_HD inline float mm_of(const Scene& s, const Column& c, float row) {
  const float z = fmaf(c.per_row, row, c.rise) * s.spacing[2];
  return square_root(fmaf(z, z, c.level)) * fabsf(c.per_plane);
}

// What a column's pixels, times mm_of, give to height z of a plane's line. `reference`: the view's row.
PYRONN_HD inline float spread_of(const Scene& s, const Column& c, const float* weighted, int reference, int plane,
                                 int z) {
  const int n = c.main == 0 ? s.volume[1] : s.volume[0], tall = s.volume[2];
  const float p = plane - (c.main == 0 ? s.centre[0] : s.centre[1]);
  Limits flat = {-0.5f, 0.5f};
  const float at = fmaf(c.slope, p, c.start);
  if (at < -1.0f || at > n) return 0;  // no voxel takes any of it
  if (at < 0.5f || at > n - 1.5f) cut(n, at, c.slope, &flat);
  const float middle = fmaf(c.tall[1][0], p, c.tall[0][0]), per_row = fmaf(c.tall[1][1], p, c.tall[0][1]);
  Span rows = {-reference, s.rows - 1 - reference};
  if (fabsf(per_row) > 1e-6f) {
    const float rows_per_voxel = reciprocal(per_row);
    rows = pixels_near((z - middle) * rows_per_voxel, fmaf(1.001f, fabsf(rows_per_voxel), 1e-3f), reference, s.rows);
  }
  float sum = 0, r = static_cast<float>(rows.first);
  for (int row = rows.first; row <= rows.last; row++, r += 1.0f) {
    const float up = fmaf(per_row, r, middle);
    Limits part = flat;
    if (up < 0.5f || up > tall - 1.5f) cut(tall, up, fmaf(c.per_row, r, c.rise) * c.per_plane, &part);
    sum = fmaf(blend_of(tall, z, up) * length_of(part), weighted[row + reference], sum);
  }
  return sum;
}

// For the columns whose rays run mainly along kMain and touch voxels (x, y): calls add(column, plane, share).
template <int kMain, typename Add>
PYRONN_HD inline void for_columns_along(const Scene& s, const View& view, const Shadow& shadow, int x, int y,
                                        Add&& add) {
  constexpr int flat = 1 - kMain;
  const int n = s.volume[flat], here = flat == 0 ? x : y, plane = kMain == 0 ? x : y;
  const float p = plane - s.centre[kMain], nearest = shadow.depth - 1.001f * fabsf(view.depth[flat]);
  Span columns = {-view.column, s.columns - 1 - view.column};
  if (nearest > 0.1f * shadow.depth) {
    const float change = fabsf(fmaf(-shadow.at[0], view.depth[flat], view.shift[0][flat]));
    columns = pixels_near(shadow.at[0], fmaf(1.001f * change, reciprocal(nearest), 1e-3f), view.column, s.columns);
  }
  for (int column = columns.first; column <= columns.last; column++) {
    const Column c = column_of(s, view, column);
    if (c.main == kMain) add(column + view.column, plane, blend_of(n, here, fmaf(c.slope, p, c.start)));
  }
}

template <typename Add>
PYRONN_HD inline void for_columns(const Scene& s, const View& view, int x, int y, Add&& add) {
  const Shadow shadow = shadow_of(s, view, x, y, 0);
  if (view.mains & 1) for_columns_along<0>(s, view, shadow, x, y, add);
  if (view.mains & 2) for_columns_along<1>(s, view, shadow, x, y, add);
}

}  // namespace device
}  // namespace pyronn_layers
