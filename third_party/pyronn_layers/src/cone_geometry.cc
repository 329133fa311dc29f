#include "cone_geometry.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace pyronn_layers {
namespace {

constexpr int64_t kMostAlong = int64_t{1} << 22;
// A column may move this much over the height of the volume and still count as parallel to z.
constexpr double kParallelPixels = 1e-3;
constexpr double kTruncatedPixels = 1e-3;
const char* const kAxes[3] = {"z", "y", "x"};

double determinant(const double m[3][4]) {
  return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
         m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

void invert(const double m[3][4], double inverse[3][3]) {
  const double scale = 1 / determinant(m);
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 3; j++) {
      const int a = (j + 1) % 3, b = (j + 2) % 3, c = (i + 1) % 3, d = (i + 2) % 3;
      inverse[i][j] = scale * (m[a][c] * m[b][d] - m[a][d] * m[b][c]);
    }
  }
}

double depth_of(const ConeView& view, const double p[3]) {
  return view.matrix[2][0] * p[0] + view.matrix[2][1] * p[1] + view.matrix[2][2] * p[2] + view.matrix[2][3];
}

// The shadow of the volume's box on the detector, in pixels.
struct Shadow {
  double depth = std::numeric_limits<double>::infinity();  // of the nearest corner
  double low[2] = {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
  double high[2] = {-std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
};

Shadow shadow_of(const ConeGeometry& g, const ConeView& view) {
  Shadow shadow;
  for (int corner = 0; corner < 8; corner++) {
    double p[3];
    for (int a = 0; a < 3; a++) p[a] = (corner >> a & 1) ? g.volume[a] - 0.5 : -0.5;
    const double depth = depth_of(view, p);
    shadow.depth = std::min(shadow.depth, depth);
    for (int k = 0; k < 2; k++) {
      const double* m = view.matrix[k];
      const double at = (m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + m[3]) / depth;
      shadow.low[k] = std::min(shadow.low[k], at);
      shadow.high[k] = std::max(shadow.high[k], at);
    }
  }
  return shadow;
}

std::string at_view(int64_t view) { return "projection_matrices: view " + std::to_string(view) + ": "; }

// From millimetres and pixel edges to indices, depth in mm, so that the volume lies at positive depth.
std::string parse_view(const ConeArguments& arguments, int64_t number, const ConeGeometry& g, ConeView* view) {
  const double* given = arguments.projection_matrices + 12 * number;
  if (!std::all_of(given, given + 12, [](double value) { return std::isfinite(value); })) {
    return at_view(number) + "found NaN or infinity; expected finite values";
  }
  double norm = std::sqrt(given[8] * given[8] + given[9] * given[9] + given[10] * given[10]);
  if (norm == 0) return at_view(number) + "found a singular matrix; expected a source at finite distance";
  double in_mm[3][4];
  double centre = given[11];  // depth of the volume's centre
  for (int a = 0; a < 3; a++) {
    centre += given[8 + a] * (arguments.volume_origin[2 - a] + 0.5 * (g.volume[a] - 1) * g.spacing[a]);
  }
  if (centre < 0) norm = -norm;
  double lengths = 1;
  for (int k = 0; k < 3; k++) {
    for (int a = 0; a < 4; a++) in_mm[k][a] = given[4 * k + a] / norm;
    lengths *= std::sqrt(in_mm[k][0] * in_mm[k][0] + in_mm[k][1] * in_mm[k][1] + in_mm[k][2] * in_mm[k][2]);
  }
  for (int k = 0; k < 3; k++) {
    double* row = view->matrix[k];
    row[3] = in_mm[k][3];
    for (int a = 0; a < 3; a++) {
      row[a] = in_mm[k][a] * g.spacing[a];
      row[3] += in_mm[k][a] * arguments.volume_origin[2 - a];
    }
  }
  for (int a = 0; a < 4; a++) {
    view->matrix[0][a] -= 0.5 * view->matrix[2][a];
    view->matrix[1][a] -= 0.5 * view->matrix[2][a];
  }
  if (!(std::abs(determinant(in_mm)) > 1e-9 * lengths)) {
    return at_view(number) + "found a singular matrix; expected a source at finite distance";
  }
  invert(view->matrix, view->inverse);
  for (int a = 0; a < 3; a++) {
    view->source[a] = 0;
    for (int k = 0; k < 3; k++) view->source[a] -= view->inverse[a][k] * view->matrix[k][3];
  }
  return "";
}

std::string check_position(const ConeGeometry& g, int64_t number) {
  const ConeView& view = g.views[number];
  bool inside = true;
  for (int a = 0; a < 3; a++) inside &= view.source[a] > -0.5 && view.source[a] < g.volume[a] - 0.5;
  if (inside) return at_view(number) + "found the source inside the volume; expected it outside";
  if (shadow_of(g, view).depth <= 0) {
    return at_view(number) + "found a volume that reaches behind the source; expected all of it in front";
  }
  return "";
}

bool misses(const ConeGeometry& g, const Shadow& shadow) {
  return shadow.high[0] <= -0.5 || shadow.high[1] <= -0.5 || shadow.low[0] >= g.columns - 0.5 ||
         shadow.low[1] >= g.rows - 0.5;
}

bool truncates(const ConeGeometry& g, const Shadow& shadow) {
  const double edge = -0.5 - kTruncatedPixels;
  return shadow.low[0] < edge || shadow.low[1] < edge || -shadow.high[0] < edge + 1 - g.columns ||
         -shadow.high[1] < edge + 1 - g.rows;
}

// Whether columns are parallel to z, and every ray advances at least as many voxels along x or y as along z.
bool is_separable(const ConeGeometry& g, const ConeView& view) {
  const double depth = shadow_of(g, view).depth, height = static_cast<double>(g.volume[2]);
  const double extent = std::max(g.rows, g.columns);
  if (std::abs(view.matrix[0][2]) * height > kParallelPixels * depth) return false;
  if (std::abs(view.matrix[2][2]) * height * extent > kParallelPixels * depth) return false;
  if (view.matrix[1][2] == 0) return false;
  for (int64_t column = 0; column < g.columns; column++) {
    for (int64_t row : {int64_t{0}, g.rows - 1}) {
      double d[3];
      for (int a = 0; a < 3; a++) {
        d[a] = std::abs(view.inverse[a][0] * column + view.inverse[a][1] * row + view.inverse[a][2]);
      }
      if (d[2] > std::max(d[0], d[1])) return false;
    }
  }
  return true;
}

std::string check_numbers(const ConeArguments& a) {
  std::ostringstream text;
  for (int k = 0; k < 3; k++) {
    if (a.volume_shape[k] < 1) text << "volume_shape: found " << a.volume_shape[k] << " voxels along " << kAxes[k];
    if (text.tellp() > 0) return text.str() + "; expected at least 1";
  }
  for (int k = 0; k < 2; k++) {
    if (a.detector_shape[k] < 1) text << "detector_shape: found " << a.detector_shape[k] << (k ? " columns" : " rows");
    if (text.tellp() > 0) return text.str() + "; expected at least 1";
  }
  // Positions along an axis are float32, with some bits left for the fraction.
  for (int64_t edge : {a.volume_shape[0], a.volume_shape[1], a.volume_shape[2]}) {
    if (edge >= kMostAlong) return "volume_shape: found 2^22 voxels or more along an axis; expected fewer";
  }
  for (int64_t edge : {a.detector_shape[0], a.detector_shape[1]}) {
    if (edge >= kMostAlong) return "detector_shape: found 2^22 rows or columns or more; expected fewer";
  }
  const double most = std::numeric_limits<int32_t>::max();
  // The kernels keep lines along z padded to 16 and count floats in 32 bits.
  if ((a.volume_shape[0] + 16.0) * (a.volume_shape[2] + 16.0) * a.volume_shape[1] > most) {
    return "volume_shape: found about 2^31 voxels or more; expected fewer";
  }
  if (1.0 * a.detector_shape[0] * a.detector_shape[1] > most) {
    return "detector_shape: found 2^31 pixels or more; expected fewer";
  }
  for (int k = 0; k < 3; k++) {
    if (!std::isfinite(a.volume_origin[k])) return "volume_origin: found NaN or infinity; expected finite values";
    if (!(std::isfinite(a.volume_spacing[k]) && a.volume_spacing[k] > 0)) {
      text << "volume_spacing: found " << a.volume_spacing[k] << " along " << kAxes[k] << "; expected positive lengths";
      return text.str();
    }
  }
  if (a.views < 1) return "projection_matrices: found no views; expected at least one";
  return "";
}

}  // namespace

std::string parse_geometry(const ConeArguments& arguments, ConeGeometry* geometry) {
  ConeGeometry& g = *geometry;
  std::string wrong = check_numbers(arguments);
  if (!wrong.empty()) return wrong;
  for (int a = 0; a < 3; a++) {
    g.volume[a] = arguments.volume_shape[2 - a];
    g.spacing[a] = arguments.volume_spacing[2 - a];
  }
  g.rows = arguments.detector_shape[0];
  g.columns = arguments.detector_shape[1];
  g.views.resize(arguments.views);
  bool seen = false;
  g.separable = true;
  for (int64_t number = 0; number < arguments.views; number++) {
    wrong = parse_view(arguments, number, g, &g.views[number]);
    if (wrong.empty()) wrong = check_position(g, number);
    if (!wrong.empty()) return wrong;
    seen |= !misses(g, shadow_of(g, g.views[number]));
    g.separable = g.separable && is_separable(g, g.views[number]);
  }
  if (!seen) return "projection_matrices: found the volume outside the detector in every view; expected it in sight";
  return "";
}

std::string truncation(const ConeGeometry& g) {
  int64_t count = 0;
  for (const ConeView& view : g.views) count += truncates(g, shadow_of(g, view));
  if (count == 0) return "";
  return "the detector does not see the whole volume in " + std::to_string(count) + " of " +
         std::to_string(g.views.size()) + " views; reconstructions will be truncated";
}

}  // namespace pyronn_layers
