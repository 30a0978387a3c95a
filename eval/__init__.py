"""Evaluation: pure metrics over tokens and arrays, and the command lines that report them."""
