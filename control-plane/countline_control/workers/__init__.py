"""Which worker holds which camera: leases, epochs, and what workers say of their cameras."""
