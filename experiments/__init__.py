"""The paper's experiments, each a table from one command; above training and eval."""

from dialog_cvae.console import end_if_packages_are_missing

end_if_packages_are_missing()
