"""Machine matters: worker processes, training whatever is missing, progress, the bench, the doctor."""
