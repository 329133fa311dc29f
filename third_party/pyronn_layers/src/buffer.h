// Aligned scratch memory.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace pyronn_layers {

class Buffer {
 public:
  // Allocates `floats` floats and 64 more, not initialised.
  explicit Buffer(int64_t floats) : size_(floats + 64) {
    const size_t bytes = (static_cast<size_t>(size_) * sizeof(float) + 63) / 64 * 64;
    data_ = static_cast<float*>(std::aligned_alloc(64, bytes));
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(data_ + floats, 0, 64 * sizeof(float));
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  float* data() { return data_; }
  void zero() { std::memset(data_, 0, static_cast<size_t>(size_) * sizeof(float)); }

 private:
  int64_t size_;
  float* data_;
};

}  // namespace pyronn_layers
