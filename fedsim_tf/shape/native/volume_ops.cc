// The TensorFlow operators that make volumes from surfaces, and their kernels.
#include <algorithm>
#include <utility>

#include "kernel.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/mutex.h"

namespace fedsim_tf {
namespace {

using tf::shape_inference::InferenceContext;
using tf::shape_inference::ShapeHandle;

constexpr int64_t kTasksPerThread = 4;

tf::Status volume_shape(InferenceContext* c) {
  std::vector<int32_t> shape;
  TF_RETURN_IF_ERROR(c->GetAttr("grid_shape", &shape));
  ShapeHandle volume = c->MakeShape({c->Dim(c->input(0), 0), shape[0], shape[1], shape[2]});
  std::vector<int32_t> channels;
  TF_RETURN_IF_ERROR(c->GetAttr("channels", &channels));
  if (!channels.empty())
    TF_RETURN_IF_ERROR(c->Concatenate(volume, c->Vector(static_cast<int64_t>(channels.size())), &volume));
  c->set_output(0, volume);
  return tf::OkStatus();
}

REGISTER_OP("FedsimTfOccupancy")
    .Attr("grid_shape: list(int) = []")
    .Attr("rows_per_voxel: int >= 1")
    .Attr("channels: list(int) = []")
    .Input("points: float")
    .Input("faces: int32")
    .Input("rank: int32")
    .Output("volume: float")
    .SetShapeFn(volume_shape)
    .Doc("Fractions (meshes, z, y, x[, channels]) of voxels inside closed surfaces: their union, or each region.");

class VolumeKernel : public SurfaceKernel {
 public:
  explicit VolumeKernel(tf::OpKernelConstruction* construction) : SurfaceKernel(construction) {
    std::vector<int64_t> shape;
    OP_REQUIRES_OK(construction, construction->GetAttr("grid_shape", &shape));
    OP_REQUIRES(construction, shape.size() == 3, InvalidArgument("grid_shape: expected three numbers of voxels"));
    OP_REQUIRES_OK(construction, make_grid(shape[2], shape[1], shape[0], &grid_));
  }

 protected:
  // Finds the shape (meshes, z, y, x[, channels]) of the volumes of all meshes.
  tf::Status shape_of(tf::OpKernelContext* context, tf::TensorShape* shape) const {
    TF_RETURN_IF_ERROR(check_points(context->input(0), 3, "(meshes, 3, vertices)"));
    *shape = tf::TensorShape({context->input(0).dim_size(0), grid_.size[2], grid_.size[1], grid_.size[0]});
    if (by_region_) shape->AddDim(kMostRegions);
    return tf::OkStatus();
  }

  // Calls fill(view, faces, mesh, first_z, last_z, rows) for the slices of every mesh, and with null instead of a view
  // where a point is not finite. Faces have fewer than `ranks` ranks.
  template <typename Fill>
  void fill_slices(tf::OpKernelContext* context, int64_t ranks, const Fill& fill) const {
    const tf::Tensor& points = context->input(0);
    const int64_t meshes = points.dim_size(0), vertices = points.dim_size(2);
    Faces faces;
    OP_REQUIRES_OK(context, read_faces(context->input(1), context->input(2), ranks, vertices, &faces));
    std::vector<View> views(meshes);
    std::vector<uint8_t> finite(meshes);
    share(context, meshes, 10 * vertices, [&](int64_t first, int64_t last) {
      for (int64_t mesh = first; mesh < last; mesh++)
        finite[mesh] = look_along(points.flat<float>().data() + mesh * 3 * vertices, vertices, 0, grid_, &views[mesh]);
    });
    const int64_t threads = context->device()->tensorflow_cpu_worker_threads()->num_threads;
    const int64_t parts =
        std::min(grid_.size[2], std::max(kTasksPerThread * threads / std::max(meshes, int64_t{1}), int64_t{1}));
    const int64_t cost = (scanning_cost(faces) + grid_.voxels()) / parts;
    share(context, meshes * parts, cost, [&](int64_t first, int64_t last) {
      Rows rows;
      for (int64_t task = first; task < last; task++) {
        const int64_t mesh = task / parts, part = task % parts;
        const int64_t first_z = grid_.size[2] * part / parts, last_z = grid_.size[2] * (part + 1) / parts;
        fill(finite[mesh] ? &views[mesh] : nullptr, faces, mesh, first_z, last_z, &rows);
      }
    });
  }

  GridShape grid_;
};

// Volumes are mostly zero, and to get fresh memory and clear it would take several times as long as to voxelize into
// it. So the kernel keeps its last volumes, and where nobody else holds them any more, the next ones take their place:
// then only what was not zero is cleared.
class OccupancyKernel : public VolumeKernel {
 public:
  using VolumeKernel::VolumeKernel;

  void Compute(tf::OpKernelContext* context) override {
    tf::TensorShape shape;
    OP_REQUIRES_OK(context, shape_of(context, &shape));
    Volumes volumes = take();
    if (volumes.values.shape() != shape || !volumes.values.RefCountIsOne()) {
      OP_REQUIRES_OK(context, context->allocate_temp(tf::DT_FLOAT, shape, &volumes.values));
      const Span whole = {0, static_cast<int32_t>(grid_.size[0])};
      volumes.spans.assign(shape.dim_size(0) * grid_.size[2] * grid_.size[1], whole);
    }
    float* const values = volumes.values.flat<float>().data();
    const int64_t lines = grid_.size[1] * grid_.size[2], voxels = grid_.voxels() * ranks();
    with_channels([&](auto channels) {
      fill_slices(context, ranks(), [&](const View* view, const Faces& faces, int64_t mesh, int64_t first_z,
                                        int64_t last_z, Rows* rows) {
        fill<channels>(view, faces, first_z, last_z, rows, values + mesh * voxels, volumes.spans.data() + mesh * lines);
      });
    });
    if (!context->status().ok()) return;
    context->set_output(0, volumes.values);
    keep(std::move(volumes));
  }

 private:
  struct Volumes {
    tf::Tensor values;
    std::vector<Span> spans;  // (meshes, z, y)
  };

  template <int kChannels>
  void fill(const View* view, const Faces& faces, int64_t first_z, int64_t last_z, Rows* rows, float* volume,
            Span* spans) const {
    if (view) {
      fill_occupancy<kChannels>(*view, faces, channels_, grid_, first_z, last_z, rows, volume, spans);
      return;
    }
    const int64_t ny = grid_.size[1], nx = grid_.size[0], line = nx * kChannels;
    std::fill(volume + first_z * ny * line, volume + last_z * ny * line, kNotANumber);
    std::fill(spans + first_z * ny, spans + last_z * ny, Span{0, static_cast<int32_t>(nx)});
  }

  // Steps may run at once: who takes the volumes has them alone.
  Volumes take() {
    tf::mutex_lock lock(mutex_);
    return std::exchange(kept_, {});
  }

  void keep(Volumes volumes) {
    tf::mutex_lock lock(mutex_);
    kept_ = std::move(volumes);
  }

  tf::mutex mutex_;
  Volumes kept_;
};

REGISTER_KERNEL_BUILDER(Name("FedsimTfOccupancy").Device(tf::DEVICE_CPU), OccupancyKernel);

}  // namespace
}  // namespace fedsim_tf
