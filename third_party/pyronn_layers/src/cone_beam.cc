#include "cone_beam.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "buffer.h"

namespace pyronn_layers {
namespace {

constexpr int64_t kCostly = 1000000;  // cycles of a unit of work that is worth a thread of its own
constexpr int64_t kColumnsTogether = 32;

int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

// out[j * out_stride + i] = in[i * in_stride + j] for i < rows, j < columns, in tiles that stay in the cache.
void transpose(const float* in, int64_t in_stride, int64_t rows, int64_t columns, float* out, int64_t out_stride) {
  constexpr int64_t kTile = 16;
  for (int64_t i0 = 0; i0 < rows; i0 += kTile) {
    const int64_t i1 = std::min(rows, i0 + kTile);
    for (int64_t j0 = 0; j0 < columns; j0 += kTile) {
      const int64_t j1 = std::min(columns, j0 + kTile);
      for (int64_t j = j0; j < j1; j++) {
        for (int64_t i = i0; i < i1; i++) out[j * out_stride + i] = in[i * in_stride + j];
      }
    }
  }
}

// 16 floats more than needed, so that lines at the same x do not all compete for the same few places in the cache.
int64_t y_stride(const ConeGeometry& g, int batch) { return g.volume[0] * padded(g.volume[2]) * batch + 272; }

Lines lines_of(const ConeGeometry& g, int batch, float* data) {
  return {data, g.volume[0], g.volume[1], g.volume[2], padded(g.volume[2]), y_stride(g, batch), batch};
}

int64_t lines_size(const ConeGeometry& g, int batch) { return g.volume[1] * y_stride(g, batch); }

Sheet sheet_of(const ConeGeometry& g, int batch, float* data) {
  return {data, g.columns, g.rows, padded(g.rows), batch};
}

int64_t sheet_size(const ConeGeometry& g, int batch) { return g.columns * padded(g.rows) * batch; }

void gather_lines(const Setting& s, const float* volumes, const Lines& lines) {
  const ConeGeometry& g = s.geometry;
  const int64_t stride = lines.batch * lines.depth, plane = lines.nx * lines.ny;
  s.workers.run(lines.ny, 4 * lines.nx * lines.nz * lines.batch, [&](int64_t first, int64_t last) {
    for (int64_t y = first; y < last; y++) {
      for (int b = 0; b < lines.batch; b++) {
        float* to = lines.data + y * lines.y_stride + b * lines.depth;
        transpose(volumes + b * g.voxels() + y * lines.nx, plane, lines.nz, lines.nx, to, stride);
        for (int64_t x = 0; x < lines.nx; x++)
          std::fill(to + x * stride + lines.nz, to + x * stride + lines.depth, 0.0f);
      }
    }
  });
}

// Adds up `parts` sets of lines, one after the other in memory, and lays the sum out as volumes.
void scatter_lines(const Setting& s, const Lines& lines, int64_t parts, float* volumes) {
  const ConeGeometry& g = s.geometry;
  const int64_t stride = lines.batch * lines.depth, plane = lines.nx * lines.ny, size = lines.ny * lines.y_stride;
  s.workers.run(lines.ny, 4 * parts * lines.nx * lines.nz * lines.batch, [&](int64_t first, int64_t last) {
    for (int64_t y = first; y < last; y++) {
      float* from = lines.data + y * lines.y_stride;
      for (int64_t part = 1; part < parts; part++) {
        const float* other = from + part * size;
        for (int64_t k = 0; k < lines.nx * stride; k++) from[k] += other[k];
      }
      for (int b = 0; b < lines.batch; b++) {
        transpose(from + b * lines.depth, stride, lines.nx, lines.nz, volumes + b * g.voxels() + y * lines.nx, plane);
      }
    }
  });
}

// A view's rows in the order of the sheet's: the first one and the step to the next, in floats of the image.
struct RowOrder {
  int64_t first, step;
};

RowOrder row_order(const ConeGeometry& g, const SeparableView& view) {
  if (view.flipped) return {(g.rows - 1) * g.columns, -g.columns};
  return {0, g.columns};
}

int64_t image_at(const ConeGeometry& g, int64_t b, int64_t view) {
  return (b * static_cast<int64_t>(g.views.size()) + view) * g.pixels();
}

void gather_sheet(const ConeGeometry& g, const SeparableView& view, const float* sinograms, int64_t number,
                  Sheet sheet) {
  const RowOrder order = row_order(g, view);
  const int64_t stride = sheet.batch * sheet.height;
  for (int b = 0; b < sheet.batch; b++) {
    float* to = sheet.data + b * sheet.height;
    transpose(sinograms + image_at(g, b, number) + order.first, order.step, g.rows, g.columns, to, stride);
    for (int64_t c = 0; c < g.columns; c++) std::fill(to + c * stride + g.rows, to + c * stride + sheet.height, 0.0f);
  }
}

void scatter_sheet(const ConeGeometry& g, const SeparableView& view, const Sheet& sheet, int64_t first, int64_t last,
                   int64_t number, float* sinograms) {
  const RowOrder order = row_order(g, view);
  const int64_t stride = sheet.batch * sheet.height;
  for (int b = 0; b < sheet.batch; b++) {
    transpose(sheet.data + first * stride + b * sheet.height, stride, last - first, g.rows,
              sinograms + image_at(g, b, number) + order.first + first, order.step);
  }
}

std::vector<SeparableView> separable_views(const ConeGeometry& g) {
  std::vector<SeparableView> views;
  for (const ConeView& view : g.views) views.push_back(separable_view(g, view));
  return views;
}

void project_separable(const Setting& s, const float* volumes, int batch, float* sinograms) {
  const ConeGeometry& g = s.geometry;
  Buffer memory(lines_size(g, batch));
  const Lines lines = lines_of(g, batch, memory.data());
  gather_lines(s, volumes, lines);
  const std::vector<SeparableView> views = separable_views(g);
  const int64_t blocks = (g.columns + kColumnsTogether - 1) / kColumnsTogether;
  s.workers.run(views.size() * blocks, kCostly, [&](int64_t first, int64_t last) {
    Buffer scratch(s.kernels.scratch(g)), pixels(sheet_size(g, batch));
    const Sheet sheet = sheet_of(g, batch, pixels.data());
    for (int64_t unit = first; unit < last; unit++) {
      const int64_t number = unit / blocks, from = unit % blocks * kColumnsTogether;
      const int64_t to = std::min(g.columns, from + kColumnsTogether);
      s.kernels.project_columns(g, views[number], lines, from, to, sheet, scratch.data());
      scatter_sheet(g, views[number], sheet, from, to, number, sinograms);
    }
  });
}

// Views are divided among as many copies of the volume as there are threads, and the copies added up in order: the
// result depends on the number of threads, not on their timing.
template <class Add>
void accumulate_views(const Setting& s, int64_t parts, const Add& add) {
  const int64_t views = s.geometry.views.size();
  s.workers.run(parts, kCostly * views, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; part++) add(part, part * views / parts, (part + 1) * views / parts);
  });
}

int64_t parts_of(const Setting& s) {
  return std::max<int64_t>(1, std::min<int64_t>(s.workers.threads, s.geometry.views.size()));
}

void project_adjoint_separable(const Setting& s, const float* sinograms, int batch, float* volumes) {
  const ConeGeometry& g = s.geometry;
  const int64_t parts = parts_of(s), size = lines_size(g, batch);
  Buffer memory(parts * size);
  const std::vector<SeparableView> views = separable_views(g);
  accumulate_views(s, parts, [&](int64_t part, int64_t first, int64_t last) {
    Buffer scratch(s.kernels.scratch(g)), pixels(sheet_size(g, batch));
    const Sheet sheet = sheet_of(g, batch, pixels.data());
    float* const sum = memory.data() + part * size;
    std::fill(sum, sum + size, 0.0f);
    for (int64_t number = first; number < last; number++) {
      gather_sheet(g, views[number], sinograms, number, sheet);
      s.kernels.project_columns_adjoint(g, views[number], sheet, lines_of(g, batch, sum), scratch.data());
    }
  });
  scatter_lines(s, lines_of(g, batch, memory.data()), parts, volumes);
}

void backproject_separable(const Setting& s, double multiplier, const float* sinograms, int batch, float* volumes) {
  const ConeGeometry& g = s.geometry;
  const std::vector<SeparableView> views = separable_views(g);
  const int64_t n_views = views.size(), size = sheet_size(g, batch);
  Buffer pixels(n_views * size), memory(lines_size(g, batch));
  s.workers.run(n_views, 4 * size, [&](int64_t first, int64_t last) {
    for (int64_t number = first; number < last; number++) {
      gather_sheet(g, views[number], sinograms, number, sheet_of(g, batch, pixels.data() + number * size));
    }
  });
  const Lines lines = lines_of(g, batch, memory.data());
  // Few blocks, so that a view is read from memory few times; enough of them to keep every thread at work.
  const int64_t together = std::max<int64_t>(1, std::min<int64_t>(16, lines.ny / (2 * s.workers.threads)));
  const int64_t blocks = (lines.ny + together - 1) / together;
  s.workers.run(blocks, kCostly, [&](int64_t first, int64_t last) {
    Buffer scratch(s.kernels.scratch(g));
    for (int64_t block = first; block < last; block++) {
      const int64_t from = block * together, to = std::min(lines.ny, from + together);
      std::fill(lines.data + from * lines.y_stride, lines.data + to * lines.y_stride, 0.0f);
      for (int64_t number = 0; number < n_views; number++) {
        const Sheet sheet = sheet_of(g, batch, pixels.data() + number * size);
        s.kernels.backproject_lines(g, views[number], multiplier, sheet, from, to, lines, scratch.data());
      }
    }
  });
  scatter_lines(s, lines, 1, volumes);
}

void backproject_adjoint_separable(const Setting& s, double multiplier, const float* volumes, int batch,
                                   float* sinograms) {
  const ConeGeometry& g = s.geometry;
  Buffer memory(lines_size(g, batch));
  const Lines lines = lines_of(g, batch, memory.data());
  gather_lines(s, volumes, lines);
  const std::vector<SeparableView> views = separable_views(g);
  s.workers.run(views.size(), kCostly, [&](int64_t first, int64_t last) {
    Buffer pixels(sheet_size(g, batch));
    const Sheet sheet = sheet_of(g, batch, pixels.data());
    for (int64_t number = first; number < last; number++) {
      pixels.zero();
      s.kernels.backproject_lines_adjoint(g, views[number], multiplier, lines, sheet);
      scatter_sheet(g, views[number], sheet, 0, g.columns, number, sinograms);
    }
  });
}

void project_any(const Setting& s, const float* volume, float* sinogram) {
  const ConeGeometry& g = s.geometry;
  Buffer memory(lines_size(g, 1));
  const Lines lines = lines_of(g, 1, memory.data());
  gather_lines(s, volume, lines);
  s.workers.run(g.views.size() * g.columns, kCostly, [&](int64_t first, int64_t last) {
    for (int64_t unit = first; unit < last; unit++) {
      const int64_t view = unit / g.columns;
      s.kernels.project_rays(g, g.views[view], volume, lines, unit % g.columns, sinogram + view * g.pixels());
    }
  });
}

void project_adjoint_any(const Setting& s, const float* sinogram, float* volume) {
  const ConeGeometry& g = s.geometry;
  const int64_t parts = parts_of(s), size = g.voxels();
  Buffer memory((parts - 1) * size);
  accumulate_views(s, parts, [&](int64_t part, int64_t first, int64_t last) {
    float* const sum = part == 0 ? volume : memory.data() + (part - 1) * size;
    std::fill(sum, sum + size, 0.0f);
    for (int64_t unit = first * g.rows; unit < last * g.rows; unit++) {
      s.kernels.project_rays_adjoint(g, g.views[unit / g.rows], sinogram + unit * g.columns, unit % g.rows, sum);
    }
  });
  s.workers.run(size, parts, [&](int64_t first, int64_t last) {
    for (int64_t part = 0; part + 1 < parts; part++) {
      const float* other = memory.data() + part * size;
      for (int64_t k = first; k < last; k++) volume[k] += other[k];
    }
  });
}

void backproject_any(const Setting& s, double multiplier, const float* sinogram, float* volume) {
  const ConeGeometry& g = s.geometry;
  const int64_t slice = g.volume[0] * g.volume[1];
  s.workers.run(g.volume[2], kCostly, [&](int64_t first, int64_t last) {
    std::fill(volume + first * slice, volume + last * slice, 0.0f);
    for (int64_t z = first; z < last; z++) {
      for (size_t number = 0; number < g.views.size(); number++) {
        const float* image = sinogram + number * g.pixels();
        for (int64_t y = 0; y < g.volume[1]; y++) {
          s.kernels.backproject_voxels(g, g.views[number], multiplier, image, z, y,
                                       volume + z * slice + y * g.volume[0]);
        }
      }
    }
  });
}

void backproject_adjoint_any(const Setting& s, double multiplier, const float* volume, float* sinogram) {
  const ConeGeometry& g = s.geometry;
  const int64_t lines = g.volume[1] * g.volume[2];
  s.workers.run(g.views.size(), kCostly, [&](int64_t first, int64_t last) {
    std::fill(sinogram + first * g.pixels(), sinogram + last * g.pixels(), 0.0f);
    for (int64_t number = first; number < last; number++) {
      for (int64_t line = 0; line < lines; line++) {
        s.kernels.backproject_voxels_adjoint(g, g.views[number], multiplier, volume + line * g.volume[0],
                                             line / g.volume[1], line % g.volume[1], sinogram + number * g.pixels());
      }
    }
  });
}

void apply_separable(Operator which, const Setting& s, double multiplier, const float* from, int batch, float* to) {
  switch (which) {
    case Operator::kProjection:
      return project_separable(s, from, batch, to);
    case Operator::kProjectionAdjoint:
      return project_adjoint_separable(s, from, batch, to);
    case Operator::kBackprojection:
      return backproject_separable(s, multiplier, from, batch, to);
    case Operator::kBackprojectionAdjoint:
      return backproject_adjoint_separable(s, multiplier, from, batch, to);
  }
}

void apply_any(Operator which, const Setting& s, double multiplier, const float* from, float* to) {
  switch (which) {
    case Operator::kProjection:
      return project_any(s, from, to);
    case Operator::kProjectionAdjoint:
      return project_adjoint_any(s, from, to);
    case Operator::kBackprojection:
      return backproject_any(s, multiplier, from, to);
    case Operator::kBackprojectionAdjoint:
      return backproject_adjoint_any(s, multiplier, from, to);
  }
}

}  // namespace

// The separable path takes groups of the batch that share one computation, the other one entry after the other.
void apply(Operator which, const Setting& s, double multiplier, const float* from, int64_t batch, float* to) {
  const int64_t volume = s.geometry.voxels(), sinogram = s.geometry.views.size() * s.geometry.pixels();
  const int64_t in = takes_volumes(which) ? volume : sinogram, out = takes_volumes(which) ? sinogram : volume;
  const int64_t most = s.separable ? kBatchTogether : 1;
  for (int64_t first = 0; first < batch; first += most) {
    const int count = static_cast<int>(std::min(most, batch - first));
    if (s.separable) apply_separable(which, s, multiplier, from + first * in, count, to + first * out);
    else apply_any(which, s, multiplier, from + first * in, to + first * out);
  }
}

}  // namespace pyronn_layers
