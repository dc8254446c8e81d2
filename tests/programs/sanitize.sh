#!/bin/sh
# The native modules under the address and undefined behaviour sanitizers.
#
# Builds copies of the modules in a folder of their own, and runs Python there: the native modules'
# tests, or what stands behind the interpreter. Usage, from the repository's root, with GCC:
#
#   sh tests/programs/sanitize.sh [python]
#   sh tests/programs/sanitize.sh python -m tests.programs.native_fuzz --minutes 60 --keep /an/absolute/path
#   sh tests/programs/sanitize.sh python -m tests.programs.jpeg_fuzz --minutes 60 --keep /an/absolute/path
set -eu
python=${1:-python}
[ $# -eq 0 ] || shift
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
[ $# -gt 0 ] || set -- -m pytest -q -p no:cacheprovider -k "native or same_colours or test_reader or test_drawn_files" \
  tests/laws/test_engines.py tests/laws/test_colour_engines.py tests/format/test_golden.py tests/laws/test_range_coder.py \
  tests/laws/test_mixing.py tests/laws/test_reader.py tests/jpeg/test_drawn_files.py \
  tests/jpeg/test_coefficient_network.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r ncml_codec models cli tests setup.py pyproject.toml README.md LICENSE "$work"
cd "$work"
rm -f ncml_codec/engines/_native.*.so ncml_codec/jpeg/_native.*.so ncml_codec/coefficients/_native.*.so
export CFLAGS="-g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
# Indices and spare capacity of vectors are checked, too.
export CFLAGS="$CFLAGS -D_GLIBCXX_ASSERTIONS -D_GLIBCXX_SANITIZE_VECTOR"
export CXXFLAGS="$CFLAGS" LDFLAGS="-fsanitize=address,undefined"
"$python" setup.py -q build_ext --inplace
# Python itself leaks at its end; the module must be there, or the tests would be skipped. Python
# takes its memory from malloc, so that its objects are watched as well.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=.:models:cli
export PYTHONMALLOC=malloc
preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)"
LD_PRELOAD=$preload "$python" -c \
  'from ncml_codec import engines, jpeg; import ncml_codec.engines._native, ncml_codec.jpeg._native, ncml_codec.coefficients._native
print(engines._native.__file__, jpeg._native.__file__)'
LD_PRELOAD=$preload "$python" "$@"
