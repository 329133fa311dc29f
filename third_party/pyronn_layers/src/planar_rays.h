// The rays of a view in the plane, and images in the order in which rays cross them.
#pragma once

#include <cstdint>

#include "planar_geometry.h"

namespace pyronn_layers {

// One ray. Along its main axis (0: x, 1: y) it crosses plane p, a line of pixels, at pixel start + slope * p, |slope|
// at most 1; each plane counts as much of it as lies within half a plane of it and between `enter` and `leave`.
struct PlanarRay {
  float start, slope;
  float enter, leave;  // in planes
  float mm;            // per plane
  int32_t main;        // -1 for a ray that misses the image
};

// Fills in the rays of all columns.
void make_rays(const PlanarGeometry& geometry, const PlanarView& view, PlanarRay* rays);

// An image cut into the planes of one main axis: pixel q of plane p at data[p * stride + q]. There are planes up to the
// next multiple of 16, and at least one number after the last pixel of each; all of these are zero.
struct Cut {
  float* data;
  int64_t stride;
  int64_t count, length;  // planes, and pixels in each
};

}  // namespace pyronn_layers
