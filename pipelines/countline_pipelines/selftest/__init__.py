"""The proof that comes with the product: trajectories with known counts, counted by the code that counts live."""
