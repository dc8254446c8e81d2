"""What an image is, and the files that it comes in.

A `Picture` holds samples, their kind, and what stands beside them in the file. The readers and
writers of PNG, PNM, BMP, TIFF and WebP live here. Nothing here knows of `.ncmz` files.
"""
