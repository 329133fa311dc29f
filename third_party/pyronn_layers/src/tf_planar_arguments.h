// What the TensorFlow kernels of beams in the plane, for whatever device, have in common.
#pragma once

#include <vector>

#include "planar_geometry.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace pyronn_layers {

// Inputs of the op PyronnLayersPlanarBeam, by position.
enum PlanarInput {
  kPlanarValues,
  kPlanarShape,
  kPlanarOrigin,
  kDetectorOrigin,
  kPlanarSpacing,
  kDetectorSpacing,
  kSourceIsocenter,
  kSourceDetector,
  kRays,
};

tensorflow::Status read_beam(tensorflow::OpKernelConstruction* construction, bool* fan);

// One geometry, and the entries [first, last) of the batch that have it.
struct PlanarGroup {
  PlanarGeometry geometry;
  int64_t first, last;
};

// Checks all inputs, and allocates the output.
tensorflow::Status read_planar_arguments(tensorflow::OpKernelContext* context, Operator which, bool fan,
                                         std::vector<PlanarGroup>* groups, tensorflow::Tensor** output);

}  // namespace pyronn_layers
