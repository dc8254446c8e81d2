#!/bin/sh
# The native module's tests under the address and undefined behaviour sanitizers.
#
# Builds a copy of the module in a folder of its own, and runs the tests on that copy. Usage, from
# the repository's root, with GCC:  sh tests/sanitize.sh [python]
set -eu
python=${1:-python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r ncml_codec models cli tests setup.py pyproject.toml README.md LICENSE "$work"
cd "$work"
rm -f ncml_codec/engines/_native.*.so
export CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
export CXXFLAGS="$CFLAGS" LDFLAGS="-fsanitize=address,undefined"
"$python" setup.py -q build_ext --inplace
# Python itself leaks at its end; the module must be there, or the tests would be skipped.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=.:models:cli
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \
  "$python" -c 'import ncml_codec.engines._native as native; print(native.__file__)'
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \
  "$python" -m pytest -q -p no:cacheprovider -k "native or same_colours or test_reader" tests/test_engines.py \
  tests/test_colour_engines.py tests/test_golden.py tests/test_range_coder.py tests/test_mixing.py \
  tests/test_reader.py
