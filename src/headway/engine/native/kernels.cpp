#include "kernels.h"

#include <stdexcept>

namespace headway {
namespace {

std::vector<const Kernels*> all_here() {
  std::vector<const Kernels*> found;
  for (const Kernels* kernels : {avx512_kernels(), avxvnni_kernels(), avx2_kernels(), neon_kernels(), plain_kernels()}) {
    if (kernels != nullptr) found.push_back(kernels);
  }
  return found;
}

}  // namespace

const Kernels& choose_kernels(const std::string& name) {
  for (const Kernels* kernels : all_here()) {
    if (name.empty() || name == kernels->name) return *kernels;
  }
  throw std::invalid_argument("this processor has no kernels named " + name);
}

std::vector<std::string> kernels_here() {
  std::vector<std::string> names;
  for (const Kernels* kernels : all_here()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace headway
