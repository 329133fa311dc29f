// The CUDA kernels for beams in the plane. A thread computes one column of one view, or one pixel, with the functions
// of planar_device.h; threads of a warp are neighbours along the detector, or along x. All gather, so results repeat.
#include <cuda_runtime.h>

#include <algorithm>

#include "operator.h"
#include "planar_device_geometry.h"

namespace pyronn_layers {
namespace {

using device::PlanarBeam;
using device::PlanarScene;

// Views travel as parameters of the kernel, which may take 4 KB.
constexpr int kBeamsTogether = 96;
constexpr int kWarp = 32, kTall = 8;
constexpr int kAlong = 128;             // threads of a block along the detector
constexpr int64_t kMostBlocks = 65535;  // along y and z

struct Beams {
  PlanarBeam of[kBeamsTogether];
  int first, count, total;
};

struct PlanarArrays {
  const float* in;
  float* out;
  int batch;
};

static_assert(sizeof(PlanarScene) + sizeof(Beams) + sizeof(PlanarArrays) <= 4000, "parameters of a kernel");

// Columns, and views times batch.
template <bool kProjection>
__global__ void __launch_bounds__(kAlong)
    columns_kernel(const PlanarScene s, const Beams beams, const PlanarArrays arrays) {
  const int column = blockIdx.x * kAlong + threadIdx.x;
  if (column >= s.columns) return;
  const int64_t pixels = static_cast<int64_t>(s.image[0]) * s.image[1];
  for (int64_t unit = blockIdx.y; unit < static_cast<int64_t>(beams.count) * arrays.batch; unit += gridDim.y) {
    const int64_t entry = unit / beams.count;
    const int number = static_cast<int>(unit % beams.count);
    const float* const image = arrays.in + entry * pixels;
    float value;
    if (kProjection) value = device::project_planar_pixel(s, beams.of[number], image, column);
    else value = device::backproject_adjoint_planar_pixel(s, beams.of[number], image, column);
    arrays.out[(entry * beams.total + beams.first + number) * s.columns + column] = value;
  }
}

// x, y, and batch. Views after the first ones add to what is there.
template <bool kProjection>
__global__ void __launch_bounds__(kWarp* kTall)
    image_kernel(const PlanarScene s, const Beams beams, const PlanarArrays arrays) {
  const int x = blockIdx.x * kWarp + threadIdx.x;
  if (x >= s.image[0]) return;
  for (int64_t entry = blockIdx.z; entry < arrays.batch; entry += gridDim.z) {
    const float* const lines = arrays.in + (entry * beams.total + beams.first) * s.columns;
    for (int y = blockIdx.y * kTall + threadIdx.y; y < s.image[1]; y += gridDim.y * kTall) {
      float sum = 0;
      for (int k = 0; k < beams.count; k++) {
        const float* const line = lines + static_cast<int64_t>(k) * s.columns;
        if (kProjection) sum += device::project_adjoint_planar_pixel(s, beams.of[k], line, x, y);
        else sum += device::backproject_planar_pixel(s, beams.of[k], line, x, y);
      }
      float* const pixel = arrays.out + (entry * s.image[1] + y) * s.image[0] + x;
      *pixel = beams.first == 0 ? sum : *pixel + sum;
    }
  }
}

unsigned blocks_of(int64_t count, int64_t each, int64_t most) {
  return static_cast<unsigned>(std::min((count + each - 1) / each, most));
}

void launch(Operator which, const PlanarScene& s, const Beams& beams, const PlanarArrays& arrays, cudaStream_t stream) {
  if (takes_volumes(which)) {
    const int64_t units = static_cast<int64_t>(beams.count) * arrays.batch;
    const dim3 grid(blocks_of(s.columns, kAlong, INT32_MAX), blocks_of(units, 1, kMostBlocks));
    if (which == Operator::kProjection) columns_kernel<true><<<grid, kAlong, 0, stream>>>(s, beams, arrays);
    else columns_kernel<false><<<grid, kAlong, 0, stream>>>(s, beams, arrays);
  } else {
    const dim3 grid(blocks_of(s.image[0], kWarp, INT32_MAX), blocks_of(s.image[1], kTall, kMostBlocks),
                    blocks_of(arrays.batch, 1, kMostBlocks));
    const dim3 block(kWarp, kTall);
    if (which == Operator::kProjectionAdjoint) image_kernel<true><<<grid, block, 0, stream>>>(s, beams, arrays);
    else image_kernel<false><<<grid, block, 0, stream>>>(s, beams, arrays);
  }
}

}  // namespace
}  // namespace pyronn_layers

using namespace pyronn_layers;

int pyronn_planar_cuda_apply(int number, const PyronnPlanarGeometry* g, const float* in, int64_t batch, float* out,
                             void* stream_handle) {
  if (batch <= 0) return cudaSuccess;
  const PlanarScene s = device::make_planar_scene(*g);
  const PlanarArrays arrays = {in, out, static_cast<int>(batch)};
  Beams beams;
  beams.total = static_cast<int>(g->views);
  for (int64_t first = 0; first < g->views; first += kBeamsTogether) {
    beams.first = static_cast<int>(first);
    beams.count = static_cast<int>(std::min<int64_t>(kBeamsTogether, g->views - first));
    for (int k = 0; k < beams.count; k++) beams.of[k] = device::make_planar_beam(*g, first + k);
    launch(static_cast<Operator>(number), s, beams, arrays, static_cast<cudaStream_t>(stream_handle));
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}
