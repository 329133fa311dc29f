#include "planar_geometry.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace pyronn_layers {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr int64_t kMostAlong = int64_t{1} << 22;
constexpr double kTruncatedColumns = 1e-3;
const char* const kAxes[2] = {"y", "x"};

const char* rays_name(bool fan) { return fan ? "central_ray_vectors" : "ray_vectors"; }

double dot(const double m[3], double x, double y) { return m[0] * x + m[1] * y + m[2]; }

std::string found(const char* name, double value, const char* expected) {
  std::ostringstream text;
  text << name << ": found " << value << "; expected " << expected;
  return text.str();
}

std::string check_shapes(const PlanarArguments& a) {
  for (int k = 0; k < 2; k++) {
    if (a.image_shape[k] < 1) {
      return "volume_shape: found " + std::to_string(a.image_shape[k]) + " pixels along " + kAxes[k] +
             "; expected at least 1";
    }
    // Positions along an axis are float32, with some bits left for the fraction.
    if (a.image_shape[k] >= kMostAlong) return "volume_shape: found 2^22 pixels or more along an axis; expected fewer";
  }
  if (a.columns < 1) {
    return "projection_shape: found " + std::to_string(a.columns) + " columns; expected at least 1";
  }
  if (a.columns >= kMostAlong) return "projection_shape: found 2^22 columns or more; expected fewer";
  // The kernels pad both axes, and count floats in 32 bits.
  if ((a.image_shape[0] + 64.0) * (a.image_shape[1] + 64.0) > std::numeric_limits<int32_t>::max()) {
    return "volume_shape: found about 2^31 pixels or more; expected fewer";
  }
  if (a.views < 1) return std::string(rays_name(a.fan)) + ": found no views; expected at least one";
  return "";
}

std::string check_lengths(const PlanarArguments& a) {
  const char* const positive = "a positive length";
  for (int k = 0; k < 2; k++) {
    if (!std::isfinite(a.volume_origin[k])) return "volume_origin: found NaN or infinity; expected finite values";
    if (!(std::isfinite(a.volume_spacing[k]) && a.volume_spacing[k] > 0)) {
      std::ostringstream text;
      text << "volume_spacing: found " << a.volume_spacing[k] << " along " << kAxes[k] << "; expected positive lengths";
      return text.str();
    }
  }
  if (!std::isfinite(a.detector_origin)) return "detector_origin: found NaN or infinity; expected a finite value";
  if (!(std::isfinite(a.detector_spacing) && a.detector_spacing > 0)) {
    return found("detector_spacing", a.detector_spacing, positive);
  }
  if (!a.fan) return "";
  if (!(std::isfinite(a.source_isocenter) && a.source_isocenter > 0)) {
    return found("source_2_isocenter_distance", a.source_isocenter, positive);
  }
  if (!(std::isfinite(a.source_detector) && a.source_detector > 0)) {
    return found("source_2_detector_distance", a.source_detector, positive);
  }
  return "";
}

// From millimetres to indices.
std::string parse_view(const PlanarArguments& a, int64_t number, const PlanarGeometry& g, PlanarView* view) {
  const double* given = a.rays + 2 * number;
  const double length = std::hypot(given[0], given[1]);
  if (!(std::isfinite(length) && length > 0)) {
    std::ostringstream text;
    text << rays_name(a.fan) << ": view " << number << ": found (" << given[0] << ", " << given[1]
         << "); expected a direction";
    return text.str();
  }
  const double ray[2] = {given[0] / length, given[1] / length}, along[2] = {-ray[1], ray[0]};
  const double origin[2] = {a.volume_origin[1], a.volume_origin[0]};
  const double lateral[3] = {along[0] * g.spacing[0], along[1] * g.spacing[1],
                             along[0] * origin[0] + along[1] * origin[1]};
  double depth[3] = {0, 0, 1};
  if (a.fan) {
    for (int k = 0; k < 2; k++) depth[k] = ray[k] * g.spacing[k];
    depth[2] = ray[0] * origin[0] + ray[1] * origin[1] + a.source_isocenter;
  }
  for (int k = 0; k < 3; k++) {
    view->matrix[0][k] =
        ((a.fan ? a.source_detector : 1) * lateral[k] - a.detector_origin * depth[k]) / a.detector_spacing;
    view->matrix[1][k] = depth[k];
  }
  for (int k = 0; k < 2; k++) view->source[k] = a.fan ? (-a.source_isocenter * ray[k] - origin[k]) / g.spacing[k] : 0;
  return "";
}

struct Shadow {
  double depth = std::numeric_limits<double>::infinity();  // of the nearest corner
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
};

Shadow shadow_of(const PlanarGeometry& g, const PlanarView& view) {
  Shadow shadow;
  for (int corner = 0; corner < 4; corner++) {
    const double x = corner & 1 ? g.image[0] - 0.5 : -0.5, y = corner & 2 ? g.image[1] - 0.5 : -0.5;
    const double depth = dot(view.matrix[1], x, y), column = dot(view.matrix[0], x, y) / depth;
    shadow.depth = std::min(shadow.depth, depth);
    shadow.low = std::min(shadow.low, column);
    shadow.high = std::max(shadow.high, column);
  }
  return shadow;
}

// Whether the rays that touch the ellipse in the image lie beyond the detector. The line l of a column touches it if
// l C l = 0, C being the ellipse's dual conic; l is affine in the column.
bool truncates(const PlanarGeometry& g, const PlanarView& view) {
  double centred[2][3], product[2][2];
  for (int k = 0; k < 2; k++) {
    for (int a = 0; a < 2; a++) centred[k][a] = view.matrix[k][a] * 0.5 * g.image[a];
    centred[k][2] = dot(view.matrix[k], 0.5 * (g.image[0] - 1), 0.5 * (g.image[1] - 1));
  }
  for (int k = 0; k < 2; k++) {
    for (int j = 0; j < 2; j++) {
      product[k][j] = centred[k][0] * centred[j][0] + centred[k][1] * centred[j][1] - centred[k][2] * centred[j][2];
    }
  }
  const double middle = product[0][1] / product[1][1];
  const double half = std::sqrt(std::max(0.0, middle * middle - product[0][0] / product[1][1]));
  return middle - half < -0.5 - kTruncatedColumns || middle + half > g.columns - 0.5 + kTruncatedColumns;
}

std::string check_source(const PlanarGeometry& g, double distance, int64_t number, const Shadow& shadow) {
  if (shadow.depth > 0) return "";
  std::ostringstream text;
  text << "source_2_isocenter_distance: found " << distance
       << ", with a volume that reaches to the source or behind it "
       << "in view " << number << "; expected all of it in front";
  return text.str();
}

}  // namespace

std::string parse_planar_geometry(const PlanarArguments& arguments, PlanarGeometry* geometry) {
  PlanarGeometry& g = *geometry;
  std::string wrong = check_shapes(arguments);
  if (wrong.empty()) wrong = check_lengths(arguments);
  if (!wrong.empty()) return wrong;
  for (int a = 0; a < 2; a++) {
    g.image[a] = arguments.image_shape[1 - a];
    g.spacing[a] = arguments.volume_spacing[1 - a];
  }
  g.columns = arguments.columns;
  g.fan = arguments.fan;
  g.scale = kPi / arguments.views * (g.fan ? arguments.source_isocenter * arguments.source_detector : 1);
  g.views.resize(arguments.views);
  bool seen = false;
  for (int64_t number = 0; number < arguments.views; number++) {
    wrong = parse_view(arguments, number, g, &g.views[number]);
    if (!wrong.empty()) return wrong;
    const Shadow shadow = shadow_of(g, g.views[number]);
    wrong = check_source(g, arguments.source_isocenter, number, shadow);
    if (!wrong.empty()) return wrong;
    seen |= shadow.high > -0.5 && shadow.low < g.columns - 0.5;
  }
  if (!seen) return "detector_origin: found the volume outside the detector in every view; expected it in sight";
  return "";
}

std::string planar_truncation(const PlanarGeometry& g) {
  int64_t count = 0;
  for (const PlanarView& view : g.views) count += truncates(g, view);
  if (count == 0) return "";
  return "the detector does not see the whole ellipse in the volume in " + std::to_string(count) + " of " +
         std::to_string(g.views.size()) + " views; reconstructions will be truncated";
}

}  // namespace pyronn_layers
