"""The versions of a model on a camera, and the change from one to another without losing a frame.

branch.py    one version's share of a camera
paths.py     which paths of objects it reports
outlet.py    its way out
change.py    the old and the new branch of a change
router.py    two branches reported as one
ordering.py  their frames in the order of capture time
report.py    which of their frames and events count
retired.py   branches that are to be stopped
failures.py  versions that failed a moment ago
"""
