"""The paper's experiments, each a table from one command; above training and eval."""
