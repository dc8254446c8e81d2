// The Python module `ncml_codec.coefficients._native`. The only file of it that knows Python.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
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

// A layer without its weights.
Layer biases_of(const PyLayer& from) {
  const auto& [weight, bias, shift, limit] = from;
  require(weight.ndim() == 2 && bias.size() == weight.shape(0) && shift.size() == bias.size() &&
              bias.size() > 0 && weight.shape(1) > 0,
          "a layer's shapes");
  require(limit >= 0 && limit <= 32767, "a layer's limit");
  Layer layer;
  layer.outputs = int(weight.shape(0));
  layer.inputs = int(weight.shape(1));
  layer.width = padded(layer.outputs, GROUP);
  layer.limit = limit;
  layer.bias.assign(bias.data(), bias.data() + bias.size());
  layer.shift.assign(shift.data(), shift.data() + shift.size());
  for (const int32_t value : layer.shift) require(value >= 0 && value <= 30, "a shift");
  layer.bias.resize(size_t(layer.width));
  layer.shift.resize(size_t(layer.width));
  return layer;
}

// A layer with its first `inputs` columns, packed.
Layer layer_of(const PyLayer& from, int inputs) {
  Layer layer = biases_of(from);
  require(inputs <= layer.inputs, "a layer's inputs");
  layer.inputs = inputs;
  layer.pairs = padded(inputs, GROUP) / 2;
  layer.weight.resize(size_t(layer.width) * size_t(layer.pairs) * 2);
  const Integers& weight = std::get<0>(from);
  for (int o = 0; o < layer.outputs; ++o)
    for (int i = 0; i < inputs; ++i) {
      const int pair = o / GROUP * layer.pairs + i / 2;
      layer.weight[size_t((pair * GROUP + o % GROUP) * 2 + i % 2)] = int16_t(weight.at(o, i));
    }
  return layer;
}

Layer layer_of(const PyLayer& from) { return layer_of(from, int(std::get<0>(from).shape(1))); }

// Columns from `first` on.
Columns columns_of(const PyLayer& from, int first = 0) {
  const Integers& weight = std::get<0>(from);
  const int outputs = int(weight.shape(0)), inputs = int(weight.shape(1)) - first;
  Columns columns;
  columns.width = padded(outputs, GROUP);
  columns.weight.resize(size_t(inputs) * size_t(columns.width));
  for (int i = 0; i < inputs; ++i)
    for (int o = 0; o < outputs; ++o)
      columns.weight[size_t(i * columns.width + o)] = int16_t(weight.at(o, first + i));
  return columns;
}

PlaneNetwork plane_of(const py::dict& from) {
  PlaneNetwork network;
  network.chroma = from["chroma"].cast<bool>();
  network.far = from["far"].cast<int>();
  require(network.far >= 1 && network.far <= BLOCK, "far");
  const auto first = from["first"].cast<PyLayer>();
  network.first = biases_of(first);
  network.first_columns = columns_of(first);
  const int inputs = 2 * (NEAR * BLOCK + (NEIGHBOURS - NEAR) * network.far) + BLOCK + NEIGHBOURS +
                     (network.chroma ? 4 * BLOCK + 1 : 0);
  require(network.first.inputs == inputs, "inputs of the first layer");
  network.end = layer_of(from["end"].cast<PyLayer>());
  network.second = layer_of(from["second"].cast<PyLayer>());
  const int width = network.second.outputs;
  require(network.end.inputs == network.first.outputs && network.end.outputs == BLOCK &&
              network.second.inputs == network.first.outputs,
          "the trunk's shapes");
  const Integers end_bias = from["end_bias"].cast<Integers>();
  require(end_bias.size() == BLOCK * width, "the end's biases");
  network.end_bias.resize(size_t(BLOCK) * size_t(network.second.width));
  for (int end = 0; end < BLOCK; ++end)
    std::copy_n(end_bias.data() + end * width, width,
                network.end_bias.data() + end * network.second.width);
  auto heads = from["heads"].cast<std::vector<PyLayer>>();
  auto outs = from["outs"].cast<std::vector<PyLayer>>();
  require(heads.size() == LAST && outs.size() == LAST, "heads");
  heads.insert(heads.begin(), from["dc_head"].cast<PyLayer>());
  outs.insert(outs.begin(), from["dc_out"].cast<PyLayer>());
  for (int k = 0; k <= LAST; ++k) {
    const PyLayer &own = heads[size_t(k)], &out = outs[size_t(k)];
    require(std::get<0>(own).ndim() == 2 && std::get<0>(own).shape(1) == width + 2 * LAST,
            "inputs of a head");
    network.heads.push_back({layer_of(own, width), layer_of(out), columns_of(own, width)});
    const Head& head = network.heads.back();
    require(head.out.inputs == head.hidden.outputs && head.out.outputs % 3 == 0 &&
                head.out.outputs == network.heads.front().out.outputs &&
                head.out.outputs <= 3 * MOST,
            "outputs of a head");
  }
  const Integers linear = from["linear"].cast<Integers>();
  require(linear.ndim() == 3 && linear.shape(0) == network.roles() + 1 &&
              linear.shape(1) == BLOCK && linear.shape(2) == BLOCK,
          "the linear path");
  network.linear.width = BLOCK;
  network.linear.weight.assign(linear.data(), linear.data() + linear.size());
  return network;
}

const Kernels& kernels_named(const std::string& name) {
  for (const Kernels* kernels : available_kernels())
    if (name == kernels->name) return *kernels;
  throw std::invalid_argument("coefficients: instruction set " + name + " is not here");
}

struct Network {
  const Kernels& kernels;
  PlaneNetwork luma, chroma;
  Tables tables;

  Network(const std::string& isa, const py::dict& luma_from, const py::dict& chroma_from,
          const py::dict& from)
      : kernels(kernels_named(isa)), luma(plane_of(luma_from)), chroma(plane_of(chroma_from)) {
    const auto table = [&](const char* name, size_t size) {
      auto values = list_of(from[name].cast<Integers>());
      require(values.size() == size, name);
      return values;
    };
    tables.logarithm = table("logarithm", LOGARITHMS);
    tables.exponential = table("exponential", 1024);
    const auto mantissa = table("scale_mantissa", 641), shift = table("scale_shift", 641);
    for (size_t i = 0; i < mantissa.size(); ++i) {
      require(mantissa[i] >= 0 && mantissa[i] < 1 << 16 && shift[i] >= 0 && shift[i] < 32,
              "a scale");
      tables.scale.push_back(mantissa[i] | shift[i] << 16);
    }
    tables.logistic = table("logistic", 1025);
    tables.stretch = table("stretch", 4096);
    tables.squash = table("squash", 2 * LOGIT_MAX + 1);
  }

  static void require_steps(const Integers& steps) {
    require(steps.size() == BLOCK, "steps");
    for (int k = 0; k < BLOCK; ++k)
      require(steps.data()[k] > 0 && steps.data()[k] < 65536, "a step");
  }

  // Whether the blocks could be coded: false at damage.
  bool code(RangeEncoder* encoder, RangeDecoder* decoder, Blocks& blocks, const Integers& steps,
            const std::optional<Blocks>& first, const std::optional<Integers>& first_steps,
            const std::optional<Blocks>& other, bool is_chroma, bool third, bool learns) const {
    require((encoder != nullptr) != (decoder != nullptr), "one coder");
    require(blocks.ndim() == 3 && blocks.shape(2) == BLOCK && blocks.size() > 0, "blocks");
    require_steps(steps);
    Plane plane;
    plane.rows = int(blocks.shape(0));
    plane.columns = int(blocks.shape(1));
    plane.blocks = blocks.mutable_data();
    plane.steps = steps.data();
    plane.third = third;
    if (first) {
      require(first->ndim() == 3 && first->shape(2) == BLOCK && first->size() > 0 && first_steps,
              "the first plane");
      require_steps(*first_steps);
      plane.first_rows = int(first->shape(0));
      plane.first_columns = int(first->shape(1));
      plane.first = first->data();
      plane.first_steps = first_steps->data();
    }
    if (other) {
      require(other->size() == blocks.size(), "other");
      plane.other = other->data();
    }
    Coder coder = encoder ? Coder(encoder) : Coder(decoder);
    py::gil_scoped_release released;
    try {
      Walk(kernels, is_chroma ? chroma : luma, tables, plane, learns).run(coder);
    } catch (const Damaged&) {
      return false;
    }
    return true;
  }
};

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.def("instruction_sets", [] {
    std::vector<std::string> names;
    for (const Kernels* kernels : available_kernels()) names.push_back(kernels->name);
    return names;
  });
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
      .def(py::init<const std::string&, const py::dict&, const py::dict&, const py::dict&>())
      .def("code", &Network::code, py::arg("encoder"), py::arg("decoder"), py::arg("blocks"),
           py::arg("steps"), py::arg("first"), py::arg("first_steps"), py::arg("other"),
           py::arg("chroma"), py::arg("third"), py::arg("learns"));
}

}  // namespace ncml::coefficients
