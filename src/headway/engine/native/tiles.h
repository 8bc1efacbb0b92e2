// Rows laid out for products of several of them, where a set of lanes has loops for that: in tiles of a few rows, whose
// inputs stand in the order in which a loop reads them.
//
// A unit is what is spread over a vector at once: one float or four bytes. The units stand as [part][tile][unit][row of
// the tile]; a part is so many inputs that their weights stay in the nearest cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "matrix.h"

namespace headway {

struct Unit {
  std::uint8_t bytes[4];
};

// As many as have their sums in registers, beside what else the loop holds there.
static inline constexpr int most_tile_rows(Width width) { return width == Width::s8 ? 4 : 6; }

static inline int tiles_of(Width width, int rows) { return (rows + most_tile_rows(width) - 1) / most_tile_rows(width); }
static inline int tile_rows(Width width, int rows) {  // the last may have fewer
  return (rows + tiles_of(width, rows) - 1) / tiles_of(width, rows);
}

// Whether products of so many rows are computed in tiles: where laying them out pays. 32 bits gain nothing from it.
static inline bool in_tiles(Width width, int rows) {
  return width != Width::f32 && rows >= (width == Width::s8 ? 3 : 24);
}

static inline int inputs_of_part(Width width) { return width == Width::bf16 ? 256 : 768; }
static inline int units_of(Width width, int inputs) { return width == Width::bf16 ? inputs : inputs / 4; }

// Where the units of a tile's part begin, whose first input is `first` and whose inputs are `count`.
static inline std::int64_t units_at(Width width, int rows, int tile, int first, int count) {
  return static_cast<std::int64_t>(units_of(width, first)) * rows + static_cast<std::int64_t>(units_of(width, count)) * tile * tile_rows(width, rows);
}

}  // namespace headway
