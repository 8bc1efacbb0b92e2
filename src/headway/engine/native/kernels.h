// What a family is computed with: one table of functions for each kind of processor, all equal bit for bit.
//
// Every number of an output is a sum in one fixed order of its own row and its own weights, so it does not depend on
// which rows stand beside it, on how the work is cut into pieces, or on who computes which piece.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tiles.h"

namespace headway {

enum class Activation : int { none, gelu_tanh, gelu, relu, silu, tanh };

// Rows that a matrix is multiplied with. Bytes where the matrix is of 8 or 4 bit, else floats; padded with zeros to
// `stride` inputs, a multiple of kGroup.
struct Rows {
  const float* floats = nullptr;
  const std::int8_t* bytes = nullptr;
  const Unit* tiles = nullptr;               // null, or the same rows as tiles.h has them
  const float* scales = nullptr;             // (count): a byte times this is the input
  const std::int32_t* group_sums = nullptr;  // (count, stride / kGroup): 8 times the sum of a group's bytes
  int count = 0;
  int stride = 0;
};

enum class Then : int { store, activate, add, gate };

struct Product {
  const Matrix* matrix = nullptr;
  Rows rows;
  float* out = nullptr;  // (count, out_stride); out_stride is at least the outputs padded to kPanel
  std::int64_t out_stride = 0;
  Then then = Then::store;  // add: to what stands in out; gate: times what stands there
  Activation activation = Activation::none;
};

// A page holds the keys and values of kPanel tokens: for each layer and head, keys (head width, kPanel) and then values
// (kPanel, head width padded to kPanel).
struct Attention {
  const float* queries = nullptr;  // the first query's; the next stands query_stride on
  std::int64_t query_stride = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
  const void* const* keys = nullptr;    // a pointer for each page
  const void* const* values = nullptr;
  int first_seen = 0;  // the first query sees so many keys
  bool causal = true;  // each next query sees one more; else all see as many
  const float* bias = nullptr;  // null, or what is added to a score: by how far, up to kFarthest, the key is past the query
  int position = 0;             // of the first query, where there is a bias
  int queries_count = 0;
  int head_width = 0;
  float scale = 1.0f;
  float* scratch = nullptr;  // kQueryTile * the keys seen by the last query, padded to kPanel, + kQueryTile * head width padded
};
inline constexpr int kQueryTile = 8;  // the most that are computed together
inline constexpr int kFarthest = 128;

struct Kernels {
  const char* name;
  bool tiles;  // whether products of several rows want them in tiles, too
  // Panels first..last - 1 of a product.
  void (*multiply)(const Product& product, int first, int last);
  // floats (count, stride) -> bytes, scales and group sums
  void (*quantise)(const float* floats, int count, int stride, std::int8_t* bytes, float* scales, std::int32_t* sums);
  // (width) -> (width), padded with zeros to `stride`
  void (*normalise)(const float* in, const float* weight, const float* bias, float epsilon, int width, int stride, float* out);
  void (*attend_half)(const Attention& attention);
  void (*attend_float)(const Attention& attention);
};

const Kernels* plain_kernels();
const Kernels* avx2_kernels();    // null where it was not compiled or the processor lacks it
const Kernels* avxvnni_kernels();
const Kernels* avx512_kernels();
const Kernels* neon_kernels();

// The fastest this processor has, or the one named (throws std::invalid_argument where it cannot run).
const Kernels& choose_kernels(const std::string& name = "");
std::vector<std::string> kernels_here();

}  // namespace headway
