"""Rendered rooms with segmentation, depth and surface normals: a small stand-in for NYUv2.

Geometry is real (rays are cast into boxes and spheres), so that the three targets agree with one another and
a network can learn them from the image. Every room is of one of `STYLES` styles, which are the data's
clusters; annotations carry the noise of real ones, which a network can only learn by heart.
"""
