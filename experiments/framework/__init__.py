"""What all experiments share: rows, fits, figures over seeds, effects, pages and the command line."""
