"""Imports: from the files that chat programs and data sets write to conversations.

One module for each format; `formats` is the table of them, `convert` the whole way from files to a file of our own.
"""
