// Every instruction set of this build gives the same weights as the portable path, on networks of
// random integers that are static or learn. For machines without Python, such as an emulated one:
//
//   cd ncml_codec/engines/native
//   sources="../../../tests/programs/native_equal.cpp $(ls *.cpp | grep -v module)"
//   aarch64-linux-gnu-g++ -std=c++17 -O2 -static -pthread -I . $sources -o /tmp/equal
//   qemu-aarch64 /tmp/equal
//
// With g++ -fsanitize=thread it looks for races in the pool.

#include <cstdio>
#include <cstdlib>
#include <random>

#include "walk.h"

using namespace ncml;

namespace {

std::mt19937 generator(1);

int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }

// Small enough weights that no sum leaves 24 bits.
PlainLayer random_layer(int outputs, int inputs) {
  PlainLayer layer;
  layer.outputs = outputs;
  layer.inputs = inputs;
  const int most = std::max(1, std::min(2047, (1 << 23) / (2048 * inputs)));
  for (int at = 0; at < outputs * inputs; ++at) layer.weight.push_back(int16_t(draw(-most, most)));
  for (int at = 0; at < outputs; ++at) {
    layer.bias.push_back(draw(-(1 << 18), 1 << 18));
    layer.shift.push_back(draw(6, 12));
  }
  return layer;
}

PlainNetwork random_network(int width, int hidden, int k) {
  PlainNetwork net;
  net.window = {{0, -1}, {-1, 0}, {-1, 1}, {-1, -1}, {-2, 1}, {1, -3}, {0, -8}};
  net.near = {{-1, 1}, {0, -1}};
  net.neighbours = {{-1, -1}, {-1, 0}, {-1, 1}, {0, -1}, {0, 0}};
  net.k = k;
  net.layers.push_back(
      random_layer(width, kPlanes * int(net.window.size() + 2 * net.near.size() + 1) + 3));
  for (int block = 0; block < 2; ++block) {
    net.layers.push_back(random_layer(hidden, width * int(net.neighbours.size())));
    net.layers.push_back(random_layer(2 * width, hidden));
  }
  for (int plane = 0; plane < kPlanes; ++plane) {
    net.layers.push_back(random_layer(hidden, width));
    if (plane > 0) net.layers.push_back(random_layer(hidden, kFeatures * plane));
    net.layers.push_back(random_layer(3 * k + plane, hidden));
  }
  for (int at = 0; at < 4095; ++at) net.sigmoid.push_back(at * 2048 / 4095);
  for (int at = 0; at < 1024; ++at) net.exponential.push_back(65536 / (at + 1));
  for (int at = 0; at < 577; ++at) net.scale_mantissa.push_back(4096 + 7 * at);
  for (int at = 0; at < 577; ++at) net.scale_shift.push_back(5 + at / 64);
  for (int at = 0; at < 1025; ++at) net.logistic.push_back(64 * at);
  return net;
}

std::vector<float> weights_of(const Kernels& kernels, const PlainNetwork& plain,
                              const std::vector<uint8_t>& samples, int height, int width,
                              int threads, int adaptation) {
  auto engine = std::make_shared<Engine>(Engine{kernels, Network(plain, kernels.lanes)});
  std::vector<float> all;
  Survey survey(engine, samples.data(), height, width, kPlanes, threads, adaptation, false,
                false);
  for (int wave = 0; wave < survey.waves(); ++wave) {
    const size_t rows = size_t(2 * kPlanes) * survey.size_of(wave);
    std::vector<float> weights(rows * kSymbols);
    std::vector<int32_t> symbols(rows);
    survey.post(wave, weights.data(), symbols.data());
    survey.finish();
    all.insert(all.end(), weights.begin(), weights.end());
  }
  return all;
}

}  // namespace

int main() {
  const int sizes[][3] = {{1, 1, 1}, {5, 7, 3}, {16, 9, 2}, {48, 48, 4}, {33, 65, 16}};
  const int height = 40, width = 61;
  std::vector<uint8_t> samples(size_t(height) * width * kPlanes);
  // Few levels, so that cells of colours are seen more than once.
  for (uint8_t& sample : samples) sample = uint8_t(50 * draw(0, 5) + draw(0, 1));
  for (const auto& [channels, hidden, k] : sizes) {
    const PlainNetwork net = random_network(channels, hidden, k);
    for (const int adaptation : {0, 5, kBody + 5, kColours, 2 * kColours + 5, 3 * kColours + 5}) {
      const auto expected =
          weights_of(*available_kernels().back(), net, samples, height, width, 1, adaptation);
      for (const Kernels* kernels : available_kernels()) {
        for (const int threads : {1, 3}) {
          const auto found =
              weights_of(*kernels, net, samples, height, width, threads, adaptation);
          if (found == expected) continue;
          std::printf("%s, %d threads, width %d, adaptation %d: different\n", kernels->name,
                      threads, channels, adaptation);
          return EXIT_FAILURE;
        }
      }
    }
  }
  for (const Kernels* kernels : available_kernels()) std::printf("%s: equal\n", kernels->name);
  return EXIT_SUCCESS;
}
