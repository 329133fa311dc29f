// The four operators that every beam has.
#pragma once

namespace pyronn_layers {

// Projection: line integrals in mm. Back-projection: each voxel takes the weighted value at its shadow from each view.
// And the transposes of both.
enum class Operator { kProjection, kProjectionAdjoint, kBackprojection, kBackprojectionAdjoint };

inline bool takes_volumes(Operator which) {
  return which == Operator::kProjection || which == Operator::kBackprojectionAdjoint;
}

}  // namespace pyronn_layers
