"""Networks of known origin: a manifest with their addresses and digests, and a download that checks them."""
