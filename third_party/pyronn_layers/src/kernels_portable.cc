#define PYRONN_LAYERS_WIDTH 16
#define PYRONN_LAYERS_NAME "portable"
#define PYRONN_LAYERS_KERNELS kPortableKernels
#include "kernels.inc"
