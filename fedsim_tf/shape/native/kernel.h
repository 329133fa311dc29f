// The base of the TensorFlow kernels: it checks arguments and spreads work over TensorFlow's threads.
//
// Points are (meshes, 3, vertices) in voxel coordinates, faces (faces, 3). `rank` (faces) says when each face's region
// is painted. `channels` are the channels of the ranks, along a last axis of volumes; where it is empty, volumes have
// no such axis and hold the union of all regions.
#pragma once

#include <limits>
#include <type_traits>
#include <vector>

#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"
#include "voxels.h"

namespace fedsim_tf {

namespace tf = tensorflow;
using tf::errors::InvalidArgument;

constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();

class SurfaceKernel : public tf::OpKernel {
 public:
  explicit SurfaceKernel(tf::OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("rows_per_voxel", &rows_per_voxel_));
    std::vector<int32_t> channels;
    OP_REQUIRES_OK(construction, construction->GetAttr("channels", &channels));
    by_region_ = !channels.empty();
    if (!by_region_) return;
    OP_REQUIRES(construction, channels.size() == kMostRegions,
                InvalidArgument("channels: found ", channels.size(), "; expected none or ", kMostRegions));
    for (int rank = 0; rank < kMostRegions; rank++) {
      OP_REQUIRES(construction, channels[rank] >= 0 && channels[rank] < kMostRegions,
                  InvalidArgument("channels: found ", channels[rank], "; expected 0 to ", kMostRegions - 1));
      channels_.of_rank[rank] = channels[rank];
    }
  }

 protected:
  tf::Status read_faces(const tf::Tensor& faces, const tf::Tensor& rank, int64_t ranks, int64_t vertices,
                        Faces* result) const {
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max() >> (kRankBits + 1);
    if (faces.dims() != 2 || faces.dim_size(1) != 3 || faces.dim_size(0) > kMost)
      return InvalidArgument("faces: found shape ", faces.shape().DebugString(), "; expected (faces, 3)");
    const auto flat = faces.flat<int32_t>();
    for (int64_t i = 0; i < flat.size(); i++)
      if (flat(i) < 0 || flat(i) >= vertices)
        return InvalidArgument("faces: found vertex ", flat(i), "; expected 0 to ", vertices - 1);
    const auto ranks_of_faces = rank.flat<int32_t>();
    if (ranks_of_faces.size() != faces.dim_size(0))
      return InvalidArgument("rank: found ", ranks_of_faces.size(), " numbers; expected one for each face");
    for (int64_t i = 0; i < ranks_of_faces.size(); i++)
      if (ranks_of_faces(i) < 0 || ranks_of_faces(i) >= ranks)
        return InvalidArgument("rank: found ", ranks_of_faces(i), "; expected 0 to ", ranks - 1);
    *result = {flat.data(), ranks_of_faces.data(), faces.dim_size(0)};
    return tf::OkStatus();
  }

  tf::Status check_points(const tf::Tensor& points, int dims, const char* expected) const {
    if (points.dims() != dims || points.dim_size(dims - 2) != 3)
      return InvalidArgument("points: found shape ", points.shape().DebugString(), "; expected ", expected);
    return tf::OkStatus();
  }

  tf::Status read_grid(const tf::TensorShape& volumes, int64_t expected, GridShape* grid) const {
    const int dims = by_region_ ? 5 : 4;
    if (volumes.dims() != dims || volumes.dim_size(0) != expected ||
        (by_region_ && volumes.dim_size(4) != kMostRegions))
      return InvalidArgument("volumes: found shape ", volumes.DebugString(), "; expected (", expected, ", z, y, x",
                             by_region_ ? ", regions)" : ")");
    return make_grid(volumes.dim_size(3), volumes.dim_size(2), volumes.dim_size(1), grid);
  }

  tf::Status make_grid(int64_t nx, int64_t ny, int64_t nz, GridShape* grid) const {
    *grid = {{nx, ny, nz}, rows_per_voxel_};
    for (int axis = 0; axis < 3; axis++)
      if (grid->size[axis] < 1 || grid->rows(axis) > 16384)
        return InvalidArgument("grid: found ", grid->size[axis], " voxels along an axis; expected 1 to ",
                               16384 / rows_per_voxel_);
    return tf::OkStatus();
  }

  int64_t ranks() const { return by_region_ ? kMostRegions : 1; }

  // Calls work with the number of channels as a constant.
  template <typename Work>
  void with_channels(const Work& work) const {
    if (by_region_) work(std::integral_constant<int, kMostRegions>());
    else work(std::integral_constant<int, 1>());
  }

  template <typename Work>
  void share(tf::OpKernelContext* context, int64_t tasks, int64_t cost, const Work& work) const {
    const auto& pool = *context->device()->tensorflow_cpu_worker_threads();
    tf::Shard(pool.num_threads, pool.workers, tasks, cost, work);
  }

  int64_t rows_per_voxel_;
  bool by_region_;  // whether volumes have a channel for each region
  Channels channels_ = {};
};

// Returns about how many cycles it takes to scan a mesh.
inline int64_t scanning_cost(const Faces& faces) { return 100 * faces.count + 10000; }

}  // namespace fedsim_tf
