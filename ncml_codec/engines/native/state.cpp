#include "state.h"

namespace ncml {

namespace {

std::vector<Tap> seen(const Network& network) {
  std::vector<Tap> taps = network.window;
  taps.insert(taps.end(), network.near.begin(), network.near.end());
  taps.insert(taps.end(), {{0, -1}, {-1, 0}, {-1, 1}});
  return taps;
}

}  // namespace

State::State(const Network& network_, int height_, int width_, const Adapting& adapting)
    : network(network_),
      height(height_),
      width(width_),
      samples(height_, kSampleStride, seen(network_)),
      hidden(network_.blocks.size(),
             Ring(height_, network_.width_padded, network_.neighbours)) {
  const size_t most = size_t(std::min(height, width / 2 + 1));
  reference.assign(most * kQuad, 0);
  residual.assign(most * kQuad, 0);
  features.assign(most * network.width_padded, 0);
  mixtures.resize(most);
  if (adapting.colour_mode > 0)
    colours = std::make_unique<Colours>(adapting.colour_mode, int(most), int64_t(height) * width);
  if (adapting.strength == 0) return;
  adaptation = std::make_unique<Adaptation>(network, adapting.body, adapting.strength, int(most));
  mixtures.resize(most * kPlanes);
  for (int plane = 0; plane < kPlanes; ++plane) {
    hidden_sums[plane].assign(most * size_t(adaptation->heads[plane].trunk.padded()), 0);
    log_scales[plane].assign(most * size_t(network.k), 0);
  }
  if (!adaptation->body) return;
  for (size_t index = 0; index < network.blocks.size(); ++index) {
    inner.emplace_back(most * size_t(adaptation->blocks[index].taps.padded()), int16_t(0));
    gates.emplace_back(most * 2 * size_t(network.width_padded), int16_t(0));
    turned.emplace_back(hidden[index], height);
  }
}

void State::open(int next_wave) {
  wave = next_wave;
  first = first_row(wave, width);
  const int stop = stop_row(wave, height);
  count = stop - first;
  samples.open(wave, first, stop);
  for (Ring& ring : hidden) ring.open(wave, first, stop);
  for (TurnedRing& ring : turned) ring.open(wave, first, stop);
  int16_t* sample = samples.at(wave, 0, first);
  for (int pixel = 0; pixel < count; ++pixel, sample += kSampleStride)
    std::fill_n(sample + kQuad, kPlanes, int16_t(-1));
}

}  // namespace ncml
