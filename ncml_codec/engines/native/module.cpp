// The Python module `ncml_codec.engines._native`. The only file that knows Python.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <optional>

#include "mixing.h"
#include "range_coder.h"
#include "walk.h"

namespace py = pybind11;

namespace ncml {
namespace {

using Weights = py::array_t<float>;
using Integers = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Bytes = py::array_t<uint8_t, py::array::c_style>;
using LayerTuple = std::tuple<Integers, Integers, Integers>;  // weight, bias, shift

std::vector<int32_t> vector_of(const Integers& array) {
  return {array.data(), array.data() + array.size()};
}

PlainLayer layer_of(const LayerTuple& tuple) {
  const auto& [weight, bias, shift] = tuple;
  if (weight.ndim() != 2) throw std::invalid_argument("native engine: weights are no matrix");
  PlainLayer layer;
  layer.outputs = int(std::min<py::ssize_t>(weight.shape(0), 1 << 30));
  layer.inputs = int(std::min<py::ssize_t>(weight.shape(1), 1 << 30));
  layer.weight.reserve(size_t(weight.size()));
  for (py::ssize_t at = 0; at < weight.size(); ++at) {
    const int32_t value = weight.data()[at];
    if (value < -kActivationMax || value > kActivationMax)
      throw std::invalid_argument("native engine: a weight is beyond 2047");
    layer.weight.push_back(int16_t(value));
  }
  layer.bias = vector_of(bias);
  layer.shift = vector_of(shift);
  return layer;
}

std::vector<Tap> taps_of(const std::vector<std::pair<int, int>>& pairs) {
  std::vector<Tap> taps;
  for (const auto& [rows, columns] : pairs) taps.push_back({rows, columns});
  return taps;
}

const Kernels& kernels_named(const std::string& name) {
  for (const Kernels* kernels : available_kernels())
    if (name == kernels->name) return *kernels;
  throw std::invalid_argument("native engine: instruction set " + name + " is not here");
}

std::shared_ptr<Engine> make_engine(const std::string& isa,
                                    const std::vector<std::pair<int, int>>& window,
                                    const std::vector<std::pair<int, int>>& near,
                                    const std::vector<std::pair<int, int>>& neighbours, int k,
                                    const std::vector<LayerTuple>& layers,
                                    const std::vector<Integers>& tables) {
  if (tables.size() != 5) throw std::invalid_argument("native engine: not five tables");
  PlainNetwork plain;
  plain.window = taps_of(window);
  plain.near = taps_of(near);
  plain.neighbours = taps_of(neighbours);
  plain.k = k;
  for (const LayerTuple& layer : layers) plain.layers.push_back(layer_of(layer));
  plain.sigmoid = vector_of(tables[0]);
  plain.exponential = vector_of(tables[1]);
  plain.scale_mantissa = vector_of(tables[2]);
  plain.scale_shift = vector_of(tables[3]);
  plain.logistic = vector_of(tables[4]);
  const Kernels& kernels = kernels_named(isa);
  return std::make_shared<Engine>(Engine{kernels, Network(plain, kernels.lanes)});
}

// `engines.Walk`: each stage in native code, with a fresh array for what it returns.
class PythonWalk {
 public:
  PythonWalk(std::shared_ptr<Engine> engine, int height, int width, int threads, bool body,
             int strength, int colour_mode)
      : walk_(std::move(engine), height, width, threads, {body, strength, colour_mode}) {}

  int begin(int wave) {
    const int count = walk_.size_of(wave);
    first_ = Weights({count, kSymbols});
    float* weights = first_->mutable_data();
    py::gil_scoped_release release;
    walk_.begin(wave, weights);
    return count;
  }

  Weights high(int plane) {
    Weights weights = plane == 0 && first_ ? std::move(*first_) : fresh();
    first_.reset();
    float* to = weights.mutable_data();
    py::gil_scoped_release release;
    walk_.high(plane, to);
    return weights;
  }

  Weights low(int plane, const Integers& high) {
    check(high);
    Weights weights = fresh();
    float* to = weights.mutable_data();
    const int32_t* from = high.data();
    py::gil_scoped_release release;
    walk_.low(plane, from, to);
    return weights;
  }

  void put(int plane, const Integers& values) {
    check(values);
    walk_.put(plane, values.data());
  }

  // Nothing if the words are not a stream of this coder.
  std::optional<int64_t> read(RangeDecoder& decoder,
                              py::array_t<uint8_t, py::array::c_style> samples, int64_t pixels) {
    if (samples.ndim() != 3 || samples.shape(0) != walk_.height() ||
        samples.shape(1) != walk_.width())
      throw std::invalid_argument("native engine: samples of another size");
    const int planes = samples.shape(2) == 1 ? 1 : samples.shape(2) == kPlanes ? kPlanes : 0;
    uint8_t* to = samples.mutable_data();
    py::gil_scoped_release release;
    const int64_t found = walk_.read(decoder, to, planes, pixels);
    return found < 0 ? std::nullopt : std::optional(found);
  }

 private:
  Weights fresh() const { return Weights({walk_.count(), kSymbols}); }
  void check(const Integers& values) const {
    if (values.ndim() != 1 || values.size() != walk_.count())
      throw std::invalid_argument("native engine: not one value for each pixel of the wave");
  }

  Walk walk_;
  std::optional<Weights> first_;  // plane 0's high nibbles, computed along with the body
};

// An iterator over the waves of a known image: weights and symbols in coding order.
class PythonSurvey {
 public:
  PythonSurvey(std::shared_ptr<Engine> engine, Bytes samples, int threads, bool body,
               int strength, int colour_mode, bool still, bool modes)
      : samples_(std::move(samples)),
        planes_(samples_.ndim() == 3 ? int(samples_.shape(2)) : 0),
        survey_(std::move(engine), samples_.data(), side(samples_, 0), side(samples_, 1), planes_,
                threads, {body, strength, colour_mode}, still, modes) {}

  py::tuple next() {
    if (!posted_) post();
    if (!posted_) throw py::stop_iteration();
    {
      py::gil_scoped_release release;
      survey_.finish();
    }
    auto [weights, symbols] = std::move(*posted_);
    posted_.reset();
    post();
    return py::make_tuple(weights, symbols);
  }

  // Of all waves, once there is no next one.
  double static_bits() const {
    check_end();
    return survey_.still_bits();
  }
  std::vector<double> mode_bits() const {
    check_end();
    return survey_.mode_bits();
  }

 private:
  static int side(const Bytes& samples, int axis) {
    return samples.ndim() == 3 ? int(std::min<py::ssize_t>(samples.shape(axis), 1 << 30)) : 0;
  }

  void check_end() const {
    if (posted_ || wave_ != survey_.waves())
      throw std::invalid_argument("native engine: bits of a survey that goes on");
  }

  void post() {
    if (wave_ == survey_.waves()) return;
    const int rows = 2 * planes_ * survey_.size_of(wave_);
    posted_.emplace(Weights({rows, kSymbols}), Integers(rows));
    float* weights = posted_->first.mutable_data();
    int32_t* symbols = posted_->second.mutable_data();
    survey_.post(wave_++, weights, symbols);
  }

  Bytes samples_;
  int planes_;
  int wave_ = 0;
  std::optional<std::pair<Weights, Integers>> posted_;
  Survey survey_;  // last, so that its threads end before what they write to
};

double code_length_of(const Engine& engine, const Bytes& samples) {
  if (samples.ndim() != 3) throw std::invalid_argument("native engine: samples are no image");
  const uint8_t* from = samples.data();
  const auto side = [&](int axis) {
    return int(std::min<py::ssize_t>(samples.shape(axis), 1 << 30));
  };
  const int height = side(0), width = side(1), planes = side(2);
  py::gil_scoped_release release;
  return code_length(engine, from, height, width, planes);
}

using Rows = py::array_t<float, py::array::c_style | py::array::forcecast>;

int alphabet_of(const Rows& weights) {
  if (weights.ndim() != 2) throw std::invalid_argument("range coder: weights are no matrix");
  return int(std::min<py::ssize_t>(weights.shape(1), 1 << 30));
}

void encode(RangeEncoder& encoder, const Integers& symbols, const Rows& weights) {
  const int width = alphabet_of(weights);
  if (symbols.ndim() != 1 || symbols.size() != weights.shape(0))
    throw std::invalid_argument("range coder: not one symbol for each row");
  const int32_t* from = symbols.data();
  const float* rows = weights.data();
  const auto count = size_t(symbols.size());
  py::gil_scoped_release release;
  encoder.encode(from, rows, count, width);
}

// Nothing if the words are not a stream of this coder.
std::optional<Integers> decode(RangeDecoder& decoder, const Rows& weights) {
  const int width = alphabet_of(weights);
  const float* rows = weights.data();
  const auto count = size_t(weights.shape(0));
  Integers symbols(weights.shape(0));
  int32_t* to = symbols.mutable_data();
  bool sound;
  {
    py::gil_scoped_release release;
    sound = decoder.decode(to, rows, count, width);
  }
  return sound ? std::optional(symbols) : std::nullopt;
}

// Words are little-endian bytes in Python.
py::bytes finished(const RangeEncoder& encoder) {
  std::string bytes;
  for (const uint32_t word : encoder.finish())
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(char(word >> shift & 255));
  return py::bytes(bytes);
}

RangeDecoder decoder_of(const Bytes& payload) {
  if (payload.ndim() != 1 || payload.size() % 4)
    throw std::invalid_argument("range coder: not a whole number of words");
  std::vector<uint32_t> words(size_t(payload.size() / 4));
  for (size_t at = 0; at < size_t(payload.size()); ++at)
    words[at / 4] |= uint32_t(payload.data()[at]) << 8 * (at % 4);
  return RangeDecoder(std::move(words));
}

// A pass of the mixing coder: group by group when the samples are found, or by large groups when
// they are known.
class PythonMixing {
 public:
  using Chains = std::vector<std::vector<int>>;

  PythonMixing(int height, int width, const std::vector<int>& depths, bool candidates, bool fitted,
               int slot_bits, const std::vector<Integers>& tables, const Chains& component,
               const Chains& candidate)
      : walk_(plan_of(height, width, depths, candidates, fitted, slot_bits, tables, component,
                      candidate)),
        components_(int(depths.size())) {}

  // The next group's weights [n, 2], none at the end.
  std::optional<Weights> ask() {
    if (asked_) throw std::invalid_argument("mixing: asked twice");
    {
      py::gil_scoped_release release;
      asked_ = walk_.ask();
    }
    if (!asked_) return std::nullopt;
    Weights weights({int(walk_.probability().size()), 2});
    fill(weights.mutable_data());
    return weights;
  }

  void tell(const Integers& bits) {
    if (!asked_ || bits.ndim() != 1 || size_t(bits.size()) != walk_.probability().size())
      throw std::invalid_argument("mixing: not one bit for each decision");
    asked_ = false;
    const int32_t* from = bits.data();
    py::gil_scoped_release release;
    walk_.tell(from);
  }

  // Weights and bits of many groups of the image with these samples [components, pixels].
  std::optional<py::tuple> survey(const py::array_t<uint16_t, py::array::c_style>& samples) {
    if (samples.ndim() != 2 || samples.shape(0) != components_ ||
        size_t(samples.shape(1)) != walk_.pixels())
      throw std::invalid_argument("mixing: samples of another size");
    std::vector<float> weights;
    std::vector<int32_t> bits;
    const uint16_t* from = samples.data();
    {
      py::gil_scoped_release release;
      while (bits.size() < (1 << 16) && walk_.ask()) {
        const size_t begun = bits.size(), n = walk_.probability().size();
        bits.resize(begun + n);
        weights.resize(2 * (begun + n));
        fill(weights.data() + 2 * begun);
        walk_.truth(from, bits.data() + begun);
        walk_.tell(bits.data() + begun);
      }
    }
    if (bits.empty()) return std::nullopt;
    const int n = int(bits.size());
    Weights rows({n, 2});
    std::copy(weights.begin(), weights.end(), rows.mutable_data());
    return py::make_tuple(rows, Integers(n, bits.data()));
  }

  py::array_t<uint16_t> samples() const {
    py::array_t<uint16_t> found({size_t(components_), walk_.pixels()});
    uint16_t* to = found.mutable_data();
    for (const auto& plane : walk_.samples())
      to = std::copy(plane.begin(), plane.end() - 1, to);
    return found;
  }

 private:
  static MixingPlan plan_of(int height, int width, const std::vector<int>& depths, bool candidates,
                            bool fitted, int slot_bits, const std::vector<Integers>& tables,
                            const Chains& component, const Chains& candidate) {
    if (tables.size() != 3) throw std::invalid_argument("mixing: not three tables");
    return {height,      width, depths, candidates, fitted, slot_bits, vector_of(tables[0]),
            vector_of(tables[1]), vector_of(tables[2]), component, candidate};
  }

  void fill(float* weights) const {
    for (int32_t p : walk_.probability()) {
      *weights++ = float((1 << 24) - (p << 8) - 1);
      *weights++ = float((p << 8) - 1);
    }
  }

  MixingWalk walk_;
  int components_;
  bool asked_ = false;
};

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Kernels* kernels : available_kernels()) names.push_back(kernels->name);
  return names;
}

// Multiply-adds a second of one thread that does nothing else: the best of some short runs.
double peak(const std::string& isa) {
  const Kernels& kernels = kernels_named(isa);
  py::gil_scoped_release release;
  double best = 0;
  // Long enough for the clock to rise; the best of short runs is the one that nothing disturbed.
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (std::chrono::steady_clock::now() < end) {
    const auto started = std::chrono::steady_clock::now();
    const int64_t done = kernels.peak(200000);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
    best = std::max(best, double(done) / taken.count());
  }
  return best;
}

}  // namespace
}  // namespace ncml

PYBIND11_MODULE(_native, m) {
  using namespace ncml;
  m.doc() = "The integer network in native code; see ncml_codec.engines.native_engine.";
  m.def("instruction_sets", &instruction_sets, "Those of this processor, fastest first.");
  m.def("peak", &peak, py::arg("isa"), "Multiply-adds a second of one thread, nothing else done.");
  py::class_<Engine, std::shared_ptr<Engine>>(m, "Engine")
      .def(py::init(&make_engine), py::arg("isa"), py::arg("window"), py::arg("near"),
           py::arg("neighbours"), py::arg("k"), py::arg("layers"), py::arg("tables"));
  m.def("code_length", &code_length_of, py::arg("engine"), py::arg("samples"));
  py::class_<PythonWalk>(m, "Walk")
      .def(py::init<std::shared_ptr<Engine>, int, int, int, bool, int, int>(), py::arg("engine"),
           py::arg("height"), py::arg("width"), py::arg("threads"), py::arg("body"),
           py::arg("strength"), py::arg("colour_mode"))
      .def("begin", &PythonWalk::begin, py::arg("wave"))
      .def("high", &PythonWalk::high, py::arg("plane"))
      .def("low", &PythonWalk::low, py::arg("plane"), py::arg("high"))
      .def("put", &PythonWalk::put, py::arg("plane"), py::arg("values"))
      // noconvert: a copy of the samples would take what is found with it.
      .def("read", &PythonWalk::read, py::arg("decoder"), py::arg("samples").noconvert(),
           py::arg("pixels"));
  py::class_<PythonSurvey>(m, "Survey")
      .def(py::init<std::shared_ptr<Engine>, Bytes, int, bool, int, int, bool, bool>(),
           py::arg("engine"), py::arg("samples"), py::arg("threads"), py::arg("body"), py::arg("strength"),
           py::arg("colour_mode"), py::arg("static"), py::arg("modes"))
      .def_property_readonly("static_bits", &PythonSurvey::static_bits)
      .def_property_readonly("mode_bits", &PythonSurvey::mode_bits)
      .def("__iter__", [](py::object self) { return self; })
      .def("__next__", &PythonSurvey::next);
  py::class_<RangeEncoder>(m, "RangeEncoder", py::module_local())
      .def(py::init<>())
      .def("encode", &encode, py::arg("symbols"), py::arg("weights"))
      .def("finish", &finished);
  py::class_<RangeDecoder>(m, "RangeDecoder", py::module_local())
      .def(py::init(&decoder_of), py::arg("words"))
      .def("decode", &decode, py::arg("weights"));
  py::class_<PythonMixing>(m, "Mixing")
      .def(py::init<int, int, const std::vector<int>&, bool, bool, int,
                    const std::vector<Integers>&, const PythonMixing::Chains&,
                    const PythonMixing::Chains&>(),
           py::arg("height"), py::arg("width"), py::arg("depths"), py::arg("candidates"),
           py::arg("fitted"), py::arg("slot_bits"), py::arg("tables"), py::arg("component"),
           py::arg("candidate"))
      .def("ask", &PythonMixing::ask)
      .def("tell", &PythonMixing::tell, py::arg("bits"))
      .def("survey", &PythonMixing::survey, py::arg("samples"))
      .def("samples", &PythonMixing::samples);
}
