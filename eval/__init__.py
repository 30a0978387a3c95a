"""Evaluation: pure metrics over tokens and arrays, and the command lines that report them."""

from dialog_cvae.console import end_if_packages_are_missing

end_if_packages_are_missing()
