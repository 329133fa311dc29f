// Cone-beam operators for detectors whose columns are parallel to z. In the plane z = constant a detector column is one
// fixed ray; along z everything is affine. Forward projection follows Joseph (IEEE Trans. Med. Imaging 1(3), 1982): in
// each plane across the ray's main axis, two lines of voxels are blended once for all rows, then sampled along z.
// The volume is a box filled to its faces, half a voxel beyond the outer centres, where values stay those of the
// border; each plane stands for the part of the ray that lies within one voxel of it and within the box. So a uniform
// box gives its exact chord for every ray. Included by kernels.inc.
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

// The rows whose rays lie between the box's lower and upper face where they cross p.
struct Between {
  double first, last;
};

inline Between rows_between(const ColumnRays& r, int nz, double p) {
  const double depth = (p - r.source_p) * r.per_plane;
  const double per_voxel = 1 / (depth * r.rise_per_row);
  const double row = -(r.source_z + depth * r.rise) * per_voxel;  // where z = 0
  return {row - 0.5 * per_voxel, row + (nz - 0.5) * per_voxel};
}

inline bool make_layer(const ColumnRays& r, int plane, int rows, Between a, Between b, Layer* layer) {
  const double first = smaller(a.first, b.first), last = larger(a.last, b.last), end = rows;
  if (first > rows - 1 || last < 0) return false;
  // Truncation after clamping: one row more at the rim costs nothing, as its part of the layer is zero.
  layer->begin = round_down(static_cast<int>(larger(first, 0.0)));
  layer->end = round_up(static_cast<int>(smaller(last + 2.0, end)));
  const bool whole = plane - 0.5 >= r.enter && plane + 0.5 <= r.leave;
  const int full_first = static_cast<int>(smaller(larger(larger(a.first, b.first) + 1.01, 0.0), end));
  const int full_last = static_cast<int>(smaller(larger(smaller(a.last, b.last) + 0.99, 0.0), end));
  layer->full_begin = whole ? smaller(round_up(full_first), layer->end) : layer->end;
  layer->full_end = whole ? larger(round_down(full_last), layer->full_begin) : layer->end;
  const double depth = (plane - r.source_p) * r.per_plane;
  const double q = smaller(larger(r.source_q + (plane - r.source_p) * r.slope, 0.0), r.others - 1.0);
  const int low = static_cast<int>(q), high = smaller(low + 1, r.others - 1);
  layer->plane = plane;
  layer->low = plane * r.plane_stride + low * r.stride;
  layer->high = plane * r.plane_stride + high * r.stride;
  layer->share = static_cast<float>(q - low);
  layer->at = {static_cast<float>(r.source_z + depth * r.rise), static_cast<float>(depth * r.rise_per_row)};
  return true;
}

// Calls visit(layer, next one) for all planes that a column's rays cross; after the last one, next is the last again.
template <class Visit>
inline void for_layers(const ColumnRays& r, int nz, int rows, Visit visit) {
  if (!(r.leave > r.enter)) return;
  const int first = ceil_between(r.enter - 0.5, 0, r.planes - 1), last = floor_between(r.leave + 0.5, 0, r.planes - 1);
  Between before = rows_between(r, nz, first - 0.5);
  Layer layers[2];
  int made = 0;
  for (int plane = first; plane <= last; plane++) {
    const Between after = rows_between(r, nz, plane + 0.5);
    if (make_layer(r, plane, rows, before, after, &layers[made & 1]) && made++ > 0) {
      visit(layers[made & 1], layers[(made - 1) & 1]);
    }
    before = after;
  }
  if (made > 0) visit(layers[(made - 1) & 1], layers[(made - 1) & 1]);
}

// The lines of a layer come from far: asked for one layer ahead, they are there in time.
inline void prefetch_lines(const float* low, const float* high, int64_t floats) {
  for (int64_t k = 0; k < floats; k += 16) {
    __builtin_prefetch(low + k, 1);
    __builtin_prefetch(high + k, 1);
  }
}

// The part of the plane's layer, of 1, that a ray between `enter` and `leave` lies in.
inline F part_of_layer(const float* enter, const float* leave, int row, int plane) {
  const F part = min(load(leave + row), all(plane + 0.5f)) - max(load(enter + row), all(plane - 0.5f));
  return max(part, F{});
}

// line[b] = (scale - share) a[b] + share b[b], from and to multiples of W.
inline void blend_lines(const float* a, const float* b, float scale, float share, int64_t stride, int from, int to,
                        float* line, int64_t line_stride, int batch) {
  const float rest = scale - share;
  for (int k = 0; k < batch; k++) {
    const float *pa = a + k * stride, *pb = b + k * stride;
    float* l = line + k * line_stride;
    for (int z = from; z < to; z += W) store(l + z, rest * load(pa + z) + share * load(pb + z));
  }
}

// Scratch of all four operators; every array holds what its longest use needs.
struct SeparableScratch {
  float *enter, *leave, *scale;  // per row
  int64_t stride;                // of the following, from one of the batch to the next
  float* line;                   // (batch, padded): pad before and after
  float* values;                 // (batch, padded) pixels of a column
  float* window;                 // (batch, padded) those of `values` that count for a layer, else as they are
  Blocks blocks;
};

inline int64_t longest(const ConeGeometry& g) {
  return round_up(static_cast<int>(larger(g.volume[2], g.rows))) + 4 * kPad;
}

inline int64_t separable_scratch_size(const ConeGeometry& g) { return longest(g) * (5 + 3 * kBatchTogether) + 16; }

inline SeparableScratch separable_scratch(const ConeGeometry& g, float* memory) {
  const int64_t n = longest(g);
  SeparableScratch s;
  s.enter = memory;
  s.leave = memory + n;
  s.scale = memory + 2 * n;
  s.blocks = {reinterpret_cast<int32_t*>(memory + 3 * n), memory + 4 * n};
  s.stride = n;
  s.line = memory + 5 * n + kPad;
  s.values = memory + (5 + kBatchTogether) * n + kPad;
  s.window = memory + (5 + 2 * kBatchTogether) * n + kPad;
  for (int64_t k = 0; k < separable_scratch_size(g); k++) memory[k] = 0;
  return s;
}

// Pointers are copied first: the compiler must assume that a vector that is stored may change anything in memory.
template <Reach kReach, bool kWeighted, bool kSingle>
inline void sample_rows(const SeparableScratch& scratch, int nz, const Layer& layer, int from, int to, float* sums,
                        int64_t stride, int batch) {
  const SeparableScratch s = scratch;
  const Samples samples = layer.at;
  const int plane = layer.plane, count = kSingle ? 1 : batch;
  const F steps = to_float(lanes()) * samples.step;
  for (int row = from; row < to; row += W) {
    const Lookup at = look_up_at<kReach>(samples, steps, s.blocks, row, nz);
    const F weight = kWeighted ? part_of_layer(s.enter, s.leave, row, plane) : F{};
    const float* line = s.line + at.base;
    float* sum = sums + row;
    for (int b = 0; b < count; b++, line += s.stride, sum += stride) {
      const F value = sample<kReach>(line, at);
      store(sum, load(sum) + (kWeighted ? value * weight : value));
    }
  }
}

template <Reach kReach, bool kSingle>
inline void sample_layer(const SeparableScratch& s, int nz, const Layer& l, float* sums, int64_t stride, int batch) {
  if (kReach != Reach::kAny) make_blocks(l.at, l.begin, l.end, s.blocks);
  sample_rows<kReach, true, kSingle>(s, nz, l, l.begin, l.full_begin, sums, stride, batch);
  sample_rows<kReach, false, kSingle>(s, nz, l, l.full_begin, l.full_end, sums, stride, batch);
  sample_rows<kReach, true, kSingle>(s, nz, l, l.full_end, l.end, sums, stride, batch);
}

template <Reach kReach>
inline void sample_layer(const SeparableScratch& s, int nz, const Layer& layer, float* sums, int64_t stride,
                         int batch) {
  if (batch == 1) sample_layer<kReach, true>(s, nz, layer, sums, stride, 1);
  else sample_layer<kReach, false>(s, nz, layer, sums, stride, batch);
}

void project_columns(const ConeGeometry& g, const SeparableView& view, const Lines& volume, int64_t first, int64_t last,
                     Sheet sheet, float* memory) {
  const SeparableScratch s = separable_scratch(g, memory);
  const int nz = static_cast<int>(g.volume[2]), rows = static_cast<int>(g.rows), batch = volume.batch;
  for (int64_t column = first; column < last; column++) {
    const ColumnRays r = column_rays(g, view, volume, column);
    row_limits(g, r, rows, s.enter, s.leave, s.scale);
    float* sums = sheet.data + column * batch * sheet.height;
    std::memset(sums, 0, sizeof(float) * batch * sheet.height);
    for_layers(r, nz, rows, [&](const Layer& layer, const Layer& next) {
      prefetch_lines(volume.data + next.low, volume.data + next.high, batch * volume.depth);
      blend_lines(volume.data + layer.low, volume.data + layer.high, 1.0f, layer.share, volume.depth, 0, round_up(nz),
                  s.line, s.stride, batch);
      for (int b = 0; b < batch; b++) {
        float* line = s.line + b * s.stride;
        line[-1] = line[0];
        line[nz] = line[nz - 1];
      }
      const Reach reach = reach_of(layer.at.step);
      if (reach == Reach::kOne) sample_layer<Reach::kOne>(s, nz, layer, sums, sheet.height, batch);
      else if (reach == Reach::kTwo) sample_layer<Reach::kTwo>(s, nz, layer, sums, sheet.height, batch);
      else sample_layer<Reach::kAny>(s, nz, layer, sums, sheet.height, batch);
    });
    for (int b = 0; b < batch; b++) {
      float* sum = sums + b * sheet.height;
      for (int row = 0; row < rows; row += W) store(sum + row, load(sum + row) * load(s.scale + row));
    }
  }
}

inline void weigh_rows(const SeparableScratch& scratch, int from, int to, int plane, int batch) {
  const SeparableScratch s = scratch;
  for (int row = from; row < to; row += W) {
    const F weight = part_of_layer(s.enter, s.leave, row, plane);
    for (int b = 0; b < batch; b++) {
      const int64_t at = b * s.stride + row;
      store(s.window + at, load(s.values + at) * weight);
    }
  }
}

inline void copy_rows(const SeparableScratch& scratch, int from, int to, int batch) {
  const SeparableScratch s = scratch;
  for (int row = from; row < to; row += W) {
    for (int b = 0; b < batch; b++) store(s.window + b * s.stride + row, load(s.values + b * s.stride + row));
  }
}

inline void clear_rows(const SeparableScratch& s, int row, int batch) {
  for (int b = 0; b < batch; b++) store(s.window + b * s.stride + row, F{});
}

// Makes the window hold what of the column's values counts for a layer, with zeros around; `close` undoes it.
inline void open_window(const SeparableScratch& s, const Layer& layer, int batch) {
  clear_rows(s, layer.begin - W, batch);
  weigh_rows(s, layer.begin, layer.full_begin, layer.plane, batch);
  weigh_rows(s, layer.full_end, layer.end, layer.plane, batch);
  clear_rows(s, layer.end, batch);
}

inline void close_window(const SeparableScratch& s, const Layer& layer, int batch) {
  copy_rows(s, layer.begin - W, layer.full_begin, batch);
  copy_rows(s, layer.full_end, layer.end + W, batch);
}

void project_columns_adjoint(const ConeGeometry& g, const SeparableView& view, const Sheet& sheet, Lines volume,
                             float* memory) {
  const SeparableScratch s = separable_scratch(g, memory);
  const int nz = static_cast<int>(g.volume[2]), rows = static_cast<int>(g.rows), batch = volume.batch;
  for (int64_t column = 0; column < g.columns; column++) {
    const ColumnRays r = column_rays(g, view, volume, column);
    row_limits(g, r, rows, s.enter, s.leave, s.scale);
    const float* given = sheet.data + column * batch * sheet.height;
    for (int b = 0; b < batch; b++) {
      for (int row = 0; row < rows; row += W) {
        store(s.values + b * s.stride + row, load(given + b * sheet.height + row) * load(s.scale + row));
      }
    }
    copy_rows(s, 0, rows, batch);
    for_layers(r, nz, rows, [&](const Layer& layer, const Layer& next) {
      prefetch_lines(volume.data + next.low, volume.data + next.high, batch * volume.depth);
      open_window(s, layer, batch);
      const Spread spreading = {layer.at, layer.begin, layer.end, 0, round_up(nz), nz, true};
      const Target target = {volume.data + layer.low, volume.data + layer.high, 1.0f, layer.share, volume.depth};
      spread(s.window, s.stride, spreading, target, batch);
      close_window(s, layer, batch);
    });
  }
}

// Where a line of voxels along z falls on the detector.
struct LineShadow {
  int64_t low, high;   // offsets of the two columns, equal at the border
  float scale, share;  // the first counts scale - share, the second share
  Samples at;          // row of voxel k
  int begin, end;      // voxels [begin, end) whose rows lie within the detector or one pixel beyond
};

inline bool line_shadow(const ConeGeometry& g, const SeparableView& view, double multiplier, int64_t stride, int x,
                        int y, LineShadow* shadow) {
  const double* const depth_row = view.matrix[2];
  const double inverse = 1 / (depth_row[0] * x + depth_row[1] * y + depth_row[3]);
  const double column = (view.matrix[0][0] * x + view.matrix[0][1] * y + view.matrix[0][3]) * inverse;
  if (!(column > -1 && column < g.columns)) return false;
  const double step = view.matrix[1][2] * inverse;
  const double start = (view.matrix[1][0] * x + view.matrix[1][1] * y + view.matrix[1][3]) * inverse;
  const int nz = static_cast<int>(g.volume[2]);
  const double per_row = 1 / step;
  shadow->begin = ceil_between((-1 - start) * per_row, 0, nz);
  shadow->end = floor_between((g.rows - start) * per_row, -1, nz - 1) + 1;
  if (shadow->begin >= shadow->end) return false;
  const int low = static_cast<int>(column + 1) - 1;
  const double share = column - low, weight = multiplier * inverse * inverse;
  const bool first = low >= 0, second = low + 1 < g.columns;
  shadow->low = (first ? low : low + 1) * stride;
  shadow->high = (second ? low + 1 : low) * stride;
  const double kept_low = first ? 1 - share : 0, kept_high = second ? share : 0;
  shadow->scale = static_cast<float>(weight * (kept_low + kept_high));
  shadow->share = static_cast<float>(weight * kept_high);
  shadow->at = {static_cast<float>(start), static_cast<float>(step)};
  return true;
}

// The rows, multiples of W, that the voxels of a shadow lie between.
inline void shadowed_rows(const ConeGeometry& g, const LineShadow& shadow, int* from, int* to) {
  const int rows = static_cast<int>(g.rows);
  const double first = shadow.at.start + static_cast<double>(shadow.at.step) * shadow.begin;
  const double last = shadow.at.start + static_cast<double>(shadow.at.step) * (shadow.end - 1);
  // A row to spare on either side, for positions that round to the next one.
  *from = round_down(floor_between(first - 1, 0, rows - 1));
  *to = smaller(round_up(floor_between(last, -1, rows - 1) + 3), round_up(rows));
}

template <Reach kReach>
inline void sample_voxels(const SeparableScratch& scratch, const LineShadow& shadow, int rows, float* out,
                          int64_t depth, int batch) {
  const SeparableScratch s = scratch;
  const Samples samples = shadow.at;
  const int from = round_down(shadow.begin), to = shadow.end;
  const F steps = to_float(lanes()) * samples.step;
  if (kReach != Reach::kAny) make_blocks(samples, from, to, s.blocks);
  for (int z = from; z < to; z += W) {
    const Lookup at = look_up_at<kReach>(samples, steps, s.blocks, z, rows);
    const float* line = s.line + at.base;
    float* o = out + z;
    for (int b = 0; b < batch; b++, line += s.stride, o += depth) {
      store(o, load(o) + sample<kReach>(line, at));
    }
  }
}

void backproject_lines(const ConeGeometry& g, const SeparableView& view, double multiplier, const Sheet& sheet,
                       int64_t first, int64_t last, Lines volume, float* memory) {
  const SeparableScratch s = separable_scratch(g, memory);
  const int rows = static_cast<int>(g.rows), batch = volume.batch;
  const int64_t stride = batch * sheet.height;
  for (int64_t y = first; y < last; y++) {
    for (int64_t x = 0; x < volume.nx; x++) {
      LineShadow shadow;
      if (!line_shadow(g, view, multiplier, stride, static_cast<int>(x), static_cast<int>(y), &shadow)) continue;
      int from, to;
      shadowed_rows(g, shadow, &from, &to);
      blend_lines(sheet.data + shadow.low, sheet.data + shadow.high, shadow.scale, shadow.share, sheet.height, from, to,
                  s.line, s.stride, batch);
      float* out = volume.data + y * volume.y_stride + x * batch * volume.depth;
      const Reach reach = reach_of(shadow.at.step);
      if (reach == Reach::kOne) sample_voxels<Reach::kOne>(s, shadow, rows, out, volume.depth, batch);
      else if (reach == Reach::kTwo) sample_voxels<Reach::kTwo>(s, shadow, rows, out, volume.depth, batch);
      else sample_voxels<Reach::kAny>(s, shadow, rows, out, volume.depth, batch);
    }
  }
}

void backproject_lines_adjoint(const ConeGeometry& g, const SeparableView& view, double multiplier, const Lines& volume,
                               Sheet sheet, float* memory) {
  const SeparableScratch s = separable_scratch(g, memory);
  const int rows = static_cast<int>(g.rows), batch = volume.batch;
  const int64_t stride = batch * sheet.height;
  for (int64_t y = 0; y < volume.ny; y++) {
    for (int64_t x = 0; x < volume.nx; x++) {
      LineShadow shadow;
      if (!line_shadow(g, view, multiplier, stride, static_cast<int>(x), static_cast<int>(y), &shadow)) continue;
      int from, to;
      shadowed_rows(g, shadow, &from, &to);
      const Spread spreading = {shadow.at, shadow.begin, shadow.end, from, to, rows, false};
      const float* line = volume.data + y * volume.y_stride + x * batch * volume.depth;
      float *low = sheet.data + shadow.low, *high = sheet.data + shadow.high;
      spread(line, volume.depth, spreading, {low, high, shadow.scale, shadow.share, sheet.height}, batch);
    }
  }
}

}  // namespace
}  // namespace pyronn_layers
