#include "tf_arguments.h"

#include <cmath>
#include <cstring>

#include "tensorflow/core/platform/errors.h"
#include "tf_inputs.h"

namespace pyronn_layers {

namespace tf = tensorflow;

namespace {

tf::Status check_shapes(tf::OpKernelContext* context, Operator which, int64_t batch) {
  const tf::Tensor &shape = context->input(kShape), &matrices = context->input(kMatrices);
  if (shape.dims() != 1 || shape.dim_size(0) != 3) {
    return tf::errors::InvalidArgument(takes_volumes(which) ? "projection_shape" : "volume_shape", ": found shape ",
                                       shape.shape().DebugString(), "; expected three numbers");
  }
  TF_RETURN_IF_ERROR(check_input(context->input(kOrigin), "volume_origin", 1, batch));
  TF_RETURN_IF_ERROR(check_length(context->input(kOrigin), "volume_origin", 3));
  TF_RETURN_IF_ERROR(check_input(context->input(kSpacing), "volume_spacing", 1, batch));
  TF_RETURN_IF_ERROR(check_length(context->input(kSpacing), "volume_spacing", 3));
  TF_RETURN_IF_ERROR(check_input(matrices, "projection_matrices", 3, batch));
  if (matrices.dim_size(matrices.dims() - 2) != 3 || matrices.dim_size(matrices.dims() - 1) != 4) {
    return tf::errors::InvalidArgument("projection_matrices: found shape ", matrices.shape().DebugString(),
                                       "; expected (views, 3, 4)");
  }
  return check_input(context->input(kMultiplier), "projection_multiplier", 0, batch);
}

}  // namespace

tf::Status read_arguments(tf::OpKernelContext* context, Operator which, std::vector<Group>* groups,
                          tf::Tensor** output) {
  const tf::Tensor& values = context->input(kValues);
  const bool volumes = takes_volumes(which);
  const char* const name = volumes ? "volume" : "sinogram";
  if (values.dims() != 4 || values.NumElements() == 0) {
    return tf::errors::InvalidArgument(name, ": found shape ", values.shape().DebugString(), "; expected ",
                                       volumes ? "(batch, z, y, x)" : "(batch, views, rows, columns)",
                                       ", none of them 0");
  }
  const int64_t batch = values.dim_size(0);
  TF_RETURN_IF_ERROR(check_shapes(context, which, batch));
  const auto shape = context->input(kShape).flat<int64_t>();
  const tf::Tensor& matrices = context->input(kMatrices);
  const int64_t views = matrices.dim_size(matrices.dims() - 3);
  const int64_t found_views = volumes ? shape(0) : values.dim_size(1);
  if (found_views != views) {
    return tf::errors::InvalidArgument(volumes ? "projection_shape" : "sinogram", ": found ", found_views,
                                       " views; expected ", views, ", as projection_matrices");
  }
  ConeArguments arguments = {};
  for (int k = 0; k < 3; k++) arguments.volume_shape[k] = volumes ? values.dim_size(1 + k) : shape(k);
  for (int k = 0; k < 2; k++) arguments.detector_shape[k] = volumes ? shape(1 + k) : values.dim_size(2 + k);
  arguments.views = views;
  std::vector<double> last;
  for (int64_t entry = 0; entry < batch; entry++) {
    std::vector<double> numbers =
        numbers_of(context, {{kOrigin, 1}, {kSpacing, 1}, {kMatrices, 3}, {kMultiplier, 0}}, entry);
    if (entry > 0 && std::memcmp(numbers.data(), last.data(), numbers.size() * sizeof(double)) == 0) {
      groups->back().last = entry + 1;
      continue;
    }
    std::memcpy(arguments.volume_origin, entry_of(context->input(kOrigin), 1, entry), 3 * sizeof(double));
    std::memcpy(arguments.volume_spacing, entry_of(context->input(kSpacing), 1, entry), 3 * sizeof(double));
    arguments.projection_matrices = entry_of(matrices, 3, entry);
    groups->push_back({{}, *entry_of(context->input(kMultiplier), 0, entry), entry, entry + 1});
    const std::string wrong = parse_geometry(arguments, &groups->back().geometry);
    if (!wrong.empty()) return tf::errors::InvalidArgument(wrong);
    if (!std::isfinite(groups->back().multiplier)) {
      return tf::errors::InvalidArgument("projection_multiplier: found NaN or infinity; expected a finite value");
    }
    last = std::move(numbers);
  }
  return context->allocate_output(0, {batch, shape(0), shape(1), shape(2)}, output);
}

}  // namespace pyronn_layers
