// This module's copy of the code of the engines' range coder.

#include "../../engines/native/range_coder.cpp"
