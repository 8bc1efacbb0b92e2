#include "kernels.inl"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VNNI__)
#include "lanes_avx512.h"

namespace headway {
const Kernels* avx512_kernels() {
  __builtin_cpu_init();
  const bool here =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni");
  return here ? Compiled<Avx512Lanes>::table() : nullptr;
}
}  // namespace headway
#else
namespace headway {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace headway
#endif
