"""`training.check`: describes a file of conversations, lists its problems, and advises what to train on it."""
