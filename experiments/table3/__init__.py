"""Table 3: fit, evaluate and compare the cells of the paper's dialog experiment."""
