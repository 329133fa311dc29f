// Where lines of voxels along z fall on a detector whose columns are parallel to z. Included by separable.h.
#pragma once

#include "kernels.h"
#include "lines.h"

namespace pyronn_layers {
namespace {

// Where a line of voxels along z falls on the detector.
struct LineShadow {
  int64_t x;
  int64_t low, high;   // offsets of the two columns, equal at the border
  float scale, share;  // the first counts scale - share, the second share
  Samples at;          // row of voxel k
  int begin, end;      // voxels [begin, end) whose rows lie within the detector or one pixel beyond
  int from, to;        // rows, multiples of W, that these lie between
};

// Shadows that are made at a time, each step for all of them in vectors.
constexpr int kShadowsTogether = 64;

struct LineShadows {
  int low[kShadowsTogether], high[kShadowsTogether];  // columns
  float scale[kShadowsTogether], share[kShadowsTogether], start[kShadowsTogether], step[kShadowsTogether];
  int begin[kShadowsTogether], end[kShadowsTogether], from[kShadowsTogether], to[kShadowsTogether];
};

// The shadows of the lines at (x, y), (x + 1, y), ...; a line whose shadow misses the detector has no voxels.
inline void make_shadows(const ConeGeometry& g, const SeparableView& view, double multiplier, int x, int y, int count,
                         LineShadows* shadows) {
  const double* const c = view.matrix[0];
  const double* const r = view.matrix[1];
  const double* const d = view.matrix[2];
  const double c0 = c[0], r0 = r[0], d0 = d[0], r2 = r[2], per_step = 1 / r[2];
  const double c_start = c[1] * y + c[3], r_start = r[1] * y + r[3], d_start = d[1] * y + d[3];
  const int nz = static_cast<int>(g.volume[2]), rows = static_cast<int>(g.rows), most_rows = round_up(rows);
  const int last_column = static_cast<int>(g.columns) - 1;
  const double columns = static_cast<double>(g.columns);
  for (int k = 0; k < count; k++) {
    const double at = x + k, depth = d0 * at + d_start, inverse = 1 / depth;
    const double column = (c0 * at + c_start) * inverse;
    const double step = r2 * inverse, start = (r0 * at + r_start) * inverse, per_row = depth * per_step;
    const int begin = ceil_between((-1 - start) * per_row, 0, nz);
    const int end = floor_between((rows - start) * per_row, -1, nz - 1) + 1;
    const bool seen = (column > -1) & (column < columns);
    shadows->begin[k] = begin;
    shadows->end[k] = seen ? end : begin;
    const double inside = smaller(larger(column, -1.0), columns);
    const int low = static_cast<int>(inside + 1) - 1;
    const double share = inside - low, rest = 1 - share, weight = multiplier * inverse * inverse;
    const double kept_low = low >= 0 ? rest : 0.0, kept_high = low < last_column ? share : 0.0;
    shadows->low[k] = larger(low, 0);
    shadows->high[k] = smaller(low + 1, last_column);
    shadows->scale[k] = static_cast<float>(weight * (kept_low + kept_high));
    shadows->share[k] = static_cast<float>(weight * kept_high);
    const float single_start = static_cast<float>(start), single_step = static_cast<float>(step);
    shadows->start[k] = single_start;
    shadows->step[k] = single_step;
    const double first = single_start + static_cast<double>(single_step) * begin;
    const double last = single_start + static_cast<double>(single_step) * (end - 1);
    // A row to spare on either side, for positions that round to the next one.
    shadows->from[k] = round_down(floor_between(first - 1, 0, rows - 1));
    shadows->to[k] = smaller(round_up(floor_between(last, -1, rows - 1) + 3), most_rows);
  }
}

inline LineShadow shadow_of(const LineShadows& s, int x, int k, int64_t stride) {
  return {x,          s.low[k] * stride, s.high[k] * stride, s.scale[k], s.share[k], {s.start[k], s.step[k]},
          s.begin[k], s.end[k],          s.from[k],          s.to[k]};
}

// Calls visit(shadow) for all lines at y that a view sees; `stride` floats from one detector column to the next.
template <class Visit>
inline void for_shadows(const ConeGeometry& g, const SeparableView& view, double multiplier, int64_t stride, int y,
                        Visit visit) {
  const int nx = static_cast<int>(g.volume[0]);
  LineShadows shadows;
  for (int x = 0; x < nx; x += kShadowsTogether) {
    const int count = smaller(kShadowsTogether, nx - x);
    make_shadows(g, view, multiplier, x, y, count, &shadows);
    for (int k = 0; k < count; k++) {
      if (shadows.begin[k] < shadows.end[k]) visit(shadow_of(shadows, x + k, k, stride));
    }
  }
}

}  // namespace
}  // namespace pyronn_layers
