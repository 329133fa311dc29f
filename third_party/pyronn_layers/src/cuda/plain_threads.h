// Threads for the CPU's operators where there is no TensorFlow to lend any.
#pragma once

#include <algorithm>
#include <thread>
#include <vector>

#include "workers.h"

namespace pyronn_layers {

inline Workers plain_threads(int count) {
  return {count, [count](int64_t total, int64_t, const std::function<void(int64_t, int64_t)>& work) {
            const int64_t parts = std::min<int64_t>(count, total);
            std::vector<std::thread> threads;
            for (int64_t k = 1; k < parts; k++) {
              threads.emplace_back([&, k] { work(k * total / parts, (k + 1) * total / parts); });
            }
            if (parts > 0) work(0, total / parts);
            for (std::thread& thread : threads) thread.join();
          }};
}

}  // namespace pyronn_layers
