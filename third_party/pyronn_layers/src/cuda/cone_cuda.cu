// The CUDA kernels, and the C interface. A thread computes one pixel of one view, or one voxel, with the functions of
// cone_device.h; threads of a warp are neighbours along a detector row, or along x. upright_kernels.h has those of the
// projection's transpose for upright views.
#include <cstdio>

#include "launch.h"
#include "upright_kernels.h"

namespace pyronn_layers {
namespace {

constexpr int64_t kTurnedFloats = 1 << 24;  // of the turned copy of a batch, unless one volume takes more

struct Arrays {
  const float* in;
  const float* turned;  // volumes (z, x, y), or null
  float* out;
  int batch;
  float multiplier;
};

static_assert(sizeof(Scene) + sizeof(Views) + sizeof(Arrays) <= 4000, "parameters of a kernel");

// Columns, rows, and views times batch. Four blocks a multiprocessor, here and below, are faster than three or five.
template <bool kProjection>
__global__ void __launch_bounds__(kThreads, 4)
    pixels_kernel(const Scene s, const Views views, const Arrays arrays) {
  const int column = blockIdx.x * kWarp + threadIdx.x;
  if (column >= s.columns) return;
  const int64_t voxels = static_cast<int64_t>(s.volume[0]) * s.volume[1] * s.volume[2];
  for (int unit = blockIdx.z; unit < views.count * arrays.batch; unit += gridDim.z) {
    const int entry = unit / views.count, number = unit % views.count;
    const View& view = views.of[number];
    const device::Voxels plain = plain_voxels(s, arrays.in + entry * voxels);
    device::Voxels turned = plain;
    if (arrays.turned != nullptr) turned = turned_voxels(s, arrays.turned + entry * voxels);
    const int64_t image = static_cast<int64_t>(entry) * views.total + views.first + number;
    for (int row = blockIdx.y * kTall + threadIdx.y; row < s.rows; row += gridDim.y * kTall) {
      float value;
      if (kProjection) value = device::project_pixel(s, view, plain, turned, column, row);
      else value = backproject_adjoint_pixel(s, view, plain, turned, column, row) * arrays.multiplier;
      arrays.out[(image * s.rows + row) * s.columns + column] = value;
    }
  }
}

// x, y, and z times batch. Views after the first ones add to what is there.
template <bool kProjection>
__global__ void __launch_bounds__(kThreads, 4)
    voxels_kernel(const Scene s, const Views views, const Arrays arrays) {
  const int x = blockIdx.x * kWarp + threadIdx.x;
  if (x >= s.volume[0]) return;
  const int64_t pixels = static_cast<int64_t>(s.rows) * s.columns;
  for (int64_t unit = blockIdx.z; unit < static_cast<int64_t>(s.volume[2]) * arrays.batch; unit += gridDim.z) {
    const int64_t entry = unit / s.volume[2];
    const int z = static_cast<int>(unit % s.volume[2]);
    const float* const images = arrays.in + (entry * views.total + views.first) * pixels;
    for (int y = blockIdx.y * kTall + threadIdx.y; y < s.volume[1]; y += gridDim.y * kTall) {
      float sum = 0;
      for (int k = 0; k < views.count; k++) {
        if (kProjection) sum += device::project_adjoint_voxel(s, views.of[k], images + k * pixels, x, y, z);
        else sum += device::backproject_voxel(s, views.of[k], images + k * pixels, x, y, z);
      }
      float* const voxel = arrays.out + (unit * s.volume[1] + y) * s.volume[0] + x;
      if (!kProjection) sum *= arrays.multiplier;
      *voxel = views.first == 0 ? sum : *voxel + sum;
    }
  }
}

// (planes, y, x) to (planes, x, y), in tiles that are read and written along rows.
__global__ void __launch_bounds__(kThreads)
    turn_kernel(const float* __restrict__ in, float* __restrict__ out, int nx, int ny, int64_t planes) {
  __shared__ float tile[kWarp][kWarp + 1];
  const int x0 = blockIdx.x * kWarp;
  for (int64_t plane = blockIdx.z; plane < planes; plane += gridDim.z) {
    for (int64_t strip = blockIdx.y; strip * kWarp < ny; strip += gridDim.y) {
      const int64_t y0 = strip * kWarp;
      for (int k = threadIdx.y; k < kWarp; k += kTall) {
        const int64_t x = x0 + threadIdx.x, y = y0 + k;
        if (x < nx && y < ny) tile[k][threadIdx.x] = __ldg(in + (plane * ny + y) * nx + x);
      }
      __syncthreads();
      for (int k = threadIdx.y; k < kWarp; k += kTall) {
        const int64_t x = x0 + k, y = y0 + threadIdx.x;
        if (x < nx && y < ny) out[(plane * nx + x) * ny + y] = tile[threadIdx.x][k];
      }
      __syncthreads();
    }
  }
}

dim3 grid_of(int64_t x, int64_t y, int64_t z, int64_t tall) {
  return dim3(static_cast<unsigned>((x + kWarp - 1) / kWarp),
              static_cast<unsigned>(std::min((y + tall - 1) / tall, kMostBlocks)),
              static_cast<unsigned>(std::min(z, kMostBlocks)));
}

void turn_planes(const float* in, float* out, int64_t nx, int64_t ny, int64_t planes, cudaStream_t stream) {
  turn_kernel<<<grid_of(nx, ny, planes, kWarp), kBlock, 0, stream>>>(in, out, static_cast<int>(nx),
                                                                     static_cast<int>(ny), planes);
}

void turn(const PyronnConeGeometry& g, const float* in, float* out, int64_t batch, cudaStream_t stream) {
  turn_planes(in, out, g.volume[0], g.volume[1], g.volume[2] * batch, stream);
}

void launch(Operator which, const Scene& s, const Views& views, const Arrays& arrays, cudaStream_t stream) {
  if (takes_volumes(which)) {
    const dim3 grid = grid_of(s.columns, s.rows, static_cast<int64_t>(views.count) * arrays.batch, kTall);
    if (which == Operator::kProjection) pixels_kernel<true><<<grid, kBlock, 0, stream>>>(s, views, arrays);
    else pixels_kernel<false><<<grid, kBlock, 0, stream>>>(s, views, arrays);
  } else {
    const dim3 grid = grid_of(s.volume[0], s.volume[1], static_cast<int64_t>(s.volume[2]) * arrays.batch, kTall);
    if (which == Operator::kProjectionAdjoint) voxels_kernel<true><<<grid, kBlock, 0, stream>>>(s, views, arrays);
    else voxels_kernel<false><<<grid, kBlock, 0, stream>>>(s, views, arrays);
  }
}

// Entries of the batch that one launch treats: as many as the turned copy has room for, or all if there is none.
int64_t entries_together(Operator which, const PyronnConeGeometry& g, int64_t batch, int64_t floats) {
  if (!takes_volumes(which) || floats < device::voxels_of(g)) return batch;
  return std::min(batch, floats / device::voxels_of(g));
}

bool any_main_x(const PyronnConeGeometry& g) {
  for (int64_t k = 0; k < g.views; k++) {
    if (device::make_view(g, k).mains & 1) return true;
  }
  return false;
}

cudaError_t apply(Operator which, const PyronnConeGeometry& g, double multiplier, const float* in, int64_t batch,
                  float* out, float* scratch, int64_t scratch_floats, cudaStream_t stream) {
  const Scene s = device::make_scene(g);
  const int64_t voxels = device::voxels_of(g), images = g.views * device::pixels_of(g);
  const bool volumes = takes_volumes(which), turns = volumes && scratch_floats >= voxels;
  const int64_t together = std::min<int64_t>(entries_together(which, g, batch, scratch_floats), 1 << 20);
  for (int64_t first = 0; first < batch; first += together) {
    const int64_t count = std::min(together, batch - first);
    const float* const from = in + first * (volumes ? voxels : images);
    if (turns) turn(g, from, scratch, count, stream);
    const Arrays arrays = {from, turns ? scratch : nullptr, out + first * (volumes ? images : voxels),
                           static_cast<int>(count), static_cast<float>(multiplier)};
    const cudaError_t error =
        for_views(g, kViewsTogether, [&](const Views& views) { launch(which, s, views, arrays, stream); });
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

// The transpose of the projection, of upright views.
cudaError_t apply_upright(const PyronnConeGeometry& g, const float* in, int64_t batch, float* out, float* scratch,
                          cudaStream_t stream) {
  const Scene s = device::make_scene(g);
  const UprightPlan plan = upright_plan(g, batch);
  const int64_t voxels = device::voxels_of(g), images = g.views * device::pixels_of(g);
  float* const turned = scratch + plan.entries * plan.views * plan.line_floats;
  for (int64_t first = 0; first < batch; first += plan.entries) {
    const int64_t count = std::min(plan.entries, batch - first);
    const cudaError_t error = for_views(g, plan.views, [&](const Views& views) {
      launch_upright(s, views, in + first * images, count, scratch, turned, stream);
    });
    if (error != cudaSuccess) return error;
    turn_planes(turned, out + first * voxels, g.volume[2], g.volume[0] * g.volume[1], count, stream);
  }
  return cudaGetLastError();
}

}  // namespace
}  // namespace pyronn_layers

using namespace pyronn_layers;

int64_t pyronn_cone_cuda_scratch(int which, const PyronnConeGeometry* g, int64_t batch) {
  if (is_upright(static_cast<Operator>(which), *g)) {
    return upright_plan(*g, batch).floats * static_cast<int64_t>(sizeof(float));
  }
  if (!takes_volumes(static_cast<Operator>(which)) || !any_main_x(*g)) return 0;
  const int64_t voxels = device::voxels_of(*g);
  const int64_t together = std::max<int64_t>(1, std::min(batch, kTurnedFloats / voxels));
  return together * voxels * static_cast<int64_t>(sizeof(float));
}

int pyronn_cone_cuda_apply(int number, const PyronnConeGeometry* g, double multiplier, const float* in, int64_t batch,
                           float* out, void* scratch, int64_t scratch_bytes, void* stream_handle) {
  const cudaStream_t stream = static_cast<cudaStream_t>(stream_handle);
  const Operator which = static_cast<Operator>(number);
  const int64_t floats = scratch == nullptr ? 0 : scratch_bytes / static_cast<int64_t>(sizeof(float));
  float* const memory = static_cast<float*>(scratch);
  if (batch > 0 && is_upright(which, *g) && floats >= upright_plan(*g, batch).floats) {
    return apply_upright(*g, in, batch, out, memory, stream);
  }
  return apply(which, *g, multiplier, in, batch, out, memory, floats, stream);
}

const char* pyronn_cuda_error(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

int pyronn_cuda_device_count(int32_t* count) { return cudaGetDeviceCount(count); }

int pyronn_cuda_device(int32_t number, PyronnCudaDevice* device) {
  *device = {};
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, number);
  if (error != cudaSuccess) return error;
  std::snprintf(device->name, sizeof(device->name), "%s", properties.name);
  device->major = properties.major;
  device->minor = properties.minor;
  device->multiprocessors = properties.multiProcessorCount;
  device->l2_bytes = properties.l2CacheSize;
  // Clocks have left cudaDeviceProp with CUDA 13; the attributes, in kHz, are there before and after.
  int clock = 0, memory_clock = 0;
  cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, number);
  cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, number);
  device->clock_ghz = 1e-6 * clock;
  device->bandwidth_gb_s = 2e-6 * memory_clock * properties.memoryBusWidth / 8;  // two transfers a cycle
  cudaDriverGetVersion(&device->driver);
  cudaRuntimeGetVersion(&device->runtime);
  cudaGetLastError();  // what is not known stays 0
  return cudaSetDevice(number);
}

int pyronn_cuda_malloc(void** memory, int64_t bytes) { return cudaMalloc(memory, static_cast<size_t>(bytes)); }

int pyronn_cuda_free(void* memory) { return cudaFree(memory); }

int pyronn_cuda_to_device(void* to, const void* from, int64_t bytes) {
  return cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice);
}

int pyronn_cuda_to_host(void* to, const void* from, int64_t bytes) {
  return cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost);
}

int pyronn_cuda_synchronize(void) { return cudaDeviceSynchronize(); }

int pyronn_cuda_event_create(void** event) { return cudaEventCreate(reinterpret_cast<cudaEvent_t*>(event)); }

int pyronn_cuda_event_record(void* event, void* stream) {
  return cudaEventRecord(static_cast<cudaEvent_t>(event), static_cast<cudaStream_t>(stream));
}

int pyronn_cuda_event_elapsed_ms(void* start, void* end, float* ms) {
  const cudaError_t error = cudaEventSynchronize(static_cast<cudaEvent_t>(end));
  if (error != cudaSuccess) return error;
  return cudaEventElapsedTime(ms, static_cast<cudaEvent_t>(start), static_cast<cudaEvent_t>(end));
}

int pyronn_cuda_event_destroy(void* event) { return cudaEventDestroy(static_cast<cudaEvent_t>(event)); }
