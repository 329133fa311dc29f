// TensorFlow's threads and the processor's kernels, as the CPU operators take them.
#pragma once

#include <functional>

#include "kernels.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "workers.h"

namespace pyronn_layers {

// Reads the attribute `instruction_set`.
tensorflow::Status read_kernels(tensorflow::OpKernelConstruction* construction, const Kernels** kernels);

// Calls `work` with the threads of the context's device; too little memory becomes the context's status.
void run_on_pool(tensorflow::OpKernelContext* context, const std::function<void(const Workers&)>& work);

}  // namespace pyronn_layers
