// The cone-beam operators on batches: volumes (batch, z, y, x), sinograms (batch, views, rows, columns), both float32.
#pragma once

#include <cstdint>

#include "cone_geometry.h"
#include "kernels.h"
#include "workers.h"

namespace pyronn_layers {

// The input, geometry and path of an operator.
struct Setting {
  const ConeGeometry& geometry;
  const Kernels& kernels;
  bool separable;  // take the separable path; `geometry` must allow it
  const Workers& workers;
};

// Applies an operator; the multiplier matters for back-projection and its transpose only.
void apply(Operator which, const Setting& setting, double multiplier, const float* from, int64_t batch, float* to);

}  // namespace pyronn_layers
