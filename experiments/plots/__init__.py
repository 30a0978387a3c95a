"""The plots of the experiments' pages."""
