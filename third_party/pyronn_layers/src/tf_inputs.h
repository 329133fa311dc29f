// How the TensorFlow kernels read attributes and geometry inputs.
#pragma once

#include <utility>
#include <vector>

#include "operator.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace pyronn_layers {

tensorflow::Status read_operator(tensorflow::OpKernelConstruction* construction, Operator* which);

// Checks that a geometry input has the given rank, or one more for the batch, and that many entries.
tensorflow::Status check_input(const tensorflow::Tensor& tensor, const char* name, int rank, int64_t batch);

// Checks the last dimension of a geometry input.
tensorflow::Status check_length(const tensorflow::Tensor& tensor, const char* name, int64_t length);

// The numbers of a geometry input of the given rank that an entry of the batch has.
const double* entry_of(const tensorflow::Tensor& tensor, int rank, int64_t entry);

// All that an entry of the batch is given by the inputs, each with its rank, to be compared with its neighbour's.
std::vector<double> numbers_of(tensorflow::OpKernelContext* context, const std::vector<std::pair<int, int>>& inputs,
                               int64_t entry);

}  // namespace pyronn_layers
