"""Networks of known origin: a manifest that says where each is and what its bytes are, and a download that checks."""
