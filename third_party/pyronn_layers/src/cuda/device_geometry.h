// A geometry as the CUDA kernels take it; on the host, in double.
#pragma once

#include "cone_cuda.h"
#include "cone_device.h"
#include "cone_geometry.h"

namespace pyronn_layers {
namespace device {

Scene make_scene(const PyronnConeGeometry& geometry);
View make_view(const PyronnConeGeometry& geometry, int64_t number);

inline int64_t voxels_of(const PyronnConeGeometry& g) { return g.volume[0] * g.volume[1] * g.volume[2]; }
inline int64_t pixels_of(const PyronnConeGeometry& g) { return g.rows * g.columns; }

}  // namespace device
}  // namespace pyronn_layers
