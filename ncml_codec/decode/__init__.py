"""From the bytes of a file to samples. Nothing here imports `encode`.

`image_decoder` opens any file, `region` a part of it, `salvage` what is left of a damaged one;
`file_info` reads headers alone. `costs` and `memory` bound the work before it begins.
"""
