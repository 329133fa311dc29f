// The CPU's kernels, and the GPU's element by element, behind the C interface: what the GPU's results are checked
// against, and how they are checked where there is none. Plain C++, needs no CUDA.
#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "cone_beam.h"
#include "device_geometry.h"
#include "plain_threads.h"
#include "upright_device.h"

namespace pyronn_layers {
namespace {

ConeGeometry geometry_of(const PyronnConeGeometry& from) {
  ConeGeometry g;
  for (int a = 0; a < 3; a++) {
    g.volume[a] = from.volume[a];
    g.spacing[a] = from.spacing[a];
  }
  g.rows = from.rows;
  g.columns = from.columns;
  const ConeView* views = reinterpret_cast<const ConeView*>(from.numbers);
  g.views.assign(views, views + from.views);
  g.separable = from.separable != 0;
  return g;
}

std::vector<float> turned_copy(const device::Scene& s, const float* volume) {
  const int64_t nx = s.volume[0], ny = s.volume[1], nz = s.volume[2];
  std::vector<float> turned(nx * ny * nz);
  for (int64_t z = 0; z < nz; z++) {
    for (int64_t x = 0; x < nx; x++) {
      for (int64_t y = 0; y < ny; y++) turned[(z * nx + x) * ny + y] = volume[(z * ny + y) * nx + x];
    }
  }
  return turned;
}

void emulate_pixels(Operator which, const device::Scene& s, const device::View& view, const device::Voxels& plain,
                    const device::Voxels& turned, double multiplier, float* image) {
  for (int row = 0; row < s.rows; row++) {
    for (int column = 0; column < s.columns; column++) {
      float* const pixel = image + static_cast<int64_t>(row) * s.columns + column;
      if (which == Operator::kProjection) *pixel = device::project_pixel(s, view, plain, turned, column, row);
      else *pixel = backproject_adjoint_pixel(s, view, plain, turned, column, row) * static_cast<float>(multiplier);
    }
  }
}

void emulate_voxels(Operator which, const device::Scene& s, const std::vector<device::View>& views, const float* images,
                    double multiplier, float* volume) {
  const int64_t pixels = static_cast<int64_t>(s.rows) * s.columns;
  for (int z = 0; z < s.volume[2]; z++) {
    for (int y = 0; y < s.volume[1]; y++) {
      for (int x = 0; x < s.volume[0]; x++) {
        float sum = 0;
        for (size_t k = 0; k < views.size(); k++) {
          const float* image = images + static_cast<int64_t>(k) * pixels;
          if (which == Operator::kProjectionAdjoint) sum += device::project_adjoint_voxel(s, views[k], image, x, y, z);
          else sum += device::backproject_voxel(s, views[k], image, x, y, z);
        }
        *volume++ = which == Operator::kBackprojection ? sum * static_cast<float>(multiplier) : sum;
      }
    }
  }
}

// A column's lines, one for each plane.
std::vector<float> spread(const device::Scene& s, const device::View& view, const float* image, int column) {
  const device::Column c = device::column_of(s, view, column - view.column);
  std::vector<float> weighted(s.rows), lines(static_cast<size_t>(device::most_planes(s)) * s.volume[2]);
  for (int row = 0; row < s.rows; row++) {
    weighted[row] = image[static_cast<int64_t>(row) * s.columns + column] * mm_of(s, c, row - view.row);
  }
  for (int plane = 0; plane < planes_of(s, c); plane++) {
    for (int z = 0; z < s.volume[2]; z++) {
      lines[static_cast<size_t>(plane) * s.volume[2] + z] = spread_of(s, c, weighted.data(), view.row, plane, z);
    }
  }
  return lines;
}

// Adds one view.
void emulate_upright(const device::Scene& s, const device::View& view, const float* image, float* volume) {
  std::vector<std::vector<float>> lines;
  for (int column = 0; column < s.columns; column++) lines.push_back(spread(s, view, image, column));
  for (int y = 0; y < s.volume[1]; y++) {
    for (int x = 0; x < s.volume[0]; x++) {
      for_columns(s, view, x, y, [&](int column, int plane, float share) {
        for (int z = 0; z < s.volume[2]; z++) {
          float* const voxel = volume + (static_cast<int64_t>(z) * s.volume[1] + y) * s.volume[0] + x;
          *voxel += share * lines[column][static_cast<size_t>(plane) * s.volume[2] + z];
        }
      });
    }
  }
}

void emulate_apply(Operator which, const PyronnConeGeometry& g, double multiplier, const float* in, int64_t batch,
                   float* out) {
  const device::Scene s = device::make_scene(g);
  std::vector<device::View> views;
  for (int64_t k = 0; k < g.views; k++) views.push_back(device::make_view(g, k));
  const int64_t voxels = device::voxels_of(g), pixels = device::pixels_of(g);
  for (int64_t b = 0; b < batch; b++) {
    if (which == Operator::kProjectionAdjoint && g.separable) {
      std::fill_n(out + b * voxels, voxels, 0.0f);
      for (int64_t k = 0; k < g.views; k++) {
        emulate_upright(s, views[k], in + (b * g.views + k) * pixels, out + b * voxels);
      }
      continue;
    }
    if (!takes_volumes(which)) {
      emulate_voxels(which, s, views, in + b * g.views * pixels, multiplier, out + b * voxels);
      continue;
    }
    const std::vector<float> copy = turned_copy(s, in + b * voxels);
    const device::Voxels plain = plain_voxels(s, in + b * voxels), turned = turned_voxels(s, copy.data());
    for (int64_t k = 0; k < g.views; k++) {
      emulate_pixels(which, s, views[k], plain, turned, multiplier, out + (b * g.views + k) * pixels);
    }
  }
}

}  // namespace
}  // namespace pyronn_layers

using namespace pyronn_layers;

int pyronn_cone_parse(const PyronnConeArguments* given, double* numbers, PyronnConeGeometry* geometry, char* message,
                      int64_t message_size) {
  ConeArguments arguments = {};
  std::copy_n(given->volume_shape, 3, arguments.volume_shape);
  std::copy_n(given->detector_shape, 2, arguments.detector_shape);
  std::copy_n(given->volume_origin, 3, arguments.volume_origin);
  std::copy_n(given->volume_spacing, 3, arguments.volume_spacing);
  arguments.projection_matrices = given->projection_matrices;
  arguments.views = given->views;
  ConeGeometry g;
  const std::string wrong = parse_geometry(arguments, &g);
  if (message_size > 0) {
    const size_t length = std::min<size_t>(wrong.size(), message_size - 1);
    std::memcpy(message, wrong.data(), length);
    message[length] = 0;
  }
  if (!wrong.empty()) return 1;
  std::memcpy(numbers, g.views.data(), g.views.size() * sizeof(ConeView));
  *geometry = {{g.volume[0], g.volume[1], g.volume[2]},
               {g.spacing[0], g.spacing[1], g.spacing[2]},
               g.rows,
               g.columns,
               given->views,
               numbers,
               g.separable};
  return 0;
}

int pyronn_cone_cpu_apply(int which, const PyronnConeGeometry* from, double multiplier, const float* in, int64_t batch,
                          float* out, int32_t any_path, int32_t threads) try {
  const ConeGeometry geometry = geometry_of(*from);
  const Workers workers = plain_threads(std::max(threads, 1));
  const Setting setting = {geometry, *find_kernels("auto"), geometry.separable && !any_path, workers};
  apply(static_cast<Operator>(which), setting, multiplier, in, batch, out);
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}

int pyronn_cone_emulate_apply(int which, const PyronnConeGeometry* geometry, double multiplier, const float* in,
                              int64_t batch, float* out) try {
  emulate_apply(static_cast<Operator>(which), *geometry, multiplier, in, batch, out);
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}
