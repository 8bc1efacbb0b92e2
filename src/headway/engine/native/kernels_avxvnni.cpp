#include "kernels.inl"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && defined(__AVXVNNI__)
#include <cpuid.h>

#include "lanes_avxvnni.h"

namespace headway {
const Kernels* avxvnni_kernels() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  const bool vnni = __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 16u) != 0;
  return vnni && avx2_kernels() != nullptr ? Compiled<AvxVnniLanes>::table() : nullptr;
}
}  // namespace headway
#else
namespace headway {
const Kernels* avxvnni_kernels() { return nullptr; }
}  // namespace headway
#endif
