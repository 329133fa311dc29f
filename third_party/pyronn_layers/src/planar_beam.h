// The parallel- and fan-beam operators on batches: images (batch, y, x), sinograms (batch, views, columns), float32.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "planar_geometry.h"
#include "workers.h"

namespace pyronn_layers {

struct PlanarSetting {
  const PlanarGeometry& geometry;
  const Kernels& kernels;
  const Workers& workers;
};

// Applies an operator. The result does not depend on the number of threads.
void apply_planar(Operator which, const PlanarSetting& setting, const float* from, int64_t batch, float* to);

}  // namespace pyronn_layers
