// The TensorFlow operators and their kernels. Points are (meshes, 3, vertices) in voxel coordinates, faces (faces, 3).
// `rank` (faces) says when each face's region is painted. `channels` are the channels of the ranks, along a last axis
// of volumes; where it is empty, volumes have no such axis and hold the union of all regions.
#include <atomic>
#include <limits>
#include <type_traits>
#include <utility>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/mutex.h"
#include "tensorflow/core/util/work_sharder.h"
#include "voxels.h"

namespace fedsim_tf {
namespace {

namespace tf = tensorflow;
using tf::errors::InvalidArgument;
using tf::shape_inference::InferenceContext;
using tf::shape_inference::ShapeHandle;

constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kGradientPartsAxis = 4;  // tasks along one axis; fixed, as sums depend on how they are split
constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();

tf::Status volume_shape(InferenceContext* c) {
  std::vector<int32_t> shape;
  TF_RETURN_IF_ERROR(c->GetAttr("grid_shape", &shape));
  ShapeHandle volume = c->MakeShape({c->Dim(c->input(0), 0), shape[0], shape[1], shape[2]});
  std::vector<int32_t> channels;
  if (c->GetAttr("channels", &channels).ok() && !channels.empty())
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

REGISTER_OP("FedsimTfLabelMap")
    .Attr("grid_shape: list(int) = []")
    .Attr("rows_per_voxel: int >= 1")
    .Input("points: float")
    .Input("faces: int32")
    .Input("rank: int32")
    .Input("labels: uint8")
    .Output("volume: uint8")
    .SetShapeFn(volume_shape)
    .Doc("Labels (meshes, z, y, x): each face's region has a rank; labels[rank] is painted in the order of ranks.");

REGISTER_OP("FedsimTfOccupancyProducts")
    .Attr("rows_per_voxel: int >= 1")
    .Attr("channels: list(int) = []")
    .Input("volumes: float")
    .Input("points: float")
    .Input("faces: int32")
    .Input("rank: int32")
    .Output("products: double")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->MakeShape({c->Dim(c->input(1), 0), c->Dim(c->input(1), 1)}));
      return tf::OkStatus();
    })
    .Doc("Inner products (volumes, meshes) of volumes (v, z, y, x[, channels]) with occupancies of points (v, m, 3, vertices).");

REGISTER_OP("FedsimTfOccupancyGradient")
    .Attr("rows_per_voxel: int >= 1")
    .Attr("channels: list(int) = []")
    .Input("volumes: float")
    .Input("points: float")
    .Input("faces: int32")
    .Input("rank: int32")
    .Output("gradient: float")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(1));
      return tf::OkStatus();
    })
    .Doc("Gradient (meshes, 3, vertices) of <volume, occupancy> by the integral over the boundaries of regions.");

// The base of all kernels: it checks arguments and spreads work over TensorFlow's threads.
class SurfaceKernel : public tf::OpKernel {
 public:
  explicit SurfaceKernel(tf::OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("rows_per_voxel", &rows_per_voxel_));
    std::vector<int32_t> channels;
    if (construction->HasAttr("channels")) OP_REQUIRES_OK(construction, construction->GetAttr("channels", &channels));
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
int64_t scanning_cost(const Faces& faces) { return 100 * faces.count + 10000; }

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

class LabelMapKernel : public VolumeKernel {
 public:
  using VolumeKernel::VolumeKernel;

  void Compute(tf::OpKernelContext* context) override {
    const auto flat = context->input(3).flat<uint8_t>();
    OP_REQUIRES(context, flat.size() <= kMostRegions,
                InvalidArgument("labels: found ", flat.size(), "; expected at most ", kMostRegions));
    const std::vector<uint8_t> labels(flat.data(), flat.data() + flat.size());
    tf::TensorShape shape;
    OP_REQUIRES_OK(context, shape_of(context, &shape));
    tf::Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    const int64_t slice = grid_.size[1] * grid_.size[0];
    fill_slices(context, labels.size(), [&](const View* view, const Faces& faces, int64_t mesh, int64_t first_z,
                                            int64_t last_z, Rows* rows) {
      uint8_t* const volume = output->flat<uint8_t>().data() + mesh * grid_.voxels();
      if (view) paint_labels(*view, faces, labels, grid_, first_z, last_z, rows, volume);
      else std::fill(volume + first_z * slice, volume + last_z * slice, uint8_t{0});
    });
  }
};

class ProductsKernel : public SurfaceKernel {
 public:
  using SurfaceKernel::SurfaceKernel;

  void Compute(tf::OpKernelContext* context) override {
    const tf::Tensor &volumes = context->input(0), &points = context->input(1);
    OP_REQUIRES_OK(context, check_points(points, 4, "(volumes, meshes, 3, vertices)"));
    const int64_t count = points.dim_size(0), meshes = points.dim_size(1), vertices = points.dim_size(3);
    GridShape grid;
    Faces faces;
    OP_REQUIRES_OK(context, read_grid(volumes.shape(), count, &grid));
    OP_REQUIRES_OK(context, read_faces(context->input(2), context->input(3), ranks(), vertices, &faces));
    tf::Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, tf::TensorShape({count, meshes}), &output));
    for (int64_t k = 0; k < count; k++) {  // one after the other, to hold the sums of one volume only
      const float* const volume = volumes.flat<float>().data() + k * grid.voxels() * ranks();
      const float* const of = points.flat<float>().data() + k * meshes * 3 * vertices;
      double* const products = output->flat<double>().data() + k * meshes;
      with_channels([&](auto channels) {
        one_volume<channels>(context, volume, of, meshes, vertices, faces, grid, products);
      });
    }
  }

 private:
  // Slices are taken in as many blocks as there are channels, so that the sums held are never more than one volume's.
  template <int kChannels>
  void one_volume(tf::OpKernelContext* context, const float* volume, const float* points, int64_t meshes,
                  int64_t vertices, const Faces& faces, const GridShape& grid, double* products) const {
    std::fill(products, products + meshes, 0.0);
    const int64_t block = (grid.size[2] + kChannels - 1) / kChannels;
    RunningSums<kChannels> sums(grid, channels_, block);
    for (int64_t start = 0; start < grid.size[2]; start += block) {
      const int64_t slices = std::min(block, grid.size[2] - start);
      sums.start(start, start + slices);
      share(context, slices, 3 * kChannels * grid.size[1] * grid.size[0], [&](int64_t first, int64_t last) {
        for (int64_t z = first; z < last; z++) sums.add_slice(volume, start + z);
      });
      sums.finish();
      share(context, meshes, scanning_cost(faces), [&](int64_t first, int64_t last) {
        Rows rows;
        View view;
        for (int64_t mesh = first; mesh < last; mesh++) {
          if (look_along(points + mesh * 3 * vertices, vertices, 0, grid, &view))
            sums.add_product(view, faces, &rows, products + mesh);
          else products[mesh] = kNotANumber;
        }
      });
    }
  }
};

class GradientKernel : public SurfaceKernel {
 public:
  using SurfaceKernel::SurfaceKernel;

  void Compute(tf::OpKernelContext* context) override {
    const tf::Tensor &volumes = context->input(0), &points = context->input(1);
    OP_REQUIRES_OK(context, check_points(points, 3, "(meshes, 3, vertices)"));
    const int64_t meshes = points.dim_size(0), vertices = points.dim_size(2);
    GridShape grid;
    Faces faces;
    OP_REQUIRES_OK(context, read_grid(volumes.shape(), meshes, &grid));
    OP_REQUIRES_OK(context, read_faces(context->input(2), context->input(3), ranks(), vertices, &faces));
    tf::Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, points.shape(), &output));
    for (int64_t mesh = 0; mesh < meshes; mesh++) {
      const float* const volume = volumes.flat<float>().data() + mesh * grid.voxels() * ranks();
      const float* const of = points.flat<float>().data() + mesh * 3 * vertices;
      float* const gradient = output->flat<float>().data() + mesh * 3 * vertices;
      with_channels([&](auto count) { one_mesh<count>(context, volume, of, vertices, faces, grid, gradient); });
    }
  }

 private:
  template <int kChannels>
  void one_mesh(tf::OpKernelContext* context, const float* volume, const float* points, int64_t vertices,
                const Faces& faces, const GridShape& grid, float* gradient) const {
    View views[3];
    for (int axis = 0; axis < 3; axis++) {
      if (look_along(points, vertices, axis, grid, &views[axis])) continue;
      std::fill(gradient, gradient + 3 * vertices, kNotANumber);
      return;
    }
    constexpr int64_t kParts = 3 * kGradientPartsAxis;
    std::vector<float> parts(kParts * 3 * vertices, 0.0f);
    share(context, kParts, scanning_cost(faces) / kGradientPartsAxis, [&](int64_t first, int64_t last) {
      Rows rows;
      for (int64_t part = first; part < last; part++) {
        const View& view = views[part / kGradientPartsAxis];
        const int64_t all = grid.rows(view.v_axis()), number = part % kGradientPartsAxis;
        const int64_t first_v = all * number / kGradientPartsAxis, last_v = all * (number + 1) / kGradientPartsAxis;
        float* const own = parts.data() + part * 3 * vertices;
        add_surface_gradient<kChannels>(volume, points, vertices, view, faces, channels_, grid, first_v, last_v, &rows,
                                        own);
      }
    });
    std::fill(gradient, gradient + 3 * vertices, 0.0f);
    for (int64_t part = 0; part < kParts; part++)
      for (int64_t i = 0; i < 3 * vertices; i++) gradient[i] += parts[part * 3 * vertices + i];
  }
};

REGISTER_KERNEL_BUILDER(Name("FedsimTfOccupancy").Device(tf::DEVICE_CPU), OccupancyKernel);
REGISTER_KERNEL_BUILDER(Name("FedsimTfLabelMap").Device(tf::DEVICE_CPU), LabelMapKernel);
REGISTER_KERNEL_BUILDER(Name("FedsimTfOccupancyProducts").Device(tf::DEVICE_CPU), ProductsKernel);
REGISTER_KERNEL_BUILDER(Name("FedsimTfOccupancyGradient").Device(tf::DEVICE_CPU), GradientKernel);

}  // namespace
}  // namespace fedsim_tf
