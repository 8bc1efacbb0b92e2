// Rows laid out for products of several of them, where a set of lanes has loops for that: in tiles of a few rows, whose
// inputs stand in the order in which a loop reads them.
//
// A unit is what is spread over a vector at once: one float, two words (of four bytes 0 and 2, or 1 and 3), or four bytes.
// The units stand as [part][tile][unit][row of the tile]; a part is so many inputs that their weights stay in the nearest
// cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "matrix.h"

namespace headway {

struct Unit {
  std::uint8_t bytes[4];
};

inline constexpr int kMostTileRows = 6;
inline constexpr int kTilesFrom = 24;  // rows from which laying them out pays

static inline int tiles_of(int rows) { return (rows + kMostTileRows - 1) / kMostTileRows; }
static inline int tile_rows(int rows) { return (rows + tiles_of(rows) - 1) / tiles_of(rows); }  // the last may have fewer

// Whether products of so many rows are computed in tiles. Weights of 32 bits gain nothing from it.
static inline bool in_tiles(Width width, int rows) { return width != Width::f32 && rows >= kTilesFrom; }

static inline int inputs_of_part(Width width) { return width == Width::s4 ? 768 : width == Width::s8 ? 384 : 256; }
static inline int units_of(Width width, int inputs) { return width == Width::s4 ? inputs / 4 : width == Width::s8 ? inputs / 2 : inputs; }

// Where the units of a tile's part begin, whose first input is `first` and whose inputs are `count`.
static inline std::int64_t units_at(Width width, int rows, int tile, int first, int count) {
  return static_cast<std::int64_t>(units_of(width, first)) * rows + static_cast<std::int64_t>(units_of(width, count)) * tile * tile_rows(rows);
}

}  // namespace headway
