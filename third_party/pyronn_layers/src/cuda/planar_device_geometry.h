// A planar geometry as the CUDA kernels take it; on the host, in double.
#pragma once

#include "planar_cuda.h"
#include "planar_device.h"

namespace pyronn_layers {
namespace device {

PlanarScene make_planar_scene(const PyronnPlanarGeometry& geometry);
PlanarBeam make_planar_beam(const PyronnPlanarGeometry& geometry, int64_t number);

}  // namespace device
}  // namespace pyronn_layers
