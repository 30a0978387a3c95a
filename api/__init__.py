"""The web service."""

from dialog_cvae.console import end_if_packages_are_missing

end_if_packages_are_missing()
