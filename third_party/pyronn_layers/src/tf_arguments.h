// What the cone-beam kernels for TensorFlow, for whatever device, have in common: checked arguments and output shapes.
#pragma once

#include <string>

#include "cone_geometry.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace pyronn_layers {

// Inputs of the op PyronnLayersConeBeam, by position.
enum Input { kValues, kShape, kOrigin, kSpacing, kMatrices, kMultiplier };

// One geometry, and the entries [first, last) of the batch that have it.
struct Group {
  ConeGeometry geometry;
  double multiplier;
  int64_t first, last;
};

// Checks all inputs, and allocates the output.
tensorflow::Status read_arguments(tensorflow::OpKernelContext* context, Operator which, std::vector<Group>* groups,
                                  tensorflow::Tensor** output);

}  // namespace pyronn_layers
