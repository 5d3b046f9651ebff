// The kernels for one storage type; STORAGE is given to the compiler.
#include "shim.h"
namespace {
#include "../kernels/common.cuh"
#include "../kernels/product.cuh"
#include "../kernels/weight.cuh"
#include "../kernels/depthwise.cuh"
#include "../kernels/norm.cuh"
#include "../kernels/map.cuh"
#include "../kernels/layer_norm.cuh"
#include "../kernels/attention.cuh"
#include "../kernels/optimizer.cuh"
}
