"""Measurements, each one command; every ratio compares two things in one run on one machine."""
