"""The audit as every service sees it: calls that leave a row, and the differences that a row shows. Pure."""
