// The TensorFlow kernel of the cone beam for NVIDIA GPUs: checks on the host, as on the CPU, and calls libpyronn_cone_cuda.so.
// Attributes `path` and `instruction_set` have no effect here.
#include <algorithm>
#include <iterator>

#include "cuda/cone_cuda.h"
#include "tensorflow/core/platform/stream_executor.h"
#include "tf_arguments.h"
#include "tf_inputs.h"

namespace pyronn_layers {
namespace {

namespace tf = tensorflow;

static_assert(sizeof(ConeView) == 24 * sizeof(double), "a view travels as its numbers");

// Points into `from`.
PyronnConeGeometry plain_geometry(const ConeGeometry& from) {
  PyronnConeGeometry g = {};
  std::copy(std::begin(from.volume), std::end(from.volume), g.volume);
  std::copy(std::begin(from.spacing), std::end(from.spacing), g.spacing);
  g.rows = from.rows;
  g.columns = from.columns;
  g.views = static_cast<int64_t>(from.views.size());
  g.numbers = &from.views[0].matrix[0][0];
  g.separable = from.separable;
  return g;
}

class ConeBeamGpu : public tf::OpKernel {
 public:
  explicit ConeBeamGpu(tf::OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, read_operator(construction, &which_));
  }

  void Compute(tf::OpKernelContext* context) override {
    std::vector<Group> groups;
    tf::Tensor* output = nullptr;
    OP_REQUIRES_OK(context, read_arguments(context, which_, &groups, &output));
    const tf::Tensor& values = context->input(kValues);
    const int64_t in = values.NumElements() / values.dim_size(0), out = output->NumElements() / values.dim_size(0);
    for (const Group& group : groups) {
      const float* const from = values.flat<float>().data() + group.first * in;
      OP_REQUIRES_OK(context, apply(context, group, from, output->flat<float>().data() + group.first * out));
    }
  }

 private:
  // Scratch comes from TensorFlow, which may hold all of the GPU's memory; it gives the memory to others only for work
  // that comes later in the same stream.
  tf::Status apply(tf::OpKernelContext* context, const Group& group, const float* from, float* to) const {
    const PyronnConeGeometry geometry = plain_geometry(group.geometry);
    const int which = static_cast<int>(which_);
    const int64_t batch = group.last - group.first;
    int64_t bytes = pyronn_cone_cuda_scratch(which, &geometry, batch);
    tf::Tensor scratch;
    const tf::Status given = context->allocate_temp(tf::DT_UINT8, {bytes}, &scratch);
    if (tf::errors::IsResourceExhausted(given)) bytes = 0;  // without, it is only slower
    else TF_RETURN_IF_ERROR(given);
    void* const stream = context->op_device_context()->stream()->platform_specific_handle().stream;
    void* const memory = bytes > 0 ? scratch.flat<tf::uint8>().data() : nullptr;
    const int error =
        pyronn_cone_cuda_apply(which, &geometry, group.multiplier, from, batch, to, memory, bytes, stream);
    if (error == 0) return tf::OkStatus();
    return tf::errors::Internal("pyronn-layers: CUDA: ", pyronn_cuda_error(error));
  }

  Operator which_;
};

REGISTER_KERNEL_BUILDER(Name("PyronnLayersConeBeam")
                            .Device(tf::DEVICE_GPU)
                            .HostMemory("shape")
                            .HostMemory("volume_origin")
                            .HostMemory("volume_spacing")
                            .HostMemory("projection_matrices")
                            .HostMemory("projection_multiplier"),
                        ConeBeamGpu);

}  // namespace
}  // namespace pyronn_layers
