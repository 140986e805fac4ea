"""Measuring beside others: each engine in a process of its own, in turn within one run."""
