"""Measurements, side by side in one run, of notelog, of the bare framework and of what people use instead."""
