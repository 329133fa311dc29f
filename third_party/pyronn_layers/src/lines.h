// Linear interpolation along a line at evenly spaced positions, and its exact transpose: all that a separable geometry
// needs along the rotation axis, in both operators and both directions. Included by kernels.inc.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace pyronn_layers {
namespace {

// So many floats before and after a line are readable and finite.
constexpr int kPad = 2 * W + 8;

// Position of sample k: start + step * k, step > 0.
struct Samples {
  float start, step;
};

// Where blocks of W samples begin: the last point before the first sample, plus kPad, and how far beyond it lies.
struct Blocks {
  int32_t* base;
  float* fraction;
};

// Fills in the blocks of samples [from, to), multiples of W; block k begins with sample k W.
inline void make_blocks(Samples at, int from, int to, const Blocks& blocks) {
  for (int k = from / W; k * W < to; k += W) {
    const F position = to_float((k + lanes()) * W) * at.step + (at.start + kPad);
    const I base = truncate(position);
    store(blocks.base + k, base);
    store(blocks.fraction + k, position - to_float(base));
  }
}

// W samples of lines; `first` is a multiple of W, and at least one of the samples lies on the line or one point beyond.
struct Lookup {
  I index;
  F fraction;
  int64_t base;
};

template <Reach kReach>
inline Lookup look_up_at(Samples at, F steps, const Blocks& blocks, int first, int length) {
  if (kReach == Reach::kAny) {
    const F position = to_float(first + lanes()) * at.step + at.start;
    const F inside = min(max(position, all(-2.0f)), all(length + 1.0f)) + 2.0f;
    const I index = truncate(inside);
    return {index, inside - to_float(index), -2};
  }
  const F offset = steps + blocks.fraction[static_cast<unsigned>(first) / W];
  const I index = truncate(offset);
  return {index, offset - to_float(index), blocks.base[static_cast<unsigned>(first) / W] - kPad};
}

// `p` points at the lookup's base.
template <Reach kReach>
inline F sample(const float* p, const Lookup& at) {
  const F low = look_up<kReach>(p, at.index);
  return low + at.fraction * (look_up<kReach>(p + 1, at.index) - low);
}

// Spreads samples back: with w(k, m) = max(0, 1 - |start + step k - m|), point m of the line gets the sum over k of
// w(k, m) q[k]. The samples between m and m + 1 give (sum of q - sum of q f) to m and (sum of q f) to m + 1, f being
// how far beyond m each lies: half as many terms as the hats w have.
struct Spread {
  Samples at;
  int first, last;  // samples [first, last) count
  int low, high;    // points [low, high) of the line get theirs, multiples of W
  int length;       // of the line
  // Samples beyond the line's ends go to its ends, else they fade to zero there. Needs low = 0, and q to be zero for W
  // samples before the first and after the last one that count: then most samples need no masking.
  bool clamped;
};

// The lines that get the points' values: a gets scale - share, b gets share of them. `stride` floats from one of a
// batch to the next.
struct Target {
  float *a, *b;
  float scale, share;
  int64_t stride;
};

// Returns the first sample at or after each point.
template <Reach kReach>
inline I first_sample(F m, F offset, float inverse_step, I first, I last) {
  F k = m * inverse_step + offset;
  if (kReach == Reach::kAny) k = min(max(k, to_float(first - 1)), to_float(last + 1));  // may not fit an integer
  return min(max(ceiling(k), first), last);
}

// Returns the most samples that can lie between two neighbouring points, with a little for rounding.
inline int most_between(float inverse_step) { return static_cast<int>(inverse_step + 1.001f); }

// Returns what the samples before sample `end`, the first one beyond point `low`, give to that point.
inline float share_of_border(const float* q, const Spread& s, int taps, int end) {
  float sum = 0;
  for (int tap = 1; tap <= taps; tap++) {
    if (s.clamped) {
      if (tap <= W || end - tap >= s.first) sum += q[end - tap];
    } else if (end - tap >= s.first) {
      const float f = s.at.start + s.at.step * (end - tap) - (s.low - 1);
      if (f > 0) sum += f * q[end - tap];
    }
  }
  return sum;
}

// kTaps: the most samples between two points, 0 if only known at run time; kSingle: a batch of one; kMasked: there may
// be points without a sample before the next one, or samples that do not count.
template <Reach kReach, int kTaps, bool kSingle, bool kMasked>
inline void spread_blocks(const float* q, int64_t q_stride, const Spread& spread, const Target& given, int batch) {
  const Spread s = spread;  // copies: a vector that is stored may, for all the compiler knows, change the originals
  const Target target = given;
  const float inverse = 1 / s.at.step, rest = target.scale - target.share;
  const F offset = all(-s.at.start * inverse);
  const I first = all(kMasked ? s.first : s.first - 1), last = all(s.last);
  const int taps = kTaps > 0 ? kTaps : most_between(inverse), count = kSingle ? 1 : batch;
  F m = to_float(s.low + lanes());
  I k = first_sample<kReach>(m, offset, inverse, first, last);
  F moments[kSingle ? 1 : kBatchTogether];
  for (int b = 0; b < count; b++) {
    moments[b] = F{};
    moments[b][W - 1] = share_of_border(q + b * q_stride, s, taps, k[0]);
  }
  for (int at = s.low; at < s.high; at += W) {
    const I next = first_sample<kReach>(m + static_cast<float>(W), offset, inverse, first, last);
    const I samples = shift_out(k, next) - k;
    const int base = k[0];
    const I index = k - base;
    const F f = to_float(k) * s.at.step + (s.at.start - m);
    const float* p = q + base;
    float *a = target.a + at, *to_b = target.b + at;
    for (int b = 0; b < count; b++, p += q_stride, a += target.stride, to_b += target.stride) {
      F sum = look_up<kReach>(p, index), steps = {};  // steps: sum of q times its number, 0, 1, ...
      if (kMasked) sum = keep(samples > 0, sum);
      for (int tap = 1; tap < taps; tap++) {
        const I there = kReach == Reach::kAny ? min(index, all(s.last - 1 - base - tap)) : index;
        const F value = keep(samples > tap, look_up<kReach>(p + tap, there));
        sum += value;
        steps = tap == 1 ? value : steps + static_cast<float>(tap) * value;
      }
      const F moment = f * sum + s.at.step * steps;
      const F point = sum - moment + shift_in(moments[b], moment);
      moments[b] = moment;
      store(a, load(a) + rest * point);
      store(to_b, load(to_b) + target.share * point);
    }
    k = next;
    m += static_cast<float>(W);
  }
  if (!s.clamped || s.high < s.length) return;
  const int end = s.length - 1;  // gets what would go to the point after it
  for (int b = 0; b < count; b++) {
    const float moment = moments[b][end - (s.high - W)];
    target.a[b * target.stride + end] += rest * moment;
    target.b[b * target.stride + end] += target.share * moment;
  }
}

template <Reach kReach, int kTaps>
inline void spread_blocks(const float* q, int64_t q_stride, const Spread& s, const Target& target, int batch) {
  // With samples closer together than points, no interval between the zeros is empty.
  const bool masked = !(s.clamped && s.at.step <= 1);
  if (batch == 1 && !masked) spread_blocks<kReach, kTaps, true, false>(q, q_stride, s, target, 1);
  else if (batch == 1) spread_blocks<kReach, kTaps, true, true>(q, q_stride, s, target, 1);
  else if (!masked) spread_blocks<kReach, kTaps, false, false>(q, q_stride, s, target, batch);
  else spread_blocks<kReach, kTaps, false, true>(q, q_stride, s, target, batch);
}

// `q` is readable for 2 W + 3 floats beyond its last sample.
inline void spread(const float* q, int64_t q_stride, const Spread& s, const Target& target, int batch) {
  const float inverse = 1 / s.at.step;
  const Reach reach = reach_of(inverse);
  const int taps = most_between(inverse);
  if (reach == Reach::kAny) spread_blocks<Reach::kAny, 0>(q, q_stride, s, target, batch);
  else if (reach == Reach::kOne && taps == 1) spread_blocks<Reach::kOne, 1>(q, q_stride, s, target, batch);
  else if (taps <= 2) spread_blocks<Reach::kTwo, 2>(q, q_stride, s, target, batch);
  else spread_blocks<Reach::kTwo, 3>(q, q_stride, s, target, batch);
}

}  // namespace
}  // namespace pyronn_layers
