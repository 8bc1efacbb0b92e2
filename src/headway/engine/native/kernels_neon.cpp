#include "kernels.inl"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include "lanes_neon.h"

namespace headway {
const Kernels* neon_kernels() { return Compiled<NeonLanes>::table(); }
}  // namespace headway
#else
namespace headway {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace headway
#endif
