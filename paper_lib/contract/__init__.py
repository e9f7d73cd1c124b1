"""What everybody agrees on: errors, tasks, what a run is and what it is called. Standard library only."""
