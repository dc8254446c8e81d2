"""Adaptations that tests go through, named by the byte that states them in a file."""

from __future__ import annotations

from hypothesis import strategies as st

STATIC, STRONGEST, BODY, COLOURS = 0, 7, 8, 16  # FORMAT.md, section 9
LEARNING = [*range(8), *range(9, 16)]
MODES = (1, 2, 3)  # that count colours
ADAPTATIONS = st.sampled_from([each + COLOURS * mode for each in LEARNING for mode in MODES])
