"""Which worker gets which camera: the plan, cordons and drains, and why a camera is where it is."""
