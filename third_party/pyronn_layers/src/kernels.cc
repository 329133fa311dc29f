#include "kernels.h"

#include <cstring>

namespace pyronn_layers {
namespace {

bool supported(const Kernels& kernels) {
#if defined(PYRONN_LAYERS_X86)
  __builtin_cpu_init();
  if (&kernels == &kAvx2Kernels) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (&kernels == &kAvx512Kernels) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
#endif
  return &kernels == &kPortableKernels;
}

}  // namespace

const Kernels* find_kernels(const char* instruction_set) {
  const bool any = std::strcmp(instruction_set, "auto") == 0;
#if defined(PYRONN_LAYERS_X86)
  for (const Kernels* kernels : {&kAvx512Kernels, &kAvx2Kernels}) {
    if ((any || std::strcmp(instruction_set, kernels->name) == 0) && supported(*kernels)) return kernels;
  }
#endif
  return any || std::strcmp(instruction_set, "portable") == 0 ? &kPortableKernels : nullptr;
}

SeparableView separable_view(const ConeGeometry& g, const ConeView& view) {
  SeparableView s;
  s.flipped = view.matrix[1][2] < 0;
  for (int a = 0; a < 4; a++) {
    s.matrix[0][a] = view.matrix[0][a];
    s.matrix[2][a] = view.matrix[2][a];
    s.matrix[1][a] = s.flipped ? (g.rows - 1) * view.matrix[2][a] - view.matrix[1][a] : view.matrix[1][a];
  }
  for (int a = 0; a < 3; a++) s.source[a] = view.source[a];
  const auto& m = s.matrix;
  const double determinant = m[0][0] * m[2][1] - m[0][1] * m[2][0];
  s.direction[0][0] = m[2][1] / determinant;
  s.direction[0][1] = -m[0][1] / determinant;
  s.direction[1][0] = -m[2][0] / determinant;
  s.direction[1][1] = m[0][0] / determinant;
  return s;
}

}  // namespace pyronn_layers
