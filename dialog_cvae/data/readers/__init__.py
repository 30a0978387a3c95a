"""Readers: one module for each corpus or file format, from files to conversations."""
