#include "tf_planar_arguments.h"

#include <algorithm>
#include <string>

#include "tensorflow/core/platform/errors.h"
#include "tf_inputs.h"

namespace pyronn_layers {

namespace tf = tensorflow;

namespace {

struct GeometryInput {
  int input, rank;
  const char* name;
};

std::vector<GeometryInput> geometry_inputs(bool fan) {
  return {{kPlanarOrigin, 1, "volume_origin"},
          {kDetectorOrigin, 1, "detector_origin"},
          {kPlanarSpacing, 1, "volume_spacing"},
          {kDetectorSpacing, 1, "detector_spacing"},
          {kSourceIsocenter, 0, "source_2_isocenter_distance"},
          {kSourceDetector, 0, "source_2_detector_distance"},
          {kRays, 2, fan ? "central_ray_vectors" : "ray_vectors"}};
}

const char* shape_name(Operator which) { return takes_volumes(which) ? "projection_shape" : "volume_shape"; }

tf::Status check_shapes(tf::OpKernelContext* context, Operator which, bool fan, int64_t batch) {
  const tf::Tensor &shape = context->input(kPlanarShape), &rays = context->input(kRays);
  if (shape.dims() != 1 || shape.dim_size(0) != 2) {
    return tf::errors::InvalidArgument(shape_name(which), ": found shape ", shape.shape().DebugString(),
                                       "; expected two numbers");
  }
  for (const GeometryInput& each : geometry_inputs(fan)) {
    TF_RETURN_IF_ERROR(check_input(context->input(each.input), each.name, each.rank, batch));
  }
  TF_RETURN_IF_ERROR(check_length(context->input(kPlanarOrigin), "volume_origin", 2));
  TF_RETURN_IF_ERROR(check_length(context->input(kPlanarSpacing), "volume_spacing", 2));
  TF_RETURN_IF_ERROR(check_length(context->input(kDetectorOrigin), "detector_origin", 1));
  TF_RETURN_IF_ERROR(check_length(context->input(kDetectorSpacing), "detector_spacing", 1));
  return check_length(rays, fan ? "central_ray_vectors" : "ray_vectors", 2);
}

PlanarArguments arguments_of(tf::OpKernelContext* context, bool fan, int64_t entry) {
  PlanarArguments a = {};
  const auto numbers = [&](int input, int rank) { return entry_of(context->input(input), rank, entry); };
  std::copy_n(numbers(kPlanarOrigin, 1), 2, a.volume_origin);
  std::copy_n(numbers(kPlanarSpacing, 1), 2, a.volume_spacing);
  a.detector_origin = *numbers(kDetectorOrigin, 1);
  a.detector_spacing = *numbers(kDetectorSpacing, 1);
  a.fan = fan;
  a.source_isocenter = *numbers(kSourceIsocenter, 0);
  a.source_detector = *numbers(kSourceDetector, 0);
  a.rays = numbers(kRays, 2);
  return a;
}

}  // namespace

tf::Status read_beam(tf::OpKernelConstruction* construction, bool* fan) {
  std::string beam;
  TF_RETURN_IF_ERROR(construction->GetAttr("beam", &beam));
  *fan = beam == "fan";
  return tf::OkStatus();
}

tf::Status read_planar_arguments(tf::OpKernelContext* context, Operator which, bool fan,
                                 std::vector<PlanarGroup>* groups, tf::Tensor** output) {
  const tf::Tensor& values = context->input(kPlanarValues);
  const bool volumes = takes_volumes(which);
  const char* const name = volumes ? "volume" : "sinogram";
  if (values.dims() != 3 || values.NumElements() == 0) {
    return tf::errors::InvalidArgument(name, ": found shape ", values.shape().DebugString(), "; expected ",
                                       volumes ? "(batch, y, x)" : "(batch, views, columns)", ", none of them 0");
  }
  const int64_t batch = values.dim_size(0);
  TF_RETURN_IF_ERROR(check_shapes(context, which, fan, batch));
  const auto shape = context->input(kPlanarShape).flat<int64_t>();
  const tf::Tensor& rays = context->input(kRays);
  const int64_t views = rays.dim_size(rays.dims() - 2), found_views = volumes ? shape(0) : values.dim_size(1);
  if (found_views != views) {
    return tf::errors::InvalidArgument(volumes ? "projection_shape" : "sinogram", ": found ", found_views,
                                       " views; expected ", views, ", as ",
                                       fan ? "central_ray_vectors" : "ray_vectors");
  }
  std::vector<std::pair<int, int>> inputs;
  for (const GeometryInput& each : geometry_inputs(fan)) inputs.emplace_back(each.input, each.rank);
  std::vector<double> last;
  for (int64_t entry = 0; entry < batch; entry++) {
    std::vector<double> numbers = numbers_of(context, inputs, entry);
    if (entry > 0 && numbers == last) {
      groups->back().last = entry + 1;
      continue;
    }
    PlanarArguments arguments = arguments_of(context, fan, entry);
    for (int k = 0; k < 2; k++) arguments.image_shape[k] = volumes ? values.dim_size(1 + k) : shape(k);
    arguments.columns = volumes ? shape(1) : values.dim_size(2);
    arguments.views = views;
    groups->push_back({{}, entry, entry + 1});
    const std::string wrong = parse_planar_geometry(arguments, &groups->back().geometry);
    if (!wrong.empty()) return tf::errors::InvalidArgument(wrong);
    last = std::move(numbers);
  }
  return context->allocate_output(0, {batch, shape(0), shape(1)}, output);
}

}  // namespace pyronn_layers
