"""Benchmarks: programs that print ratios against a limit or a peer measured in the same run. None of them is a test."""
