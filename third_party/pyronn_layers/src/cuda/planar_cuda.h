// C interface of the parallel- and fan-beam operators in libpyronn_cone_cuda.so, free of TensorFlow and CUDA headers.
// Functions that return int give 0 or a cudaError_t, unless they say otherwise. `which` counts projection, its
// transpose, back-projection, its transpose.
#pragma once

#include "cone_cuda.h"

#if defined(__cplusplus)
extern "C" {
#endif

// PlanarArguments: lengths in mm, axes in the order y, x; directions of the central rays (views, 2) in the order x, y.
typedef struct {
  int64_t image_shape[2];
  int64_t columns;
  double volume_origin[2];
  double volume_spacing[2];
  double detector_origin;
  double detector_spacing;
  int32_t fan;
  double source_isocenter;
  double source_detector;
  const double* rays;
  int64_t views;
} PyronnPlanarArguments;

// PlanarGeometry: axes in the order x, y; 8 numbers a view, those of PlanarView.
typedef struct {
  int64_t image[2];
  double spacing[2];
  int64_t columns, views;
  double scale;
  const double* numbers;
  int32_t fan;
} PyronnPlanarGeometry;

// Fills in `geometry`, with numbers (8 a view) as its own. Returns 1, with what is wrong in `message`, if the arguments
// are invalid.
PYRONN_API int pyronn_planar_parse(const PyronnPlanarArguments* arguments, double* numbers,
                                   PyronnPlanarGeometry* geometry, char* message, int64_t message_size);

// The CPU's kernels, on host memory. Returns 1 if memory runs out.
PYRONN_API int pyronn_planar_cpu_apply(int which, const PyronnPlanarGeometry* geometry, const float* in, int64_t batch,
                                       float* out, int32_t threads);

// What the GPU's kernels compute, element after element on the CPU: slow.
PYRONN_API int pyronn_planar_emulate_apply(int which, const PyronnPlanarGeometry* geometry, const float* in,
                                           int64_t batch, float* out);

// Enqueues one operator on the current device. `in` and `out` are device memory, the geometry host memory that is not
// needed any more after the call; `stream` is a cudaStream_t. It takes no memory of its own.
PYRONN_API int pyronn_planar_cuda_apply(int which, const PyronnPlanarGeometry* geometry, const float* in, int64_t batch,
                                        float* out, void* stream);

#if defined(__cplusplus)
}
#endif
