// The ops of beams in the plane for TensorFlow, and their kernels for the CPU.
#include "planar_beam.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tf_inputs.h"
#include "tf_planar_arguments.h"
#include "tf_workers.h"

namespace pyronn_layers {
namespace {

namespace tf = tensorflow;

tf::Status output_shape(tf::shape_inference::InferenceContext* c) {
  tf::shape_inference::ShapeHandle values, rest;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(kPlanarValues), 3, &values));
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(kPlanarShape, &rest));
  TF_RETURN_IF_ERROR(c->Concatenate(c->Vector(c->Dim(values, 0)), rest, &rest));
  c->set_output(0, rest);
  return tf::OkStatus();
}

REGISTER_OP("PyronnLayersPlanarBeam")
    .Attr("operator: {'projection', 'projection_adjoint', 'backprojection', 'backprojection_adjoint'}")
    .Attr("beam: {'parallel', 'fan'}")
    .Attr("instruction_set: {'auto', 'portable', 'avx2', 'avx512'} = 'auto'")
    .Input("values: float")
    .Input("shape: int64")
    .Input("volume_origin: double")
    .Input("detector_origin: double")
    .Input("volume_spacing: double")
    .Input("detector_spacing: double")
    .Input("source_2_isocenter_distance: double")
    .Input("source_2_detector_distance: double")
    .Input("ray_vectors: double")
    .Output("result: float")
    .SetShapeFn(output_shape)
    .Doc("Parallel- and fan-beam projection and back-projection, and their transposes. See the Python functions.");

REGISTER_OP("PyronnLayersPlanarGeometryCheck")
    .Attr("beam: {'parallel', 'fan'}")
    .Input("volume_shape: int64")
    .Input("columns: int64")
    .Input("lengths: double")
    .Input("ray_vectors: double")
    .Output("warning: string")
    .Doc("Fails if a geometry is invalid; what is worth a warning. Lengths: in the order of PyronnLayersPlanarBeam.");

class PlanarBeamCpu : public tf::OpKernel {
 public:
  explicit PlanarBeamCpu(tf::OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, read_operator(construction, &which_));
    OP_REQUIRES_OK(construction, read_beam(construction, &fan_));
    OP_REQUIRES_OK(construction, read_kernels(construction, &kernels_));
  }

  void Compute(tf::OpKernelContext* context) override {
    std::vector<PlanarGroup> groups;
    tf::Tensor* output = nullptr;
    OP_REQUIRES_OK(context, read_planar_arguments(context, which_, fan_, &groups, &output));
    const tf::Tensor& values = context->input(kPlanarValues);
    const int64_t in = values.NumElements() / values.dim_size(0), out = output->NumElements() / values.dim_size(0);
    run_on_pool(context, [&](const Workers& workers) {
      for (const PlanarGroup& group : groups) {
        const float* from = values.flat<float>().data() + group.first * in;
        float* const to = output->flat<float>().data() + group.first * out;
        apply_planar(which_, {group.geometry, *kernels_, workers}, from, group.last - group.first, to);
      }
    });
  }

 private:
  Operator which_;
  bool fan_;
  const Kernels* kernels_;
};

REGISTER_KERNEL_BUILDER(Name("PyronnLayersPlanarBeam").Device(tf::DEVICE_CPU), PlanarBeamCpu);

class PlanarGeometryCheck : public tf::OpKernel {
 public:
  explicit PlanarGeometryCheck(tf::OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, read_beam(construction, &fan_));
  }

  void Compute(tf::OpKernelContext* context) override {
    const tf::Tensor &image = context->input(0), &columns = context->input(1), &given = context->input(2);
    OP_REQUIRES(context, image.NumElements() == 2 && columns.NumElements() == 1 && given.NumElements() == 8,
                tf::errors::InvalidArgument("PyronnLayersPlanarGeometryCheck: expected 2, 1 and 8 numbers"));
    const double* lengths = given.flat<double>().data();
    const PlanarArguments arguments = {{image.flat<int64_t>()(0), image.flat<int64_t>()(1)},
                                       columns.flat<int64_t>()(0),
                                       {lengths[0], lengths[1]},
                                       {lengths[3], lengths[4]},
                                       lengths[2],
                                       lengths[5],
                                       fan_,
                                       lengths[6],
                                       lengths[7],
                                       context->input(3).flat<double>().data(),
                                       context->input(3).dim_size(0)};
    PlanarGeometry geometry;
    const std::string wrong = parse_planar_geometry(arguments, &geometry);
    OP_REQUIRES(context, wrong.empty(), tf::errors::InvalidArgument(wrong));
    tf::Tensor* warning = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {}, &warning));
    warning->scalar<tf::tstring>()() = planar_truncation(geometry);
  }

 private:
  bool fan_;
};

REGISTER_KERNEL_BUILDER(Name("PyronnLayersPlanarGeometryCheck").Device(tf::DEVICE_CPU), PlanarGeometryCheck);

}  // namespace
}  // namespace pyronn_layers
