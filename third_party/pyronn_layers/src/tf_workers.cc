#include "tf_workers.h"

#include <atomic>
#include <new>
#include <string>

#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/util/work_sharder.h"

namespace pyronn_layers {

namespace tf = tensorflow;

tf::Status read_kernels(tf::OpKernelConstruction* construction, const Kernels** kernels) {
  std::string instruction_set;
  TF_RETURN_IF_ERROR(construction->GetAttr("instruction_set", &instruction_set));
  *kernels = find_kernels(instruction_set.c_str());
  if (*kernels != nullptr) return tf::OkStatus();
  return tf::errors::InvalidArgument("instruction_set: found ", instruction_set,
                                     "; expected one that this processor has");
}

void run_on_pool(tf::OpKernelContext* context, const std::function<void(const Workers&)>& work) {
  const auto& pool = *context->device()->tensorflow_cpu_worker_threads();
  std::atomic<bool> exhausted{false};  // an exception that leaves one of the pool's threads would end the process
  const Workers workers = {pool.num_threads, [&](int64_t total, int64_t cost, const auto& part) {
                             tf::Shard(pool.num_threads, pool.workers, total, cost, [&](int64_t first, int64_t last) {
                               try {
                                 part(first, last);
                               } catch (const std::bad_alloc&) {
                                 exhausted = true;
                               }
                             });
                             if (exhausted) throw std::bad_alloc();
                           }};
  try {
    work(workers);
  } catch (const std::bad_alloc&) {
    context->SetStatus(
        tf::errors::ResourceExhausted("pyronn-layers: found too little memory for the operator's copies"));
  }
}

}  // namespace pyronn_layers
