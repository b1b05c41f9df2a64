"""Procedural scenes: walking people and driving vehicles with known boxes, tracks and crossings.

They serve the demo cameras and the training of the demo detector. A scene is a pure function of its description and of
time. The same description gives the same pictures. Motion, light and noise repeat after `period_s`, so a clip of that
length has no seam. The code reads no clock and no global random state.

Read in this order: `camera` (the projection), `routes` (movement), `people` and `vehicles` (figures), `backdrop` and
`textures` (what stands still), `scene` (one frame), `truth` (crossings), `places` and `traffic` (random scenes),
`clips` (the demo cameras), `render` and `video` (files).
"""
