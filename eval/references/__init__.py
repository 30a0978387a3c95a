"""Several references for each context: found, filtered, stored and counted."""
