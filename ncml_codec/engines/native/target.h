// Which instruction sets this compiler can make, and how to ask for one in part of a file.
//
// One build must run on every processor of its architecture, so no file is compiled for a newer
// one as a whole: standard headers are included first, then the target is set, and everything that
// follows is in unnamed namespaces, so that no function made for a newer processor can be the one
// that the linker keeps for all.

#pragma once

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define NCML_X86 1
#else
#define NCML_X86 0
#endif

#if defined(__aarch64__) && defined(__ARM_NEON)
#define NCML_NEON 1
#else
#define NCML_NEON 0
#endif

#if (defined(__clang__) && __clang_major__ >= 12) || (!defined(__clang__) && __GNUC__ >= 11)
#define NCML_AVXVNNI 1
#else
#define NCML_AVXVNNI 0
#endif

#define NCML_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define NCML_TARGET(name) \
  NCML_PRAGMA(clang attribute push(__attribute__((target(name))), apply_to = function))
#define NCML_TARGET_END _Pragma("clang attribute pop")
#else
#define NCML_TARGET(name) NCML_PRAGMA(GCC target(name))
#define NCML_TARGET_END
#endif
