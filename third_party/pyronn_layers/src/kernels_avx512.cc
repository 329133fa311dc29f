#define PYRONN_LAYERS_WIDTH 16
#define PYRONN_LAYERS_NAME "avx512"
#define PYRONN_LAYERS_KERNELS kAvx512Kernels
#include "kernels.inc"
