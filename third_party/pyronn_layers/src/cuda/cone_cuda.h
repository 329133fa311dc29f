// C interface of libpyronn_cone_cuda.so, free of TensorFlow and CUDA headers. Functions that return int give 0 or a
// cudaError_t, unless they say otherwise. `which` counts projection, its transpose, back-projection, its transpose.
#pragma once

#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif
#define PYRONN_API __attribute__((visibility("default")))

// ConeArguments: lengths in mm, axes in the order z, y, x, and matrices (views, 3, 4).
typedef struct {
  int64_t volume_shape[3];
  int64_t detector_shape[2];
  double volume_origin[3];
  double volume_spacing[3];
  const double* projection_matrices;
  int64_t views;
} PyronnConeArguments;

// ConeGeometry: axes in the order x, y, z; 24 numbers a view, those of ConeView.
typedef struct {
  int64_t volume[3];
  double spacing[3];
  int64_t rows, columns, views;
  const double* numbers;
  int32_t separable;
} PyronnConeGeometry;

// Fills in `geometry`, with numbers (24 a view) as its own. Returns 1, with what is wrong in `message`, if the
// arguments are invalid.
PYRONN_API int pyronn_cone_parse(const PyronnConeArguments* arguments, double* numbers, PyronnConeGeometry* geometry,
                                 char* message, int64_t message_size);

// The CPU's kernels, on host memory; the path for any matrices, or the separable one where the geometry allows it.
// Returns 1 if memory runs out.
PYRONN_API int pyronn_cone_cpu_apply(int which, const PyronnConeGeometry* geometry, double multiplier, const float* in,
                                     int64_t batch, float* out, int32_t any_path, int32_t threads);

// What the GPU's kernels compute, element after element on the CPU: slow. Returns 1 if memory runs out.
PYRONN_API int pyronn_cone_emulate_apply(int which, const PyronnConeGeometry* geometry, double multiplier,
                                         const float* in, int64_t batch, float* out);

// Bytes of device memory that pyronn_cone_cuda_apply works with; with less, or none, it is only slower.
PYRONN_API int64_t pyronn_cone_cuda_scratch(int which, const PyronnConeGeometry* geometry, int64_t batch);

// Enqueues one operator on the current device. `in`, `out` and `scratch` are device memory, the geometry host memory
// that is not needed any more after the call; `stream` is a cudaStream_t.
PYRONN_API int pyronn_cone_cuda_apply(int which, const PyronnConeGeometry* geometry, double multiplier, const float* in,
                                      int64_t batch, float* out, void* scratch, int64_t scratch_bytes, void* stream);

// For measurements without TensorFlow.
typedef struct {
  char name[256];
  int32_t major, minor, multiprocessors;
  double clock_ghz;       // 0 where the driver does not say
  double bandwidth_gb_s;  // theoretical, of the device's memory; 0 where the driver does not say
  int64_t l2_bytes;
  int32_t driver, runtime;  // 1000 * major + 10 * minor
} PyronnCudaDevice;

PYRONN_API const char* pyronn_cuda_error(int error);
PYRONN_API int pyronn_cuda_device_count(int32_t* count);
PYRONN_API int pyronn_cuda_device(int32_t number, PyronnCudaDevice* device);
PYRONN_API int pyronn_cuda_malloc(void** memory, int64_t bytes);
PYRONN_API int pyronn_cuda_free(void* memory);
PYRONN_API int pyronn_cuda_to_device(void* to, const void* from, int64_t bytes);
PYRONN_API int pyronn_cuda_to_host(void* to, const void* from, int64_t bytes);
PYRONN_API int pyronn_cuda_synchronize(void);
PYRONN_API int pyronn_cuda_event_create(void** event);
PYRONN_API int pyronn_cuda_event_record(void* event, void* stream);
PYRONN_API int pyronn_cuda_event_elapsed_ms(void* start, void* end, float* ms);  // waits for `end`
PYRONN_API int pyronn_cuda_event_destroy(void* event);

#if defined(__cplusplus)
}
#endif
