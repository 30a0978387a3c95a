"""The HTTP service, its web page, its client, and a chat in the terminal.

Start at `api.app`, which builds the application, or at `api.service`, which answers requests.
"""

from dialog_cvae.console import end_if_packages_are_missing

end_if_packages_are_missing()
