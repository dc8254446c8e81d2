// The Python module `ncml_codec.jpeg._native`. The only file of it that knows Python.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <numeric>
#include <optional>
#include <tuple>

#include "scan.h"

namespace py = pybind11;

namespace ncml::jpeg {
namespace {

using Array = py::array_t<int16_t, py::array::c_style>;
using Table = std::optional<std::tuple<py::bytes, py::bytes>>;        // counts, symbols
using PyComponent = std::tuple<Array, int, int, Table, Table>;        // horizontal, vertical, dc, ac
using PyScan = std::tuple<int64_t, int64_t, int64_t, bool, int, int, int, int>;
using PyNotes = std::tuple<py::bytes, std::vector<int64_t>, std::vector<std::pair<int64_t, int>>,
                           std::vector<std::pair<int64_t, py::bytes>>>;

HuffmanCode huffman_of(const Table& table) {
  HuffmanCode huffman;
  if (!table) return huffman;
  const std::string counts = std::get<0>(*table), symbols = std::get<1>(*table);
  if (counts.size() != 16 || symbols.size() > 256) throw Unsound("JPEG scan: no Huffman table");
  huffman.present = true;
  huffman.symbols.assign(symbols.begin(), symbols.end());
  uint32_t code = 0, sum = 0;
  for (int at = 0; at < 16; ++at) {
    huffman.counts[at] = uint8_t(counts[size_t(at)]);
    sum += huffman.counts[at];
    code = 2 * code + huffman.counts[at];
    if (code > 2u << at) throw Unsound("JPEG scan: no Huffman code");
  }
  if (sum != symbols.size()) throw Unsound("JPEG scan: no Huffman table");
  return huffman;
}

// Checks all that the loops rely on; arrays must outlive the result.
Scan scan_of(const PyScan& fields, const std::vector<PyComponent>& components) {
  Scan scan;
  std::tie(scan.rows, scan.columns, scan.interval, scan.progressive, scan.first, scan.last,
           scan.high, scan.low) = fields;
  const bool dc = !scan.progressive || (scan.first == 0 && scan.high == 0);
  const bool ac = !scan.progressive || scan.first > 0;
  if (scan.rows < 1 || scan.columns < 1 || scan.rows > 65536 || scan.columns > 65536 ||
      scan.interval < 0 || components.empty() || scan.first < 0 || scan.last > 63 ||
      scan.first > scan.last || scan.low < 0 || scan.low > 13 || scan.high < 0 ||
      (ac && scan.progressive && components.size() != 1))
    throw Unsound("JPEG scan: out of range");
  for (const auto& [array, horizontal, vertical, dc_table, ac_table] : components) {
    if (array.ndim() != 3 || array.shape(2) != 64 || horizontal < 1 || horizontal > 4 ||
        vertical < 1 || vertical > 4 || array.shape(0) < scan.rows * vertical ||
        array.shape(1) < scan.columns * horizontal)
      throw Unsound("JPEG scan: coefficients of another shape");
    Component part;
    part.blocks = const_cast<int16_t*>(array.data());
    part.block_columns = array.shape(1);
    part.horizontal = horizontal;
    part.vertical = vertical;
    part.dc = huffman_of(dc_table);
    part.ac = huffman_of(ac_table);
    if ((dc && !part.dc.present) || (ac && !part.ac.present))
      throw Unsound("JPEG scan: a table is missing");
    scan.components.push_back(std::move(part));
  }
  return scan;
}

std::tuple<PyNotes, int64_t, int64_t> read(const py::bytes& data, int64_t start,
                                           const PyScan& fields,
                                           const std::vector<PyComponent>& components,
                                           int64_t notes_max) {
  const Scan scan = scan_of(fields, components);
  for (const PyComponent& component : components)
    if (!std::get<0>(component).writeable()) throw Unsound("JPEG scan: read-only coefficients");
  char* bytes;
  py::ssize_t size;
  if (PyBytes_AsStringAndSize(data.ptr(), &bytes, &size)) throw py::error_already_set();
  if (start < 0 || start > size) throw Unsound("JPEG scan: begins outside of the file");
  Reading reading;
  {
    py::gil_scoped_release release;
    reading = read_scan(reinterpret_cast<const uint8_t*>(bytes), size, start, scan, notes_max);
  }
  std::vector<std::pair<int64_t, py::bytes>> restarts;
  for (const auto& [index, marker] : reading.notes.restarts)
    restarts.emplace_back(index, py::bytes(marker));
  return {{py::bytes(reading.notes.padding), reading.notes.breaks, reading.notes.zero_runs, restarts},
          reading.end,
          reading.units};
}

py::bytes write(const PyScan& fields, const std::vector<PyComponent>& components,
                const PyNotes& given, int64_t units, int64_t limit) {
  const Scan scan = scan_of(fields, components);
  Notes notes;
  notes.padding = std::get<0>(given);
  notes.breaks = std::get<1>(given);
  notes.zero_runs = std::get<2>(given);
  for (const auto& [index, marker] : std::get<3>(given)) notes.restarts.emplace_back(index, marker);
  std::string out;
  {
    py::gil_scoped_release release;
    out = write_scan(scan, notes, units, limit);
  }
  return py::bytes(out);
}

}  // namespace
}  // namespace ncml::jpeg

PYBIND11_MODULE(_native, module) {
  module.doc() = "JPEG scans in native code: see plain_reader.py and plain_writer.py";
  py::register_exception<ncml::jpeg::Unsound>(module, "Unsound", PyExc_ValueError);
  module.def("read_scan", &ncml::jpeg::read);
  module.def("write_scan", &ncml::jpeg::write);
}
