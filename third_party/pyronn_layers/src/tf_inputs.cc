#include "tf_inputs.h"

#include <string>

#include "tensorflow/core/platform/errors.h"

namespace pyronn_layers {

namespace tf = tensorflow;

tf::Status read_operator(tf::OpKernelConstruction* construction, Operator* which) {
  std::string name;
  TF_RETURN_IF_ERROR(construction->GetAttr("operator", &name));
  const char* const names[] = {"projection", "projection_adjoint", "backprojection", "backprojection_adjoint"};
  for (int k = 0; k < 4; k++) {
    if (name == names[k]) *which = static_cast<Operator>(k);
  }
  return tf::OkStatus();
}

tf::Status check_input(const tf::Tensor& tensor, const char* name, int rank, int64_t batch) {
  const bool batched = tensor.dims() == rank + 1;
  if (tensor.dims() != rank && !batched) {
    return tf::errors::InvalidArgument(name, ": found shape ", tensor.shape().DebugString(), "; expected ", rank,
                                       " dimensions, or one more for the batch");
  }
  if (batched && tensor.dim_size(0) != batch) {
    return tf::errors::InvalidArgument(name, ": found ", tensor.dim_size(0), " entries; expected ", batch,
                                       ", as in the batch");
  }
  return tf::OkStatus();
}

tf::Status check_length(const tf::Tensor& tensor, const char* name, int64_t length) {
  if (tensor.dim_size(tensor.dims() - 1) == length) return tf::OkStatus();
  return tf::errors::InvalidArgument(name, ": found shape ", tensor.shape().DebugString(), "; expected ", length,
                                     " numbers");
}

const double* entry_of(const tf::Tensor& tensor, int rank, int64_t entry) {
  const bool batched = tensor.dims() == rank + 1;
  return tensor.flat<double>().data() + (batched ? entry * (tensor.NumElements() / tensor.dim_size(0)) : 0);
}

std::vector<double> numbers_of(tf::OpKernelContext* context, const std::vector<std::pair<int, int>>& inputs,
                               int64_t entry) {
  std::vector<double> numbers;
  for (const auto& [input, rank] : inputs) {
    const tf::Tensor& tensor = context->input(input);
    const double* from = entry_of(tensor, rank, entry);
    const int64_t count = tensor.NumElements() / (tensor.dims() == rank + 1 ? tensor.dim_size(0) : 1);
    numbers.insert(numbers.end(), from, from + count);
  }
  return numbers;
}

}  // namespace pyronn_layers
