// The rays of a detector column that is parallel to z, and the planes of voxels that they cross. Included by
// separable.h.
#pragma once

#include <cmath>

#include "kernels.h"
#include "lines.h"

namespace pyronn_layers {
namespace {

// The rays of one detector column; p counts planes along the main axis.
struct ColumnRays {
  int planes, others;            // voxels along the main axis and across it
  int64_t plane_stride, stride;  // floats between lines
  double source_p, source_q, source_z;
  double per_plane;           // depth per plane, signed
  double slope;               // voxels across per plane
  double rise, rise_per_row;  // voxels in z per mm of depth: rise + rise_per_row * row
  double enter, leave;        // in p, from the faces that all rows share
  double squared_mm;          // of the direction in x and y
};

inline ColumnRays column_rays(const ConeGeometry& g, const SeparableView& view, const Lines& volume, int64_t column) {
  const double dx = view.direction[0][0] * column + view.direction[0][1];
  const double dy = view.direction[1][0] * column + view.direction[1][1];
  ColumnRays r;
  const bool along_x = std::fabs(dx) >= std::fabs(dy);
  const int p = along_x ? 0 : 1, q = 1 - p;
  const double d = along_x ? dx : dy, across = along_x ? dy : dx;
  const int64_t step = volume.batch * volume.depth;
  r.planes = static_cast<int>(g.volume[p]);
  r.others = static_cast<int>(g.volume[q]);
  r.plane_stride = along_x ? step : volume.y_stride;
  r.stride = along_x ? volume.y_stride : step;
  r.source_p = view.source[p];
  r.source_q = view.source[q];
  r.source_z = view.source[2];
  r.per_plane = 1 / d;
  r.slope = across / d;
  r.rise_per_row = 1 / view.matrix[1][2];
  r.rise = -(view.matrix[1][0] * dx + view.matrix[1][1] * dy) * r.rise_per_row;
  r.squared_mm = dx * dx * g.spacing[0] * g.spacing[0] + dy * dy * g.spacing[1] * g.spacing[1];
  r.enter = -0.5;
  r.leave = r.planes - 0.5;
  if (std::fabs(r.slope) > 1e-9) {
    const double a = r.source_p + (-0.5 - r.source_q) / r.slope,
                 b = r.source_p + (r.others - 0.5 - r.source_q) / r.slope;
    r.enter = larger(r.enter, smaller(a, b));
    r.leave = smaller(r.leave, larger(a, b));
  } else if (r.source_q < -0.5 || r.source_q > r.others - 0.5) {
    r.leave = r.enter;
  }
  return r;
}

// Finds for every row where its ray enters and leaves the box, in planes, and its length in mm per plane.
inline void row_limits(const ConeGeometry& g, const ColumnRays& r, int rows, float* enter, float* leave, float* scale) {
  const float source = static_cast<float>(r.source_p);
  const F below = all(static_cast<float>(-0.5 - r.source_z));
  const F above = all(static_cast<float>(g.volume[2] - 0.5 - r.source_z));
  const float mm2 = static_cast<float>(g.spacing[2] * g.spacing[2]);
  for (int first = 0; first < rows; first += W) {
    const F rise = to_float(first + lanes()) * static_cast<float>(r.rise_per_row) + static_cast<float>(r.rise);
    F slope = rise * static_cast<float>(r.per_plane);  // voxels in z per plane
    slope = abs(slope) < all(1e-7f) ? all(1e-7f) : slope;
    const F a = source + below / slope, b = source + above / slope;
    store(enter + first, max(min(a, b), all(static_cast<float>(r.enter))));
    store(leave + first, min(max(a, b), all(static_cast<float>(r.leave))));
    const F squared = rise * rise * mm2 + static_cast<float>(r.squared_mm);
    store(scale + first, square_root(squared) * static_cast<float>(std::fabs(r.per_plane)));
  }
}

// One plane as the rays of a column cross it.
struct Layer {
  int plane;
  int64_t low, high;                     // offsets of the two lines of voxels
  float share;                           // of the second one
  Samples at;                            // z of row k
  int begin, full_begin, full_end, end;  // rows, multiples of W; within the full ones every ray crosses whole
};

// Planes that are made at a time, each step for all of them in vectors: one by one they would take a third of the time.
constexpr int kPlanesTogether = 64;

struct Layers {
  int begin[kPlanesTogether], full_begin[kPlanesTogether], full_end[kPlanesTogether], end[kPlanesTogether];
  int low[kPlanesTogether];
  float share[kPlanesTogether], start[kPlanesTogether], step[kPlanesTogether];
};

// The rows whose rays lie between the box's lower and upper face halfway before the planes from `plane` on.
struct Borders {
  double first[kPlanesTogether + 1], last[kPlanesTogether + 1];
};

inline void make_borders(const ColumnRays& rays, int nz, int plane, int count, Borders* borders) {
  const ColumnRays r = rays;
  for (int k = 0; k <= count; k++) {
    const double depth = (plane + k - 0.5 - r.source_p) * r.per_plane;
    const double per_voxel = 1 / (depth * r.rise_per_row);
    const double row = -(r.source_z + depth * r.rise) * per_voxel;  // where z = 0
    borders->first[k] = row - 0.5 * per_voxel;
    borders->last[k] = row + (nz - 0.5) * per_voxel;
  }
}

// Planes that no row crosses have no rows between begin and end.
inline void make_layers(const ColumnRays& rays, int rows, int plane, int count, const Borders& borders,
                        Layers* layers) {
  const ColumnRays r = rays;
  const double end = rows, most = r.others - 1.0;
  for (int k = 0; k < count; k++) {
    const double a = borders.first[k], b = borders.first[k + 1], c = borders.last[k], d = borders.last[k + 1];
    const double first = smaller(a, b), last = larger(c, d);
    // Truncation after clamping: one row more at the rim costs nothing, as its part of the layer is zero.
    const int begin = round_down(static_cast<int>(smaller(larger(first, 0.0), end)));
    const int row_end = round_up(static_cast<int>(larger(smaller(last + 2.0, end), 0.0)));
    const int row_end_crossed = first > rows - 1 || last < 0 ? begin : row_end;
    const int full_first = static_cast<int>(smaller(larger(larger(a, b) + 1.01, 0.0), end));
    const int full_last = static_cast<int>(smaller(larger(smaller(c, d) + 0.99, 0.0), end));
    const double at = plane + k;
    const bool whole = (at - 0.5 >= r.enter) & (at + 0.5 <= r.leave);
    const int full_begin = smaller(round_up(full_first), row_end_crossed);
    const int full_end = larger(round_down(full_last), full_begin);
    layers->begin[k] = begin;
    layers->end[k] = row_end_crossed;
    layers->full_begin[k] = whole ? full_begin : row_end_crossed;
    layers->full_end[k] = whole ? full_end : row_end_crossed;
    const double beyond = at - r.source_p, depth = beyond * r.per_plane;
    const double q = smaller(larger(r.source_q + beyond * r.slope, 0.0), most);
    const int low = static_cast<int>(q);
    layers->low[k] = low;
    layers->share[k] = static_cast<float>(q - low);
    layers->start[k] = static_cast<float>(r.source_z + depth * r.rise);
    layers->step[k] = static_cast<float>(depth * r.rise_per_row);
  }
}

inline Layer layer_of(const ColumnRays& r, const Layers& layers, int plane, int k) {
  const int low = layers.low[k], high = smaller(low + 1, r.others - 1);
  const int64_t lines = plane * r.plane_stride;
  return {plane,
          lines + low * r.stride,
          lines + high * r.stride,
          layers.share[k],
          {layers.start[k], layers.step[k]},
          layers.begin[k],
          layers.full_begin[k],
          layers.full_end[k],
          layers.end[k]};
}

// Calls visit(layer, next one) for all planes that a column's rays cross; after the last one, next is the last again.
template <class Visit>
inline void for_layers(const ColumnRays& r, int nz, int rows, Visit visit) {
  if (!(r.leave > r.enter)) return;
  const int first = ceil_between(r.enter - 0.5, 0, r.planes - 1), last = floor_between(r.leave + 0.5, 0, r.planes - 1);
  Borders borders;
  Layers layers;
  Layer before;
  bool any = false;
  for (int plane = first; plane <= last; plane += kPlanesTogether) {
    const int count = smaller(kPlanesTogether, last - plane + 1);
    make_borders(r, nz, plane, count, &borders);
    make_layers(r, rows, plane, count, borders, &layers);
    for (int k = 0; k < count; k++) {
      if (layers.end[k] <= layers.begin[k]) continue;
      const Layer layer = layer_of(r, layers, plane + k, k);
      if (any) visit(before, layer);
      before = layer;
      any = true;
    }
  }
  if (any) visit(before, before);
}

}  // namespace
}  // namespace pyronn_layers
