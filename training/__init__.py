"""Training: schedules, objectives, the loop, and the command lines."""
