"""From a conversation to replies: sampling, selection, and the responder that ties them together."""
