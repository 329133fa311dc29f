// The TensorFlow operators for inner products of volumes with occupancies and for their gradients, and their kernels.
#include <algorithm>

#include "kernel.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace fedsim_tf {
namespace {

using tf::shape_inference::InferenceContext;

constexpr int64_t kGradientPartsAxis = 4;  // tasks along one axis; fixed, as sums depend on how they are split

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
    .Doc("Inner products (v, m) of volumes (v, z, y, x[, channels]) with occupancies of points (v, m, 3, vertices).");

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

REGISTER_KERNEL_BUILDER(Name("FedsimTfOccupancyProducts").Device(tf::DEVICE_CPU), ProductsKernel);
REGISTER_KERNEL_BUILDER(Name("FedsimTfOccupancyGradient").Device(tf::DEVICE_CPU), GradientKernel);

}  // namespace
}  // namespace fedsim_tf
