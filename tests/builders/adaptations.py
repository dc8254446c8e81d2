"""The adaptations that tests go through."""

from __future__ import annotations

from hypothesis import strategies as st

from ncml_codec.format.adaptation import COLOURS

LEARNING = [*range(8), *range(9, 16)]
MODES = (1, 2, 3)  # that count colours
ADAPTATIONS = st.sampled_from([each + COLOURS * mode for each in LEARNING for mode in MODES])
