// What the kernels of all operators share: blocks, and views as parameters.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "device_geometry.h"

namespace pyronn_layers {
namespace {

using device::Scene;
using device::View;

// Views travel as parameters of the kernel: nothing to allocate or to keep until it has run, and every thread reads
// them from the constant bank. Parameters may take 4 KB.
constexpr int kViewsTogether = 28;
constexpr int kWarp = 32, kTall = 8, kThreads = kWarp * kTall;  // of a block
constexpr int64_t kMostBlocks = 65535;                          // along y and z
const dim3 kBlock(kWarp, kTall);

struct Views {
  View of[kViewsTogether];
  int first, count, total;
};

// Calls launch(views) for `together` views at a time, one after the other, so that the transposes add up in order.
template <typename Launch>
cudaError_t for_views(const PyronnConeGeometry& g, int64_t together, const Launch& launch) {
  Views views;
  views.total = static_cast<int>(g.views);
  for (int64_t first = 0; first < g.views; first += together) {
    views.first = static_cast<int>(first);
    views.count = static_cast<int>(std::min<int64_t>(together, g.views - first));
    for (int k = 0; k < views.count; k++) views.of[k] = device::make_view(g, first + k);
    launch(views);
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace
}  // namespace pyronn_layers
