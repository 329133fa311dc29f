#include "planar_beam.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "buffer.h"
#include "planar_rays.h"

namespace pyronn_layers {
namespace {

constexpr int64_t kVector = 16;       // what the lengths of planes and bands are multiples of
constexpr int64_t kMostTogether = 8;  // entries of a batch that share the rays
constexpr int64_t kMostBand = 128;    // planes whose lines stay in the cache from one ray to the next
constexpr int64_t kRowsTogether = 8;  // of an image, to which one view after the other is added
constexpr int64_t kCyclesPerSample = 2;

int64_t padded(int64_t n) { return (n + kVector - 1) / kVector * kVector; }

// An odd number of cache lines, so that neighbouring planes do not compete for the same few places in the cache.
int64_t stride_of(int64_t length) { return ((length / kVector + 1) | 1) * kVector; }

Cut cut_of(const PlanarGeometry& g, int main, float* data) {
  const int64_t length = g.image[1 - main];
  return {data, stride_of(length), g.image[main], length};
}

int64_t cut_size(const PlanarGeometry& g, int main) { return padded(g.image[main]) * stride_of(g.image[1 - main]); }

// The cuts of the images of a part of the batch for the main axes [first_main, 2), one entry after the other.
struct Cuts {
  std::unique_ptr<Buffer> memory[2];
  int64_t size[2];
  int first_main;

  Cuts(const PlanarGeometry& g, int64_t batch, int first_main) : first_main(first_main) {
    for (int main = first_main; main < 2; main++) {
      size[main] = cut_size(g, main);
      memory[main] = std::make_unique<Buffer>(size[main] * batch);
    }
  }
  Cut of(const PlanarGeometry& g, int main, int64_t entry) const {
    return cut_of(g, main, memory[main]->data() + entry * size[main]);
  }
};

void clear_planes(const Cut& planes, int64_t first, int64_t last) {
  std::fill(planes.data + first * planes.stride, planes.data + last * planes.stride, 0.0f);
}

// Copies rows of an image, or columns in tiles that stay in the cache.
void cut_image(const PlanarGeometry& g, const float* image, int main, const Cut& planes, int64_t first, int64_t last) {
  clear_planes(planes, first, last);
  last = std::min(last, planes.count);
  if (main == 1) {
    for (int64_t y = first; y < last; y++)
      std::copy_n(image + y * g.image[0], g.image[0], planes.data + y * planes.stride);
    return;
  }
  for (int64_t y0 = 0; y0 < g.image[1]; y0 += kVector) {
    const int64_t y1 = std::min(g.image[1], y0 + kVector);
    for (int64_t x = first; x < last; x++) {
      for (int64_t y = y0; y < y1; y++) planes.data[x * planes.stride + y] = image[y * g.image[0] + x];
    }
  }
}

void cut_images(const PlanarSetting& s, const float* images, int64_t batch, const Cuts& cuts) {
  const PlanarGeometry& g = s.geometry;
  for (int main = cuts.first_main; main < 2; main++) {
    const int64_t strips = padded(g.image[main]) / kVector;
    s.workers.run(strips * batch, 2 * kVector * g.image[1 - main], [&](int64_t first, int64_t last) {
      for (int64_t unit = first; unit < last; unit++) {
        const int64_t entry = unit / strips, strip = unit % strips;
        cut_image(g, images + entry * g.pixels(), main, cuts.of(g, main, entry), strip * kVector,
                  (strip + 1) * kVector);
      }
    });
  }
}

void project(const PlanarSetting& s, const float* images, int64_t batch, float* sinograms) {
  const PlanarGeometry& g = s.geometry;
  const int64_t views = g.views.size();
  const Cuts cuts(g, batch, 0);
  cut_images(s, images, batch, cuts);
  s.workers.run(views, kCyclesPerSample * batch * g.columns * std::max(g.image[0], g.image[1]),
                [&](int64_t first, int64_t last) {
                  std::vector<PlanarRay> rays(g.columns);
                  for (int64_t number = first; number < last; number++) {
                    make_rays(g, g.views[number], rays.data());
                    for (int64_t entry = 0; entry < batch; entry++) {
                      float* const line = sinograms + (entry * views + number) * g.columns;
                      std::fill(line, line + g.columns, 0.0f);
                      for (int main = 0; main < 2; main++) {
                        const Cut planes = cuts.of(g, main, entry);
                        for (int64_t band = 0; band < planes.count; band += kMostBand) {
                          s.kernels.project_planes(rays.data(), g.columns, main, planes, band,
                                                   std::min(band + kMostBand, padded(planes.count)), line);
                        }
                      }
                    }
                  }
                });
}

// Each thread has planes of its own, to which all views are added in order: so the sums do not depend on the threads.
void project_adjoint(const PlanarSetting& s, const float* sinograms, int64_t batch, float* images) {
  const PlanarGeometry& g = s.geometry;
  const int64_t views = g.views.size();
  const Cuts cuts(g, batch, 0);
  std::vector<PlanarRay> rays(views * g.columns);
  s.workers.run(views, 50 * g.columns, [&](int64_t first, int64_t last) {
    for (int64_t number = first; number < last; number++) make_rays(g, g.views[number], &rays[number * g.columns]);
  });
  for (int main = 0; main < 2; main++) {
    const int64_t planes = padded(g.image[main]);
    const int64_t band = std::min(kMostBand, padded((planes + s.workers.threads - 1) / s.workers.threads));
    const int64_t bands = (planes + band - 1) / band;
    s.workers.run(bands * batch, kCyclesPerSample * views * g.columns * band / 2, [&](int64_t first, int64_t last) {
      for (int64_t unit = first; unit < last; unit++) {
        const int64_t entry = unit / bands, from = unit % bands * band, to = std::min(from + band, planes);
        const Cut mine = cuts.of(g, main, entry);
        clear_planes(mine, from, to);
        for (int64_t number = 0; number < views; number++) {
          s.kernels.project_planes_adjoint(&rays[number * g.columns], g.columns, main,
                                           sinograms + (entry * views + number) * g.columns, mine, from, to);
        }
      }
    });
  }
  s.workers.run(g.image[1] * batch, 4 * g.image[0], [&](int64_t first, int64_t last) {
    for (int64_t unit = first; unit < last; unit++) {
      const int64_t entry = unit / g.image[1], y = unit % g.image[1];
      const Cut columns = cuts.of(g, 0, entry), rows = cuts.of(g, 1, entry);
      float* const row = images + entry * g.pixels() + y * g.image[0];
      for (int64_t x = 0; x < g.image[0]; x++)
        row[x] = rows.data[y * rows.stride + x] + columns.data[x * columns.stride + y];
    }
  });
}

// A view's values with a zero before them and at least two after them.
int64_t line_stride(const PlanarGeometry& g) { return padded(g.columns + 3); }

void backproject(const PlanarSetting& s, const float* sinograms, int64_t batch, float* images) {
  const PlanarGeometry& g = s.geometry;
  const int64_t views = g.views.size(), stride = line_stride(g), width = padded(g.image[0]);
  Buffer lines(views * stride * batch);
  s.workers.run(views * batch, 2 * stride, [&](int64_t first, int64_t last) {
    for (int64_t k = first; k < last; k++) {
      float* const line = lines.data() + k * stride;
      std::fill(line, line + stride, 0.0f);
      std::copy_n(sinograms + k * g.columns, g.columns, line + 1);
    }
  });
  const int64_t tiles = (g.image[1] + kRowsTogether - 1) / kRowsTogether;
  s.workers.run(tiles * batch, kCyclesPerSample * views * g.image[0] * kRowsTogether, [&](int64_t first, int64_t last) {
    Buffer sums(kRowsTogether * width);
    for (int64_t unit = first; unit < last; unit++) {
      const int64_t entry = unit / tiles, y0 = unit % tiles * kRowsTogether,
                    y1 = std::min(g.image[1], y0 + kRowsTogether);
      sums.zero();
      for (int64_t number = 0; number < views; number++) {
        const float* const line = lines.data() + (entry * views + number) * stride;
        for (int64_t y = y0; y < y1; y++) {
          s.kernels.backproject_row(g, g.views[number], line, y, sums.data() + (y - y0) * width);
        }
      }
      for (int64_t y = y0; y < y1; y++) {
        std::copy_n(sums.data() + (y - y0) * width, g.image[0], images + entry * g.pixels() + y * g.image[0]);
      }
    }
  });
}

void backproject_adjoint(const PlanarSetting& s, const float* images, int64_t batch, float* sinograms) {
  const PlanarGeometry& g = s.geometry;
  const int64_t views = g.views.size();
  const Cuts cuts(g, batch, 1);
  cut_images(s, images, batch, cuts);
  s.workers.run(views, kCyclesPerSample * batch * g.pixels(), [&](int64_t first, int64_t last) {
    const int64_t stride = line_stride(g);
    Buffer lines(stride * kVector);
    for (int64_t unit = first * batch; unit < last * batch; unit++) {
      const int64_t number = unit / batch, entry = unit % batch;
      const Cut rows = cuts.of(g, 1, entry);
      lines.zero();
      for (int64_t y = 0; y < g.image[1]; y++) {
        s.kernels.backproject_row_adjoint(g, g.views[number], rows.data + y * rows.stride, y, lines.data(), stride);
      }
      s.kernels.sum_lines(lines.data(), stride, g.columns, sinograms + (entry * views + number) * g.columns);
    }
  });
}

}  // namespace

void make_rays(const PlanarGeometry& g, const PlanarView& view, PlanarRay* rays) {
  for (int64_t column = 0; column < g.columns; column++) {
    double line[3];
    for (int k = 0; k < 3; k++) line[k] = view.matrix[0][k] - column * view.matrix[1][k];
    const int main = std::abs(line[0]) >= std::abs(line[1]) ? 1 : 0, across = 1 - main;
    const double slope = -line[main] / line[across], start = -line[2] / line[across];
    double enter = -0.5, leave = g.image[main] - 0.5;
    const double low = -0.5 - start, high = g.image[across] - 0.5 - start;
    if (std::abs(slope) > 1e-9) {
      enter = std::max(enter, std::min(low / slope, high / slope));
      leave = std::min(leave, std::max(low / slope, high / slope));
    } else if (low > 0 || high < 0) {
      leave = enter;
    }
    rays[column] = {static_cast<float>(start),
                    static_cast<float>(slope),
                    static_cast<float>(enter),
                    static_cast<float>(leave),
                    static_cast<float>(std::hypot(slope * g.spacing[across], g.spacing[main])),
                    leave > enter ? main : -1};
  }
}

void apply_planar(Operator which, const PlanarSetting& s, const float* from, int64_t batch, float* to) {
  const int64_t pixels = s.geometry.pixels(), values = s.geometry.views.size() * s.geometry.columns;
  const int64_t in = takes_volumes(which) ? pixels : values, out = takes_volumes(which) ? values : pixels;
  for (int64_t first = 0; first < batch;
       first += kMostTogether, from += kMostTogether * in, to += kMostTogether * out) {
    const int64_t count = std::min(kMostTogether, batch - first);
    switch (which) {
      case Operator::kProjection:
        project(s, from, count, to);
        break;
      case Operator::kProjectionAdjoint:
        project_adjoint(s, from, count, to);
        break;
      case Operator::kBackprojection:
        backproject(s, from, count, to);
        break;
      case Operator::kBackprojectionAdjoint:
        backproject_adjoint(s, from, count, to);
        break;
    }
  }
}

}  // namespace pyronn_layers
