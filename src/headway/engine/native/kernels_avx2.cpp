#include "kernels.inl"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "lanes_avx2.h"

namespace headway {
const Kernels* avx2_kernels() {
  __builtin_cpu_init();
  const bool here = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  return here ? Compiled<Avx2Lanes>::table() : nullptr;
}
}  // namespace headway
#else
namespace headway {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace headway
#endif
