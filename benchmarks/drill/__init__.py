"""Fault drills: something dies, and the result must be that of a run in which nothing did."""
