// The Python module `ncml_codec.coefficients._native`. The only file of it that knows Python.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>

#include "walk.h"

namespace py = pybind11;

namespace ncml::coefficients {
namespace {

using Integers = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Blocks = py::array_t<int16_t, py::array::c_style>;
using PyLayer = std::tuple<Integers, Integers, Integers, int>;  // weight, bias, shift, limit

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("coefficients: ") + what);
}

std::vector<int32_t> list_of(const Integers& array) {
  return {array.data(), array.data() + array.size()};
}

// A layer with its first `inputs` columns, row by row.
Layer layer_of(const PyLayer& from, int inputs = -1) {
  const auto& [weight, bias, shift, limit] = from;
  require(weight.ndim() == 2 && bias.size() == weight.shape(0) && shift.size() == bias.size(),
          "a layer's shapes");
  Layer layer;
  layer.outputs = int(weight.shape(0));
  layer.inputs = inputs < 0 ? int(weight.shape(1)) : inputs;
  require(layer.inputs <= weight.shape(1), "a layer's inputs");
  layer.limit = limit;
  layer.bias = list_of(bias);
  layer.shift = list_of(shift);
  for (const int32_t value : layer.shift) require(value >= 0 && value <= 30, "a shift");
  layer.weight.reserve(size_t(layer.outputs) * layer.inputs);
  for (int o = 0; o < layer.outputs; ++o)
    for (int i = 0; i < layer.inputs; ++i) layer.weight.push_back(int16_t(weight.at(o, i)));
  return layer;
}

PlaneNetwork plane_of(const py::dict& from) {
  PlaneNetwork network;
  network.chroma = from["chroma"].cast<bool>();
  network.far = from["far"].cast<int>();
  require(network.far >= 1 && network.far <= BLOCK, "far");
  const Layer first = layer_of(from["first"].cast<PyLayer>());
  const int inputs = 2 * (NEAR * BLOCK + (NEIGHBOURS - NEAR) * network.far) + BLOCK + NEIGHBOURS +
                     (network.chroma ? 4 * BLOCK + 1 : 0);
  require(first.inputs == inputs, "inputs of the first layer");
  network.first = first;
  for (int o = 0; o < first.outputs; ++o)
    for (int i = 0; i < first.inputs; ++i)
      network.first.weight[size_t(i) * first.outputs + o] =
          first.weight[size_t(o) * first.inputs + i];
  network.end = layer_of(from["end"].cast<PyLayer>());
  network.second = layer_of(from["second"].cast<PyLayer>());
  const int width = network.second.outputs;
  require(network.end.inputs == first.outputs && network.end.outputs == BLOCK &&
              network.second.inputs == first.outputs,
          "the trunk's shapes");
  const Integers end_bias = from["end_bias"].cast<Integers>();
  require(end_bias.size() == BLOCK * width, "the end's biases");
  network.end_bias = list_of(end_bias);
  const auto heads = from["heads"].cast<std::vector<PyLayer>>();
  const auto outs = from["outs"].cast<std::vector<PyLayer>>();
  require(heads.size() == LAST && outs.size() == LAST, "heads");
  network.at.push_back(0);
  for (int k = 0; k < LAST; ++k) {
    network.heads.push_back(layer_of(heads[size_t(k)], width));
    network.outs.push_back(layer_of(outs[size_t(k)]));
    network.at.push_back(network.at.back() + network.heads.back().outputs);
  }
  const PyLayer dc = from["dc_head"].cast<PyLayer>();
  network.dc_head = layer_of(dc, width);
  network.dc_out = layer_of(from["dc_out"].cast<PyLayer>());
  const int outputs = network.dc_out.outputs;
  require(outputs % 3 == 0 && outputs / 3 <= Mixture::MOST && outputs > 0, "outputs of a head");
  const int all = network.hidden();
  network.earlier.resize(size_t(2 * LAST) * all);
  network.dc_earlier.resize(size_t(2 * LAST) * network.dc_head.outputs);
  for (int k = 0; k <= LAST; ++k) {
    const Integers& weight = std::get<0>(k < LAST ? heads[size_t(k)] : dc);
    const Layer& head = k < LAST ? network.heads[size_t(k)] : network.dc_head;
    const Layer& out = k < LAST ? network.outs[size_t(k)] : network.dc_out;
    require(weight.shape(1) == width + 2 * LAST, "inputs of a head");
    require(out.inputs == head.outputs && out.outputs == outputs, "outputs of a head");
    for (int row = 0; row < 2 * LAST; ++row)
      for (int h = 0; h < head.outputs; ++h) {
        const auto value = int16_t(weight.at(h, width + row));
        if (k < LAST)
          network.earlier[size_t(row) * all + network.at[size_t(k)] + h] = value;
        else
          network.dc_earlier[size_t(row) * head.outputs + h] = value;
      }
  }
  const Integers linear = from["linear"].cast<Integers>();
  require(linear.ndim() == 3 && linear.shape(0) == network.roles() + 1 &&
              linear.shape(1) == BLOCK && linear.shape(2) == BLOCK,
          "the linear path");
  network.linear.resize(size_t(network.roles() + 1) * BLOCK);
  for (int role = 0; role <= network.roles(); ++role)
    for (int in = 0; in < BLOCK; ++in)
      for (int out = 0; out < BLOCK; ++out)
        if (const int32_t weight = linear.at(role, in, out))
          network.linear[size_t(role * BLOCK + in)].emplace_back(out, weight);
  return network;
}

struct Network {
  PlaneNetwork luma, chroma;
  Tables tables;

  Network(const py::dict& luma_from, const py::dict& chroma_from, const py::dict& from)
      : luma(plane_of(luma_from)), chroma(plane_of(chroma_from)) {
    const auto table = [&](const char* name, size_t size) {
      auto values = list_of(from[name].cast<Integers>());
      require(values.size() == size, name);
      return values;
    };
    tables.logarithm = table("logarithm", LOGARITHMS);
    tables.exponential = table("exponential", 1024);
    tables.scale_mantissa = table("scale_mantissa", 641);
    tables.scale_shift = table("scale_shift", 641);
    tables.logistic = table("logistic", 1025);
    tables.stretch = table("stretch", 4096);
    tables.squash = table("squash", 2 * LOGIT_MAX + 1);
  }

  // Whether the blocks could be coded: false at damage.
  bool code(RangeEncoder* encoder, RangeDecoder* decoder, Blocks& blocks, const Integers& steps,
            const std::optional<Integers>& cross, const std::optional<Blocks>& other, bool is_chroma,
            bool third, bool learns) const {
    require((encoder != nullptr) != (decoder != nullptr), "one coder");
    require(blocks.ndim() == 3 && blocks.shape(2) == BLOCK && blocks.size() > 0, "blocks");
    require(steps.size() == BLOCK, "steps");
    for (int k = 0; k < BLOCK; ++k)
      require(steps.data()[k] > 0 && steps.data()[k] < 65536, "a step");
    Plane plane;
    plane.rows = int(blocks.shape(0));
    plane.columns = int(blocks.shape(1));
    plane.blocks = blocks.mutable_data();
    plane.steps = steps.data();
    plane.third = third;
    if (cross) {
      require(cross->size() == 2 * blocks.size(), "cross");
      for (py::ssize_t i = 0; i < cross->size(); ++i)
        require(std::abs(cross->data()[i]) <= DEQUANTISED_MAX, "a value of cross");
      plane.cross = cross->data();
    }
    if (other) {
      require(other->size() == blocks.size(), "other");
      plane.other = other->data();
    }
    Coder coder = encoder ? Coder(encoder) : Coder(decoder);
    py::gil_scoped_release released;
    try {
      Walk(is_chroma ? chroma : luma, tables, plane, learns).run(coder);
    } catch (const Damaged&) {
      return false;
    }
    return true;
  }
};

}  // namespace

PYBIND11_MODULE(_native, m) {
  py::class_<RangeEncoder>(m, "Encoder", py::module_local())
      .def(py::init<>())
      .def("finish", [](const RangeEncoder& encoder) {
        std::string bytes;
        for (const uint32_t word : encoder.finish())
          for (int byte = 0; byte < 4; ++byte) bytes.push_back(char(word >> 8 * byte));
        return py::bytes(bytes);
      });
  py::class_<RangeDecoder>(m, "Decoder", py::module_local()).def(py::init([](const py::bytes& from) {
    const std::string bytes = from;
    require(bytes.size() % 4 == 0, "a payload of whole words");
    std::vector<uint32_t> words(bytes.size() / 4);
    for (size_t i = 0; i < bytes.size(); ++i)
      words[i / 4] |= uint32_t(uint8_t(bytes[i])) << 8 * (i % 4);
    return RangeDecoder(std::move(words));
  }));
  py::class_<Network>(m, "Network", py::module_local())
      .def(py::init<const py::dict&, const py::dict&, const py::dict&>())
      .def("code", &Network::code, py::arg("encoder"), py::arg("decoder"), py::arg("blocks"),
           py::arg("steps"), py::arg("cross"), py::arg("other"), py::arg("chroma"),
           py::arg("third"), py::arg("learns"));
}

}  // namespace ncml::coefficients
