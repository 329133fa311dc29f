// The cone-beam ops for TensorFlow, and their kernels for the CPU.

#include "cone_beam.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tf_arguments.h"
#include "tf_inputs.h"
#include "tf_workers.h"

namespace pyronn_layers {
namespace {

namespace tf = tensorflow;

tf::Status output_shape(tf::shape_inference::InferenceContext* c) {
  tf::shape_inference::ShapeHandle values, rest;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(kValues), 4, &values));
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(kShape, &rest));
  TF_RETURN_IF_ERROR(c->Concatenate(c->Vector(c->Dim(values, 0)), rest, &rest));
  c->set_output(0, rest);
  return tf::OkStatus();
}

REGISTER_OP("PyronnLayersConeBeam")
    .Attr("operator: {'projection', 'projection_adjoint', 'backprojection', 'backprojection_adjoint'}")
    .Attr("path: {'auto', 'any'} = 'auto'")
    .Attr("instruction_set: {'auto', 'portable', 'avx2', 'avx512'} = 'auto'")
    .Input("values: float")
    .Input("shape: int64")
    .Input("volume_origin: double")
    .Input("volume_spacing: double")
    .Input("projection_matrices: double")
    .Input("projection_multiplier: double")
    .Output("result: float")
    .SetShapeFn(output_shape)
    .Doc("Cone-beam projection, Feldkamp's back-projection, and their transposes. See the Python functions.");

REGISTER_OP("PyronnLayersConeGeometryCheck")
    .Input("volume_shape: int64")
    .Input("detector_shape: int64")
    .Input("volume_origin: double")
    .Input("volume_spacing: double")
    .Input("projection_matrices: double")
    .Output("separable: bool")
    .Output("warning: string")
    .Doc("Fails if a geometry is invalid; whether it takes the separable path, and what is worth a warning.");

class ConeBeamCpu : public tf::OpKernel {
 public:
  explicit ConeBeamCpu(tf::OpKernelConstruction* construction) : OpKernel(construction) {
    std::string path;
    OP_REQUIRES_OK(construction, read_operator(construction, &which_));
    OP_REQUIRES_OK(construction, construction->GetAttr("path", &path));
    any_path_ = path == "any";
    OP_REQUIRES_OK(construction, read_kernels(construction, &kernels_));
  }

  void Compute(tf::OpKernelContext* context) override {
    std::vector<Group> groups;
    tf::Tensor* output = nullptr;
    OP_REQUIRES_OK(context, read_arguments(context, which_, &groups, &output));
    const tf::Tensor& values = context->input(kValues);
    const int64_t in = values.NumElements() / values.dim_size(0), out = output->NumElements() / values.dim_size(0);
    run_on_pool(context, [&](const Workers& workers) {
      for (const Group& group : groups) {
        const bool separable = group.geometry.separable && !any_path_;
        const Setting setting = {group.geometry, *kernels_, separable, workers};
        const float* from = values.flat<float>().data() + group.first * in;
        float* const to = output->flat<float>().data() + group.first * out;
        apply(which_, setting, group.multiplier, from, group.last - group.first, to);
      }
    });
  }

 private:
  Operator which_;
  bool any_path_;
  const Kernels* kernels_;
};

REGISTER_KERNEL_BUILDER(Name("PyronnLayersConeBeam").Device(tf::DEVICE_CPU), ConeBeamCpu);

class ConeGeometryCheck : public tf::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(tf::OpKernelContext* context) override {
    const tf::Tensor &volume = context->input(0), &detector = context->input(1), &matrices = context->input(4);
    OP_REQUIRES(context, volume.NumElements() == 3,
                tf::errors::InvalidArgument("volume_shape: found ", volume.NumElements(), " numbers; expected 3"));
    OP_REQUIRES(context, detector.NumElements() == 2,
                tf::errors::InvalidArgument("detector_shape: found ", detector.NumElements(), " numbers; expected 2"));
    ConeArguments arguments = {};
    for (int k = 0; k < 3; k++) {
      arguments.volume_shape[k] = volume.flat<int64_t>()(k);
      arguments.volume_origin[k] = context->input(2).flat<double>()(k);
      arguments.volume_spacing[k] = context->input(3).flat<double>()(k);
    }
    for (int k = 0; k < 2; k++) arguments.detector_shape[k] = detector.flat<int64_t>()(k);
    arguments.projection_matrices = matrices.flat<double>().data();
    arguments.views = matrices.dim_size(0);
    ConeGeometry geometry;
    const std::string wrong = parse_geometry(arguments, &geometry);
    OP_REQUIRES(context, wrong.empty(), tf::errors::InvalidArgument(wrong));
    tf::Tensor *separable = nullptr, *warning = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &separable));
    OP_REQUIRES_OK(context, context->allocate_output(1, {}, &warning));
    separable->scalar<bool>()() = geometry.separable;
    warning->scalar<tf::tstring>()() = truncation(geometry);
  }
};

REGISTER_KERNEL_BUILDER(Name("PyronnLayersConeGeometryCheck").Device(tf::DEVICE_CPU), ConeGeometryCheck);

}  // namespace
}  // namespace pyronn_layers
