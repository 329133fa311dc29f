#define PYRONN_LAYERS_WIDTH 8
#define PYRONN_LAYERS_NAME "avx2"
#define PYRONN_LAYERS_KERNELS kAvx2Kernels
#include "kernels.inc"
