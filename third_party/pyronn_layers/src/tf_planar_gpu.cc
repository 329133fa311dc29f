// The TensorFlow kernel of beams in the plane for NVIDIA GPUs: checks on the host, as on the CPU, and calls
// libpyronn_cone_cuda.so. The attribute `instruction_set` has no effect here.
#include <algorithm>
#include <iterator>

#include "cuda/planar_cuda.h"
#include "tensorflow/core/platform/stream_executor.h"
#include "tf_inputs.h"
#include "tf_planar_arguments.h"

namespace pyronn_layers {
namespace {

namespace tf = tensorflow;

static_assert(sizeof(PlanarView) == 8 * sizeof(double), "a view travels as its numbers");

// Points into `from`.
PyronnPlanarGeometry plain_geometry(const PlanarGeometry& from) {
  PyronnPlanarGeometry g = {};
  std::copy(std::begin(from.image), std::end(from.image), g.image);
  std::copy(std::begin(from.spacing), std::end(from.spacing), g.spacing);
  g.columns = from.columns;
  g.views = static_cast<int64_t>(from.views.size());
  g.scale = from.scale;
  g.numbers = &from.views[0].matrix[0][0];
  g.fan = from.fan;
  return g;
}

class PlanarBeamGpu : public tf::OpKernel {
 public:
  explicit PlanarBeamGpu(tf::OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, read_operator(construction, &which_));
    OP_REQUIRES_OK(construction, read_beam(construction, &fan_));
  }

  void Compute(tf::OpKernelContext* context) override {
    std::vector<PlanarGroup> groups;
    tf::Tensor* output = nullptr;
    OP_REQUIRES_OK(context, read_planar_arguments(context, which_, fan_, &groups, &output));
    const tf::Tensor& values = context->input(kPlanarValues);
    const int64_t in = values.NumElements() / values.dim_size(0), out = output->NumElements() / values.dim_size(0);
    void* const stream = context->op_device_context()->stream()->platform_specific_handle().stream;
    for (const PlanarGroup& group : groups) {
      const PyronnPlanarGeometry geometry = plain_geometry(group.geometry);
      const float* const from = values.flat<float>().data() + group.first * in;
      float* const to = output->flat<float>().data() + group.first * out;
      const int error =
          pyronn_planar_cuda_apply(static_cast<int>(which_), &geometry, from, group.last - group.first, to, stream);
      OP_REQUIRES(context, error == 0, tf::errors::Internal("pyronn-layers: CUDA: ", pyronn_cuda_error(error)));
    }
  }

 private:
  Operator which_;
  bool fan_;
};

REGISTER_KERNEL_BUILDER(Name("PyronnLayersPlanarBeam")
                            .Device(tf::DEVICE_GPU)
                            .HostMemory("shape")
                            .HostMemory("volume_origin")
                            .HostMemory("detector_origin")
                            .HostMemory("volume_spacing")
                            .HostMemory("detector_spacing")
                            .HostMemory("source_2_isocenter_distance")
                            .HostMemory("source_2_detector_distance")
                            .HostMemory("ray_vectors"),
                        PlanarBeamGpu);

}  // namespace
}  // namespace pyronn_layers
