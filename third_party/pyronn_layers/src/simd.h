// Short vectors for one instruction set. Each kernels_*.cc defines the width W (and what else it may use) and is
// compiled with the flags of its instruction set; everything is in an anonymous namespace, so that no function compiled
// for one processor is ever linked into the code of another.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace pyronn_layers {
namespace {

constexpr int W = PYRONN_LAYERS_WIDTH;
typedef float F __attribute__((vector_size(W * 4)));
typedef int32_t I __attribute__((vector_size(W * 4)));
typedef F UnalignedF __attribute__((aligned(4), may_alias));
typedef I UnalignedI __attribute__((aligned(4), may_alias));

inline F load(const float* p) { return *reinterpret_cast<const UnalignedF*>(p); }
inline I load(const int32_t* p) { return *reinterpret_cast<const UnalignedI*>(p); }
inline void store(float* p, F v) { *reinterpret_cast<UnalignedF*>(p) = v; }
inline void store(int32_t* p, I v) { *reinterpret_cast<UnalignedI*>(p) = v; }
inline F all(float value) { return value - F{}; }
inline I all(int32_t value) { return value - I{}; }
inline F to_float(I v) { return __builtin_convertvector(v, F); }
inline I truncate(F v) { return __builtin_convertvector(v, I); }
inline F min(F a, F b) { return a < b ? a : b; }
inline F max(F a, F b) { return a > b ? a : b; }
inline I min(I a, I b) { return a < b ? a : b; }
inline I max(I a, I b) { return a > b ? a : b; }
inline F abs(F a) { return max(a, -a); }
inline I ceiling(F v) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  return (I)_mm256_cvttps_epi32(_mm256_ceil_ps(v));
#else
  const I i = truncate(v);
  return i - (to_float(i) < v);  // a comparison that holds is -1
#endif
}
// (previous[W - 1], current[0], ..., current[W - 2]).
inline F shift_in(F previous, F current) {
#if defined(__AVX512F__)
  return (F)_mm512_alignr_epi32((__m512i)current, (__m512i)previous, W - 1);
#elif defined(__AVX2__)
  const __m256i middle = (__m256i)_mm256_permute2f128_ps(previous, current, 0x21);
  return (F)_mm256_alignr_epi8((__m256i)current, middle, 12);
#else
  F v;
  v[0] = previous[W - 1];
  for (int k = 1; k < W; k++) v[k] = current[k - 1];
  return v;
#endif
}
// (current[1], ..., current[W - 1], next[0]).
inline I shift_out(I current, I next) {
#if defined(__AVX512F__)
  return (I)_mm512_alignr_epi32((__m512i)next, (__m512i)current, 1);
#elif defined(__AVX2__)
  const __m256i middle = _mm256_permute2x128_si256((__m256i)current, (__m256i)next, 0x21);
  return (I)_mm256_alignr_epi8(middle, (__m256i)current, 4);
#else
  I v;
  for (int k = 0; k + 1 < W; k++) v[k] = current[k + 1];
  v[W - 1] = next[0];
  return v;
#endif
}
inline F square_root(F v) {
  float each[W];
  store(each, v);
  for (int k = 0; k < W; k++) each[k] = __builtin_sqrtf(each[k]);
  return load(each);
}
inline F keep(I mask, F v) { return reinterpret_cast<F>(reinterpret_cast<I>(v) & mask); }

inline I lanes() {
  I v;
  for (int k = 0; k < W; k++) v[k] = k;
  return v;
}

inline int smaller(int a, int b) { return a < b ? a : b; }
inline int larger(int a, int b) { return a > b ? a : b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline double smaller(double a, double b) { return a < b ? a : b; }
inline double larger(double a, double b) { return a > b ? a : b; }
inline int round_up(int n) { return (n + W - 1) & -W; }
inline int round_down(int n) { return n & -W; }
// Floor and ceiling of a number as an int, clamped before the conversion; without a branch, so that loops become
// vectors.
inline int floor_between(double v, int low, int high) {
  const double clamped = smaller(larger(v, static_cast<double>(low)), static_cast<double>(high));
  const int i = static_cast<int>(clamped);
  return i - (i > clamped);
}
inline int ceil_between(double v, int low, int high) { return -floor_between(-v, -high, -low); }

// How far the lanes of an index vector may lie apart: within one vector, within two, or anywhere.
enum class Reach { kOne, kTwo, kAny };

inline Reach reach_of(float step) {
  if (step < (W - 1.01f) / (W - 1)) return Reach::kOne;
  return step < (2 * W - 1.01f) / (W - 1) ? Reach::kTwo : Reach::kAny;
}

// p[index] per lane; 0 <= index < W (kOne), < 2 W (kTwo), or unbounded.
template <Reach kReach>
inline F look_up(const float* p, I index) {
#if defined(__AVX512F__)
  if (kReach == Reach::kOne) return _mm512_permutexvar_ps((__m512i)index, _mm512_loadu_ps(p));
  if (kReach == Reach::kTwo) {
    return _mm512_permutex2var_ps(_mm512_loadu_ps(p), (__m512i)index, _mm512_loadu_ps(p + W));
  }
  return _mm512_i32gather_ps((__m512i)index, p, 4);
#elif defined(__AVX2__)
  const __m256i lane = (__m256i)index;
  if (kReach == Reach::kOne) return _mm256_permutevar8x32_ps(_mm256_loadu_ps(p), lane);
  if (kReach == Reach::kTwo) {
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(p), lane);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(p + W), lane);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_cmpgt_epi32(lane, _mm256_set1_epi32(7))));
  }
  return _mm256_i32gather_ps(p, lane, 4);
#else
  F v;
  for (int k = 0; k < W; k++) v[k] = p[index[k]];
  return v;
#endif
}

#if defined(__AVX2__)
struct Pairs {
  __m256 first, second;
};

inline __m128 two_pairs(const float* p, int32_t a, int32_t b) {
  const __m128 low = _mm_loadl_pi(_mm_setzero_ps(), reinterpret_cast<const __m64*>(p + a));
  return _mm_loadh_pi(low, reinterpret_cast<const __m64*>(p + b));
}

// In registers throughout: vectors put together in memory would have to wait for their parts to be stored.
inline Pairs eight_pairs(const float* p, const int32_t* index) {
  const __m256 a = _mm256_set_m128(two_pairs(p, index[4], index[5]), two_pairs(p, index[0], index[1]));
  const __m256 b = _mm256_set_m128(two_pairs(p, index[6], index[7]), two_pairs(p, index[2], index[3]));
  return {_mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)), _mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1))};
}
#endif

// p[index] and p[index + 1] per lane: neighbours are loaded together, at half the loads of two gathers.
inline void look_up_pairs(const float* p, const int32_t* index, F* first, F* second) {
#if defined(__AVX512F__)
  const Pairs low = eight_pairs(p, index), high = eight_pairs(p, index + 8);
  *first = (F)_mm512_insertf32x8(_mm512_castps256_ps512(low.first), high.first, 1);
  *second = (F)_mm512_insertf32x8(_mm512_castps256_ps512(low.second), high.second, 1);
#elif defined(__AVX2__)
  const Pairs pairs = eight_pairs(p, index);
  *first = (F)pairs.first;
  *second = (F)pairs.second;
#else
  for (int k = 0; k < W; k++) {
    (*first)[k] = p[index[k]];
    (*second)[k] = p[index[k] + 1];
  }
#endif
}

#if defined(__AVX2__)
inline void add_pair(float* p, __m128 pair) {
  const __m128 there = _mm_loadl_pi(_mm_setzero_ps(), reinterpret_cast<const __m64*>(p));
  _mm_storel_pi(reinterpret_cast<__m64*>(p), _mm_add_ps(there, pair));
}

inline void add_two_pairs(float* p, const int32_t* index, __m128 pairs) {
  add_pair(p + index[0], pairs);
  add_pair(p + index[1], _mm_movehl_ps(pairs, pairs));
}

inline void add_eight_pairs(float* p, const int32_t* index, __m256 first, __m256 second) {
  const __m256 a = _mm256_unpacklo_ps(first, second), b = _mm256_unpackhi_ps(first, second);
  add_two_pairs(p, index, _mm256_castps256_ps128(a));
  add_two_pairs(p, index + 2, _mm256_castps256_ps128(b));
  add_two_pairs(p, index + 4, _mm256_extractf128_ps(a, 1));
  add_two_pairs(p, index + 6, _mm256_extractf128_ps(b, 1));
}
#endif

// Adds to p[index] and p[index + 1] per lane, one lane after the other, each in one piece.
inline void add_pairs(float* p, const int32_t* index, F first, F second) {
#if defined(__AVX512F__)
  add_eight_pairs(p, index, _mm512_castps512_ps256((__m512)first), _mm512_castps512_ps256((__m512)second));
  add_eight_pairs(p, index + 8, _mm512_extractf32x8_ps((__m512)first, 1), _mm512_extractf32x8_ps((__m512)second, 1));
#elif defined(__AVX2__)
  add_eight_pairs(p, index, (__m256)first, (__m256)second);
#else
  for (int k = 0; k < W; k++) {
    p[index[k]] += first[k];
    p[index[k] + 1] += second[k];
  }
#endif
}

}  // namespace
}  // namespace pyronn_layers
