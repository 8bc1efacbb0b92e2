#include "kernels.inl"
#include "lanes_plain.h"

namespace headway {
const Kernels* plain_kernels() { return Compiled<PlainLanes>::table(); }
}  // namespace headway
