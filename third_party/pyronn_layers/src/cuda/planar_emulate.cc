// The CPU's kernels for beams in the plane, and the GPU's element by element, behind the C interface. Plain C++, needs
// no CUDA.
#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "plain_threads.h"
#include "planar_beam.h"
#include "planar_device_geometry.h"

namespace pyronn_layers {
namespace {

const PlanarView* views_of(const PyronnPlanarGeometry& g) { return reinterpret_cast<const PlanarView*>(g.numbers); }

PlanarGeometry geometry_of(const PyronnPlanarGeometry& from) {
  PlanarGeometry g;
  for (int a = 0; a < 2; a++) {
    g.image[a] = from.image[a];
    g.spacing[a] = from.spacing[a];
  }
  g.columns = from.columns;
  g.fan = from.fan != 0;
  g.scale = from.scale;
  g.views.assign(views_of(from), views_of(from) + from.views);
  return g;
}

void emulate_sinogram(Operator which, const PyronnPlanarGeometry& g, const float* image, float* sinogram) {
  const device::PlanarScene s = device::make_planar_scene(g);
  for (int64_t k = 0; k < g.views; k++) {
    const device::PlanarBeam beam = device::make_planar_beam(g, k);
    for (int column = 0; column < s.columns; column++) {
      if (which == Operator::kProjection) *sinogram++ = project_planar_pixel(s, beam, image, column);
      else *sinogram++ = backproject_adjoint_planar_pixel(s, beam, image, column);
    }
  }
}

void emulate_image(Operator which, const PyronnPlanarGeometry& g, const float* sinogram, float* image) {
  const device::PlanarScene s = device::make_planar_scene(g);
  std::fill_n(image, g.image[0] * g.image[1], 0.0f);
  for (int64_t k = 0; k < g.views; k++) {
    const device::PlanarBeam beam = device::make_planar_beam(g, k);
    const float* const line = sinogram + k * g.columns;
    for (int y = 0; y < s.image[1]; y++) {
      for (int x = 0; x < s.image[0]; x++) {
        float* const pixel = image + static_cast<int64_t>(y) * s.image[0] + x;
        if (which == Operator::kProjectionAdjoint) *pixel += project_adjoint_planar_pixel(s, beam, line, x, y);
        else *pixel += backproject_planar_pixel(s, beam, line, x, y);
      }
    }
  }
}

}  // namespace

}  // namespace pyronn_layers

using namespace pyronn_layers;

int pyronn_planar_parse(const PyronnPlanarArguments* given, double* numbers, PyronnPlanarGeometry* geometry,
                        char* message, int64_t message_size) {
  PlanarArguments arguments = {};
  std::copy_n(given->image_shape, 2, arguments.image_shape);
  arguments.columns = given->columns;
  std::copy_n(given->volume_origin, 2, arguments.volume_origin);
  std::copy_n(given->volume_spacing, 2, arguments.volume_spacing);
  arguments.detector_origin = given->detector_origin;
  arguments.detector_spacing = given->detector_spacing;
  arguments.fan = given->fan != 0;
  arguments.source_isocenter = given->source_isocenter;
  arguments.source_detector = given->source_detector;
  arguments.rays = given->rays;
  arguments.views = given->views;
  PlanarGeometry g;
  const std::string wrong = parse_planar_geometry(arguments, &g);
  if (message_size > 0) {
    const size_t length = std::min<size_t>(wrong.size(), message_size - 1);
    std::memcpy(message, wrong.data(), length);
    message[length] = 0;
  }
  if (!wrong.empty()) return 1;
  std::memcpy(numbers, g.views.data(), g.views.size() * sizeof(PlanarView));
  *geometry = {
      {g.image[0], g.image[1]}, {g.spacing[0], g.spacing[1]}, g.columns, given->views, g.scale, numbers, g.fan};
  return 0;
}

int pyronn_planar_cpu_apply(int which, const PyronnPlanarGeometry* from, const float* in, int64_t batch, float* out,
                            int32_t threads) try {
  const PlanarGeometry geometry = geometry_of(*from);
  const Workers workers = plain_threads(std::max(threads, 1));
  apply_planar(static_cast<Operator>(which), {geometry, *find_kernels("auto"), workers}, in, batch, out);
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}

int pyronn_planar_emulate_apply(int number, const PyronnPlanarGeometry* g, const float* in, int64_t batch, float* out) {
  const Operator which = static_cast<Operator>(number);
  const int64_t pixels = g->image[0] * g->image[1], values = g->views * g->columns;
  for (int64_t entry = 0; entry < batch; entry++) {
    if (takes_volumes(which)) emulate_sinogram(which, *g, in + entry * pixels, out + entry * values);
    else emulate_image(which, *g, in + entry * values, out + entry * pixels);
  }
  return 0;
}
