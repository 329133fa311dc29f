// The threads that do the work of an operator.
#pragma once

#include <cstdint>
#include <functional>

namespace pyronn_layers {

// `run` calls its last argument with ranges that make up [0, total), each of whose units takes about `cost` cycles, and
// returns when all is done.
struct Workers {
  int threads;
  std::function<void(int64_t total, int64_t cost, const std::function<void(int64_t, int64_t)>&)> run;
};

}  // namespace pyronn_layers
