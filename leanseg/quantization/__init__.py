"""Fewer bits for any network. `packing` is NumPy alone and belongs to the USE floor; so this file imports nothing."""
