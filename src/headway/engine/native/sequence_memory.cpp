#include "sequence_memory.h"

#include "team.h"

namespace headway {

SequenceMemory::SequenceMemory(int heads, int head_width, bool half, int length)
    : shape_{1, heads, head_width, half}, length_(length), data_(padded(length, kPanel) / kPanel * shape_.bytes()) {}

void fill(Computing& computing, std::span<SequenceMemory* const> memories, std::span<const int> at, const Floats& projected,
          int keys_at, int values_at) {
  if (memories.empty()) return;
  const int heads = memories[0]->shape().heads;
  in_parallel(computing.threads, static_cast<int>(memories.size()) * heads, [&](int task) {
    SequenceMemory& memory = *memories[task / heads];
    for (int token = 0; token < memory.length(); ++token) {
      const float* row = projected.row(at[task / heads] + token);
      store_token(memory.shape(), memory.block(token / kPanel), 0, task % heads, token % kPanel, row + keys_at, row + values_at);
    }
  });
}

void attend_to(Computing& computing, std::span<const Reading> readings, const Floats& queries, float scale, Floats& out,
               const float* bias) {
  if (readings.empty()) return;
  const PageShape shape = readings[0].memory->shape();
  in_parallel(computing.threads, static_cast<int>(readings.size()) * shape.heads, [&](int task) {
    const Reading& reading = readings[task / shape.heads];
    const int head = task % shape.heads;
    const int blocks = padded(reading.memory->length(), kPanel) / kPanel;
    AttentionRoom& room = AttentionRoom::here(shape, blocks);
    for (int block = 0; block < blocks; ++block) room.point(block, reading.memory->block(block), shape, 0, head);
    Attention attention;
    attention.queries = queries.row(reading.at) + head * shape.head_width;
    attention.query_stride = queries.stride();
    attention.out = out.row(reading.at) + head * shape.head_width;
    attention.out_stride = out.stride();
    attention.first_seen = reading.causal ? 1 : reading.memory->length();
    attention.causal = reading.causal;
    attention.bias = bias_of(bias, head);
    attention.queries_count = reading.count;
    attention.scale = scale;
    room.run(computing.kernels, shape, attention);
  });
}

}  // namespace headway
