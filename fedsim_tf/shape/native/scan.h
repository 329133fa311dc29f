// The crossings of the rows of a grid with closed triangle surfaces. Nothing here depends on TensorFlow.
//
// A row runs along one axis through the grid; in the plane across it, each voxel holds `rows_per_voxel` squared rows.
// Vertices are snapped to multiples of 2^-14 of a row's distance in that plane, and edges are tested in integers: every
// row that meets an edge or a vertex is given to exactly one of the triangles there, as if it were shifted by an
// infinitesimal (e, e^2). So a row enters a closed surface as often as it leaves it.
#pragma once

#include <cstdint>
#include <vector>

// Compiles a function for several instruction sets, one of which is chosen when the library is loaded.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define FEDSIM_TF_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FEDSIM_TF_CLONES
#endif

namespace fedsim_tf {

constexpr int kRankBits = 3;
constexpr int kMostRegions = 7;

// Where regions overlap, space belongs to the one that is painted last.
struct Faces {
  const int32_t* vertices;  // (count, 3), counter-clockwise seen from outside
  const int32_t* rank;      // when the face's region is painted, from 0; all 0 where all faces bound one region
  int64_t count;
};

struct GridShape {
  int64_t size[3];  // voxels along x, y, z
  int64_t rows_per_voxel;

  int64_t rows(int axis) const { return size[axis] * rows_per_voxel; }
  int64_t voxels() const { return size[0] * size[1] * size[2]; }
};

// A mesh seen along one axis: the position of each vertex along the rows, in voxels from the grid's border, and across
// them, in 2^-14 of a row's distance, where row j is at j. Axes follow each other cyclically: across x lie (y, z).
struct View {
  int axis = 0;
  std::vector<float> along;
  std::vector<int32_t> u, v;

  int u_axis() const { return (axis + 1) % 3; }
  int v_axis() const { return (axis + 2) % 3; }
};

// Makes the view of points (3, vertices) in voxel coordinates. Returns false if a coordinate is not finite.
bool look_along(const float* points, int64_t vertices, int axis, const GridShape& grid, View* view);

struct Crossing {
  float along;  // position on the row, from 0 to the grid's size
  int32_t tag;  // index of the face, its region's rank (kRankBits), and a bit that says that the row leaves the surface

  bool leaves() const { return tag & 1; }
  int32_t rank() const { return (tag >> 1) & ((1 << kRankBits) - 1); }
  int32_t face() const { return tag >> (kRankBits + 1); }
};

// All crossings of a block of rows, row by row, in each row from its beginning to its end. An object may be reused.
class Rows {
 public:
  // Finds the crossings of the rows with first_v <= v < last_v, without the rows where a given wanted[v] is zero.
  void scan(const View& view, const Faces& faces, const GridShape& grid, int64_t first_v, int64_t last_v,
            const uint8_t* wanted = nullptr);

  int64_t first_v() const { return first_v_; }
  int64_t last_v() const { return last_v_; }
  const Crossing* begin(int64_t u, int64_t v) const { return sorted_.data() + starts_[row(u, v)]; }
  const Crossing* end(int64_t u, int64_t v) const { return sorted_.data() + starts_[row(u, v) + 1]; }

 private:
  int64_t row(int64_t u, int64_t v) const { return (v - first_v_) * width_ + u; }
  int64_t find(const View& view, const Faces& faces, float length, const uint8_t* wanted);
  void sort(int64_t found);

  int64_t first_v_ = 0, last_v_ = 0, width_ = 0;
  std::vector<int32_t> rows_, starts_;
  std::vector<Crossing> found_, sorted_;
};

// Computes the barycentric weights of a face's corners where row (u, v) meets it.
void corner_weights(const View& view, const int32_t* corners, int64_t u, int64_t v, double weights[3]);

constexpr int kNoRegion = -1;

// Returns the place of the highest bit that is set, or -1.
inline int highest_bit(uint32_t bits) { return bits ? 31 - __builtin_clz(bits) : -1; }

// Calls visit(crossing, from, to) for each crossing where a row passes from one region to another, or to none. A point
// inside several regions is in the one of the highest rank. With one region, it is the union of all surfaces.
template <int kRegions, typename Visit>
inline void visit_regions(const Crossing* first, const Crossing* last, const Visit& visit) {
  int32_t inside[kRegions] = {};  // number of each region's surfaces around the row's current point
  uint32_t around = 0;            // a bit for each region around that point
  int from = kNoRegion;
  for (const Crossing* c = first; c != last; c++) {
    const int rank = kRegions == 1 ? 0 : c->rank();
    inside[rank] += c->leaves() ? -1 : 1;
    const uint32_t bit = uint32_t{1} << rank;
    around = inside[rank] > 0 ? around | bit : around & ~bit;
    const int to = highest_bit(around);
    if (from != to) visit(*c, from, to);
    from = to;
  }
}

}  // namespace fedsim_tf
