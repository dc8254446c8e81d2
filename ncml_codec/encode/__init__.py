"""From samples to the smallest file that a level's trials find.

`image_encoder` begins here: `orientation_search`, `colour_search` and `layer_search` decide what is
tried, `levels` how much.
"""
