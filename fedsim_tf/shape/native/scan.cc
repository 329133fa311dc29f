#include "scan.h"

#include <algorithm>
#include <cstring>

namespace fedsim_tf {
namespace {

constexpr int kBits = 14;
constexpr int64_t kUnit = int64_t{1} << kBits;
constexpr float kFarthest = 32768.0f;  // in rows, so that products of two differences fit into 64 bits

FEDSIM_TF_CLONES
bool all_finite(const float* values, int64_t count) {
  int32_t largest = 0;  // bits without signs: those of infinity and NaN are above all finite ones
  for (int64_t i = 0; i < count; i++) {
    int32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    largest = std::max(largest, bits & 0x7fffffff);
  }
  return largest < 0x7f800000;
}

FEDSIM_TF_CLONES
void snap(const float* values, int64_t count, float rows_per_voxel, int32_t* snapped) {
  const float shift = 0.5f * rows_per_voxel - 0.5f, scale = static_cast<float>(kUnit);
  for (int64_t i = 0; i < count; i++) {
    const float row = std::min(std::max(values[i] * rows_per_voxel + shift, -kFarthest), kFarthest);
    const float scaled = row * scale;
    snapped[i] = static_cast<int32_t>(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
  }
}

int64_t ceiling(int64_t value) { return (value + kUnit - 1) >> kBits; }
int64_t floor(int64_t value) { return value >> kBits; }

// A directed edge from p to q. Its value is positive to the left, and with the bias it is never zero: a row on the
// edge belongs to one of its sides.
struct Edge {
  int64_t du, dv, bias;

  Edge(int64_t pu, int64_t pv, int64_t qu, int64_t qv) : du(qu - pu), dv(qv - pv) {
    bias = dv < 0 || (dv == 0 && du > 0) ? 0 : -1;
  }
  int64_t value(int64_t pu, int64_t pv, int64_t u, int64_t v) const { return du * (v - pv) - dv * (u - pu); }
};

}  // namespace

bool look_along(const float* points, int64_t vertices, int axis, const GridShape& grid, View* view) {
  if (!all_finite(points, 3 * vertices)) return false;
  view->axis = axis;
  view->along.resize(vertices);
  view->u.resize(vertices);
  view->v.resize(vertices);
  const float rows = static_cast<float>(grid.rows_per_voxel);
  for (int64_t i = 0; i < vertices; i++) view->along[i] = points[axis * vertices + i] + 0.5f;
  snap(points + view->u_axis() * vertices, vertices, rows, view->u.data());
  snap(points + view->v_axis() * vertices, vertices, rows, view->v.data());
  return true;
}

void Rows::scan(const View& view, const Faces& faces, const GridShape& grid, int64_t first_v, int64_t last_v,
                const uint8_t* wanted) {
  first_v_ = first_v;
  last_v_ = last_v;
  width_ = grid.rows(view.u_axis());
  starts_.assign((last_v - first_v) * width_ + 2, 0);
  sort(find(view, faces, static_cast<float>(grid.size[view.axis]), wanted));
}

int64_t Rows::find(const View& view, const Faces& faces, float length, const uint8_t* wanted) {
  const int32_t *const us = view.u.data(), *const vs = view.v.data();
  int64_t found = 0;
  for (int64_t face = 0; face < faces.count; face++) {
    const int32_t* corners = faces.vertices + 3 * face;
    const int64_t v0 = vs[corners[0]], v1 = vs[corners[1]], v2 = vs[corners[2]];
    const int64_t low_v = std::max(ceiling(std::min({v0, v1, v2})), first_v_);
    const int64_t high_v = std::min(floor(std::max({v0, v1, v2})), last_v_ - 1);
    if (low_v > high_v) continue;
    const int64_t u0 = us[corners[0]], u1 = us[corners[1]], u2 = us[corners[2]];
    const int64_t low_u = std::max(ceiling(std::min({u0, u1, u2})), int64_t{0});
    const int64_t high_u = std::min(floor(std::max({u0, u1, u2})), width_ - 1);
    if (low_u > high_u) continue;
    const int64_t area = (u1 - u0) * (v2 - v0) - (u2 - u0) * (v1 - v0);
    if (area == 0) continue;
    // A face that is counter-clockwise in this view points along the row, which leaves the surface there.
    const bool leaves = area > 0;
    const float* const along = view.along.data();
    const float a0 = along[corners[0]], a1 = along[corners[1]], a2 = along[corners[2]];
    const Edge to0 = leaves ? Edge(u1, v1, u2, v2) : Edge(u2, v2, u1, v1);  // zero along the edge opposite corner 0
    const Edge to1 = leaves ? Edge(u2, v2, u0, v0) : Edge(u0, v0, u2, v2);
    const Edge to2 = leaves ? Edge(u0, v0, u1, v1) : Edge(u1, v1, u0, v0);
    const float per_area = 1.0f / static_cast<float>(leaves ? area : -area);
    const int32_t tag = static_cast<int32_t>((face << kRankBits | faces.rank[face]) << 1 | leaves);
    const float to_a1 = (a1 - a0) * per_area, to_a2 = (a2 - a0) * per_area;
    const size_t most = found + (high_u - low_u + 1) * (high_v - low_v + 1);
    if (most > found_.size()) {
      found_.resize(2 * most);
      rows_.resize(2 * most);
    }
    int32_t *const rows = rows_.data(), *const starts = starts_.data();
    Crossing* const crossings = found_.data();
    for (int64_t v = low_v; v <= high_v; v++) {
      if (wanted && !wanted[v]) continue;
      const int64_t pu = low_u * kUnit, pv = v * kUnit;
      int64_t e0 = to0.value(u1, v1, pu, pv) + to0.bias, e1 = to1.value(u2, v2, pu, pv) + to1.bias;
      int64_t e2 = to2.value(u0, v0, pu, pv) + to2.bias;
      for (int64_t u = low_u; u <= high_u; u++) {
        // A branch on whether the row meets the face would be mispredicted: the crossing is written in any case, and
        // kept if the row meets the face.
        const float at = a0 + static_cast<float>(e1) * to_a1 + static_cast<float>(e2) * to_a2;
        const bool meets = (e0 | e1 | e2) >= 0;
        const int64_t r = row(u, v);
        rows[found] = static_cast<int32_t>(r);
        crossings[found] = {std::min(std::max(at, 0.0f), length), tag};
        starts[r + 2] += meets;
        found += meets;
        e0 -= to0.dv * kUnit;
        e1 -= to1.dv * kUnit;
        e2 -= to2.dv * kUnit;
      }
    }
  }
  return found;
}

void Rows::sort(int64_t found) {
  const int64_t rows = (last_v_ - first_v_) * width_;
  for (int64_t r = 2; r < rows + 2; r++) starts_[r] += starts_[r - 1];
  if (sorted_.size() < static_cast<size_t>(found)) sorted_.resize(found);
  for (int64_t i = 0; i < found; i++) sorted_[starts_[rows_[i] + 1]++] = found_[i];  // becomes the row's end
  for (int64_t r = 0; r < rows; r++) {
    Crossing *const first = sorted_.data() + starts_[r], *const last = sorted_.data() + starts_[r + 1];
    for (Crossing* c = first + 1; c < last; c++) {
      const Crossing moved = *c;
      Crossing* to = c;
      for (; to > first && moved.along < to[-1].along; to--) *to = to[-1];
      *to = moved;
    }
  }
}

void corner_weights(const View& view, const int32_t* corners, int64_t u, int64_t v, double weights[3]) {
  double pu[3], pv[3];
  for (int k = 0; k < 3; k++) {
    pu[k] = static_cast<double>(view.u[corners[k]] - u * kUnit);
    pv[k] = static_cast<double>(view.v[corners[k]] - v * kUnit);
  }
  double sum = 0.0;
  for (int k = 0; k < 3; k++) {
    const int a = (k + 1) % 3, b = (k + 2) % 3;
    weights[k] = pu[a] * pv[b] - pu[b] * pv[a];
    sum += weights[k];
  }
  for (int k = 0; k < 3; k++) weights[k] /= sum;
}

}  // namespace fedsim_tf
