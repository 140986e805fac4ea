"""The pipeline: stages between a source and a sink, forever, on time.

Import from its modules: `messages` (what travels), `stage` (what to write), `pipeline` (what runs
it), `record` (replay), `guard`. This file imports nothing, so that `messages` alone stays light.
"""
