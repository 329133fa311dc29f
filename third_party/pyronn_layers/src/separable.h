// Cone-beam operators for detectors whose columns are parallel to z. In the plane z = constant a detector column is one
// fixed ray; along z everything is affine. Forward projection follows Joseph (IEEE Trans. Med. Imaging 1(3), 1982): in
// each plane across the ray's main axis, two lines of voxels are blended once for all rows, then sampled along z.
// The volume is a box filled to its faces, half a voxel beyond the outer centres, where values stay those of the
// border; each plane stands for the part of the ray that lies within one voxel of it and within the box. So a uniform
// box gives its exact chord for every ray. Included by kernels.inc.
#pragma once

#include <cstring>

#include "columns.h"
#include "kernels.h"
#include "lines.h"
#include "shadows.h"

namespace pyronn_layers {
namespace {

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
  for (int64_t y = first; y < last; y++) {
    for_shadows(g, view, multiplier, batch * sheet.height, static_cast<int>(y), [&](const LineShadow& shadow) {
      blend_lines(sheet.data + shadow.low, sheet.data + shadow.high, shadow.scale, shadow.share, sheet.height,
                  shadow.from, shadow.to, s.line, s.stride, batch);
      float* out = volume.data + y * volume.y_stride + shadow.x * batch * volume.depth;
      const Reach reach = reach_of(shadow.at.step);
      if (reach == Reach::kOne) sample_voxels<Reach::kOne>(s, shadow, rows, out, volume.depth, batch);
      else if (reach == Reach::kTwo) sample_voxels<Reach::kTwo>(s, shadow, rows, out, volume.depth, batch);
      else sample_voxels<Reach::kAny>(s, shadow, rows, out, volume.depth, batch);
    });
  }
}

void backproject_lines_adjoint(const ConeGeometry& g, const SeparableView& view, double multiplier, const Lines& volume,
                               Sheet sheet) {
  const int rows = static_cast<int>(g.rows), batch = volume.batch;
  for (int64_t y = 0; y < volume.ny; y++) {
    for_shadows(g, view, multiplier, batch * sheet.height, static_cast<int>(y), [&](const LineShadow& shadow) {
      const Spread spreading = {shadow.at, shadow.begin, shadow.end, shadow.from, shadow.to, rows, false};
      const float* line = volume.data + y * volume.y_stride + shadow.x * batch * volume.depth;
      float *low = sheet.data + shadow.low, *high = sheet.data + shadow.high;
      spread(line, volume.depth, spreading, {low, high, shadow.scale, shadow.share, sheet.height}, batch);
    });
  }
}

}  // namespace
}  // namespace pyronn_layers
