"""Procedural scenes: walking people and driving vehicles whose true boxes, tracks and crossings are known.

For the demo cameras and for training the demo detector. A scene is a pure function of its description and of time:
the same description gives the same pictures, and its motion, light and noise repeat after `period_s`, so a clip of
that length has no seam. Nothing here reads a clock, a file or a global random state.

Read in this order: `camera` (the world and how it is seen), `paths` (where things go), `people` and `vehicles`
(what they look like), `backdrop` (what stands still), `scene` (one frame), `truth` (crossings), `views` (places),
`clips` (the demo cameras).
"""
