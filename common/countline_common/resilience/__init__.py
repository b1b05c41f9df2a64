"""How every room deals with a part that is away."""
