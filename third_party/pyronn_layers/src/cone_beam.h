// The cone-beam operators on batches: volumes (batch, z, y, x), sinograms (batch, views, rows, columns), both float32.
#pragma once

#include <cstdint>
#include <functional>

#include "cone_geometry.h"
#include "kernels.h"

namespace pyronn_layers {

// The threads that do the work. `run` calls its last argument with ranges that make up [0, total), each of whose units
// takes about `cost` cycles, and returns when all is done.
struct Workers {
  int threads;
  std::function<void(int64_t total, int64_t cost, const std::function<void(int64_t, int64_t)>&)> run;
};

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
