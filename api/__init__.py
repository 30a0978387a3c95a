"""The HTTP service, its web page, its client, and a chat in the terminal.

Start at `api.app`, which builds the application, or at `api.service`, which answers requests.
"""
